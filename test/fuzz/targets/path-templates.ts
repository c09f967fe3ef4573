import { parsePathTemplate } from '../../../src/doors/http/path-template.ts';
import { Broken, type FuzzTarget, orRefused } from '../target.ts';
import { hasCode } from './refusals.ts';

/** Paths of google.api.http, which a function's developer writes. */
export function pathTemplates(): FuzzTarget {
  return {
    seeds: ['/', '/v1/{name=shelves/*}/books/**', '/v1/{a.b}/x:verb', '/v1/*/{c=**}', '/%41/b'].map((text) =>
      Buffer.from(text),
    ),
    words: ['/', '{', '}', '=', '*', '**', ':', '.', '%', '%ff', '%2F', 'a', '_', '\u00e9'],
    maxBytes: 512,
    run(input) {
      const text = input.toString('utf8');
      const read = orRefused(() => parsePathTemplate(text), hasCode('FUNCTION_SPEC'));
      if (read === undefined) return;
      for (const { start, end = read.segments.length } of read.variables) {
        if (start >= end || end > read.segments.length) throw new Broken(`a variable of ${text} is of no segment`);
      }
    },
  };
}
