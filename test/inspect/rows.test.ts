import { describe, expect, it } from 'vitest';
import type { RowFormat } from '../../src/cli/context.ts';
import { indentedJson, jsonText, RawJson } from '../../src/commands/inspect/json-text.ts';
import { type Column, createRowWriter, formatFor } from '../../src/commands/inspect/rows.ts';
import { compactJson } from '../../src/inspect/compact-json.ts';

interface Row {
  readonly id: string;
  readonly n: number | null;
  readonly said: string;
}

const COLUMNS: readonly Column<Row>[] = [
  { name: 'id', head: 'ID', value: ({ id }) => id },
  { name: 'n', head: 'N', right: true, value: ({ n }) => n },
  { name: 'said', head: 'SAID', width: 12, value: ({ said }) => new RawJson(said) },
  { name: 'at', head: 'AT', only: 'programs', value: () => new Date(0) },
];

async function written(format: RowFormat, ...batches: Row[][]): Promise<string> {
  let text = '';
  const out = {
    write: (more: string) => {
      text += more;
    },
  };
  const writer = createRowWriter(out, format, COLUMNS);
  for (const rows of batches) await writer.write(rows);
  await writer.flush();
  return text;
}

describe('rows', () => {
  it('are one table, whose control characters are escaped and whose wide cells are cut', async () => {
    expect(
      await written('table', [{ id: 'a\n', n: 7, said: '{"much":"to say"}' }], [{ id: 'bb', n: null, said: '1' }]),
    ).toBe(['ID       N  SAID', 'a\\u000a  7  {"much":"to…', 'bb       -  1', ''].join('\n'));
  });

  it('are JSON lines that leave numbers as they are', async () => {
    expect(await written('jsonl', [{ id: 'a"', n: null, said: '{"big":12345678901234567890}' }])).toBe(
      '{"id":"a\\"","n":null,"said":{"big":12345678901234567890},"at":"1970-01-01T00:00:00.000Z"}\n',
    );
  });

  it('are CSV as RFC 4180 has it: quoted where it must be, with CRLF, under one head', async () => {
    const rows = [{ id: 'a,"b"\n', n: null, said: '[1]' }];
    expect(await written('csv', rows, [{ id: 'c', n: 1, said: '"x"' }])).toBe(
      'id,n,said,at\r\n"a,""b""\n",,[1],1970-01-01T00:00:00.000Z\r\nc,1,"""x""",1970-01-01T00:00:00.000Z\r\n',
    );
  });

  it('wait for a reader that is slow', async () => {
    let drain: (() => void) | undefined;
    const out = {
      write: () => false,
      once: (_: string, listener: () => void) => {
        drain = listener;
      },
    };
    let isDone = false;
    const writing = createRowWriter(out, 'jsonl', COLUMNS)
      .write([{ id: 'a', n: 1, said: '1' }])
      .then(() => {
        isDone = true;
      });
    await Promise.resolve();
    expect(isDone).toBe(false);
    drain?.();
    await writing;
    expect(isDone).toBe(true);
  });

  it('are a table on a terminal and JSON lines elsewhere, unless it is said', () => {
    const write = () => undefined;
    expect(formatFor(undefined, { write, isTTY: true })).toBe('table');
    expect(formatFor(undefined, { write })).toBe('jsonl');
    expect(formatFor('csv', { write, isTTY: true })).toBe('csv');
  });
});

describe('JSON', () => {
  it('is put on one line with its numbers and strings as they are; what is none is told', () => {
    expect(compactJson('{ "a b" : [ 1.0 ,\n 12345678901234567890, "\\" : x" ] }')).toBe(
      '{"a b":[1.0,12345678901234567890,"\\" : x"]}',
    );
    expect(compactJson('{a: 1}')).toBeUndefined();
    expect(compactJson('')).toBeUndefined();
  });

  it('is put on several lines', () => {
    expect(indentedJson('{"a":[1,{"b":"x,{}"}],"c":{},"d":[ ]}')).toBe(
      '{\n  "a": [\n    1,\n    {\n      "b": "x,{}"\n    }\n  ],\n  "c": {},\n  "d": []\n}',
    );
  });

  it('is made of values, with dates, bigints and text that is JSON already', () => {
    const value = { at: new Date(0), offset: 9n, none: undefined, list: [new RawJson('{"x":1.50}'), null], empty: {} };
    expect(jsonText(value)).toBe('{"at":"1970-01-01T00:00:00.000Z","offset":"9","list":[{"x":1.50},null],"empty":{}}');
    expect(jsonText({ a: [1], b: { c: 'd' } }, 2)).toBe(JSON.stringify({ a: [1], b: { c: 'd' } }, null, 2));
  });
});
