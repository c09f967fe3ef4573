import { readStructuredEvent, writeStructuredEvent } from '../../../src/codec/structured-event.ts';
import { Broken, Cursor, type FuzzTarget, joined, orRefused, same } from '../target.ts';
import { hasCode } from './refusals.ts';

const TYPES = [
  'application/cloudevents+json',
  'application/cloudevents+json; charset=utf-8',
  'application/cloudevents-batch+json',
];

/** CloudEvents in structured mode: an event, or RECORD_UNDECODABLE; what is written of an event is the same event. */
export function cloudevents(): FuzzTarget {
  const event =
    '{"specversion":"1.0","id":"1","source":"/a","type":"t","subject":"s","time":"2026-01-02T03:04:05Z","n":3,"b":true';
  return {
    seeds: [
      joined(0, `${event},"data":{"a":[1,{"b":"c}"}],"n":9007199254740993}}`),
      joined(0, `${event},"datacontenttype":"text/plain","data":"te\\"xt"}`),
      joined(1, `${event},"datacontenttype":"application/protobuf","data_base64":"CgFh"}`),
      joined(2, `[${event}}]`),
    ],
    words: [
      ...[
        '"specversion"',
        '"1.0"',
        '"id"',
        '"source"',
        '"type"',
        '"data"',
        '"data_base64"',
        '"datacontenttype"',
        '"time"',
        '"__proto__"',
      ],
      ...[
        '{',
        '}',
        '[',
        ']',
        ':',
        ',',
        '"',
        '\\',
        '\\u0022',
        '"\\ud800"',
        'null',
        'true',
        '-1',
        '2147483648',
        '1e400',
        ' ',
        '\xef\xbb\xbf',
        '\xff',
      ],
    ],
    run(input) {
      const cursor = new Cursor(input);
      const contentType = cursor.pick(TYPES);
      const value = cursor.rest();
      const event = orRefused(() => readStructuredEvent(value, contentType, []), hasCode('RECORD_UNDECODABLE'));
      if (event?.contentType === undefined) return;
      const attributes = event.metadata
        .filter(({ key }) => key.startsWith('ce-'))
        .map(({ key, value }) => [key.slice(3), String(value)] as const);
      const written = writeStructuredEvent(attributes, event.contentType, event.data);
      const again = readStructuredEvent(written, 'application/cloudevents+json', []);
      same(again.data, event.data, 'the data');
      if (
        JSON.stringify(again.metadata.filter(({ key }) => key !== 'Content-Type')) !==
        JSON.stringify(event.metadata.filter(({ key }) => key !== 'Content-Type'))
      ) {
        throw new Broken(`${JSON.stringify(event.metadata)} comes back as ${JSON.stringify(again.metadata)}`);
      }
    },
  };
}
