import { validateHeaderValue } from 'node:http';
import { readHeaders, writeHeaders } from '../../../src/codec/cloudevents.ts';
import { contentKind } from '../../../src/codec/content-type.ts';
import { readGrpcTimeout } from '../../../src/doors/grpc-timeout.ts';
import { waitMs } from '../../../src/doors/http/deadline.ts';
import {
  fromFieldValue,
  isFieldName,
  isFieldValue,
  mediaType,
  toFieldValue,
} from '../../../src/doors/http/header-text.ts';
import { askedStatus, requestMetadata, responseHeaders } from '../../../src/doors/http/metadata-headers.ts';
import { Broken, Cursor, type FuzzTarget, joined, orRefused } from '../target.ts';
import { isRefusedRequest } from './refusals.ts';

/** Headers of records and of requests: whatever they hold becomes metadata, and metadata becomes headers that can be sent. */
export function headers(): FuzzTarget {
  return {
    seeds: [
      joined(['ce_type'], ['a.B'], ['content-type'], ['application/json; charset=utf-8'], ['x-server-timeout'], ['1']),
      joined(['grpc-timeout'], ['10S'], ['x-bin'], ['AAEC'], ['_kalix-http-code'], ['404']),
      joined(['ce-id'], ['1'], ['accept'], ['*/*'], ['\xff'], ['\xff\xfe']),
    ],
    words: [
      'ce_',
      'ce-',
      'content-type',
      '-bin',
      'grpc-timeout',
      '99999999H',
      '_kalix-',
      'stateferry-',
      ';',
      '=',
      '"',
      '\r\n',
      '\x00',
      '__proto__',
    ],
    maxBytes: 1_024,
    run(input) {
      const cursor = new Cursor(input);
      const pairs = [0, 1, 2].map(() => [cursor.part(), cursor.part()] as const);
      const named = Object.fromEntries(pairs.map(([name, value]) => [name.toString('latin1'), value]));
      const { metadata, contentType } = readHeaders(named);
      contentKind(contentType);
      for (const [name] of writeHeaders(
        { id: 'i', type: 't', source: '/s', subject: 'x' },
        ['content-type', 'a'],
        metadata,
      )) {
        if (name.startsWith('stateferry-') || name.startsWith('_kalix')) throw new Broken(`${name} went through`);
      }
      for (const [name, values] of responseHeaders(metadata)) {
        if (!isFieldName(name) || !values.every(canBeSent))
          throw new Broken(`${name}: ${values.join()} cannot be sent`);
      }
      askedStatus(metadata);
      const texts = pairs.map(([name, value]) => [name.toString('latin1'), value.toString('latin1')] as const);
      orRefused(() => requestMetadata(texts.flat()), isRefusedRequest);
      orRefused(() => waitMs(Object.fromEntries(texts)), isRefusedRequest);
      for (const [name, value] of texts) {
        mediaType(value);
        readGrpcTimeout(value);
        const sent = toFieldValue(name);
        if (sent !== undefined && (!isFieldValue(sent) || fromFieldValue(sent) !== name.trim())) {
          if (fromFieldValue(sent) !== name)
            throw new Broken(`${JSON.stringify(name)} is sent as ${JSON.stringify(sent)}`);
        }
      }
    },
  };
}

/** By Node itself. */
function canBeSent(value: string): boolean {
  try {
    validateHeaderValue('x', value);
    return true;
  } catch {
    return false;
  }
}
