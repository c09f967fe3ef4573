import { createRequire } from 'node:module';
import kafkajs, { type LogEntry } from 'kafkajs';
import { describe, expect, test } from 'vitest';
import { EXPECTED_KAFKA_ERRORS, kafkaLogCreator } from '../../src/observe/kafka-log.ts';
import { createLog, type LogStream, scoped } from '../../src/observe/log.ts';

function capture(format: 'auto' | 'json' | 'pretty' = 'json', isTTY = false) {
  const lines: string[] = [];
  const stream: LogStream = { write: (line) => lines.push(line), isTTY };
  const log = createLog({ level: 'trace', format }, stream);
  return { log, lines, objects: () => lines.map((line) => JSON.parse(line) as Record<string, unknown>) };
}

describe('createLog', () => {
  test('a line is one JSON object with level, time, scope, fields and the sentence', () => {
    const { log, objects } = capture();
    scoped(log, 'engine', { shard: 3 }).info({ epoch: 4 }, 'The shard is open');
    expect(objects()).toEqual([
      {
        level: 'info',
        time: expect.stringMatching(/^\d{4}-.*Z$/),
        scope: 'engine',
        shard: 3,
        epoch: 4,
        msg: 'The shard is open',
      },
    ]);
  });

  test('auto is pretty on a terminal and JSON elsewhere', () => {
    const terminal = capture('auto', true);
    scoped(terminal.log, 'engine').warn({ shard: 3 }, 'The shard is open');
    expect(terminal.lines.join('')).toMatch(/WARN.*\[engine\] The shard is open/);
    expect(terminal.lines.join('')).toMatch(/shard.*3/);
    const pipe = capture('auto', false);
    pipe.log.info('x');
    expect(pipe.objects()).toHaveLength(1);
  });

  test.each(['json', 'pretty'] as const)('no password is in a %s line, whatever holds it', (format) => {
    const { log, lines } = capture(format);
    const url = 'postgres://app:s3cret@127.0.0.1/app';
    const error = Object.assign(new TypeError(`Invalid URL ${url}`), { input: url, cause: new Error(url) });
    scoped(log, 'journal', { url }).error(
      { err: error, password: 's3cret', pg: { password: 's3cret' } },
      `Lost ${url}`,
    );
    expect(lines.join('')).toContain('127.0.0.1/app');
    expect(lines.join('')).not.toContain('s3cret');
  });

  test('lines below the level are not written', () => {
    const lines: string[] = [];
    const log = createLog({ level: 'warn', format: 'json' }, { write: (line) => lines.push(line) });
    scoped(log, 'x').info('no');
    scoped(log, 'x').warn('yes');
    expect(lines).toHaveLength(1);
  });
});

describe('kafkaLogCreator', () => {
  const { logLevel } = kafkajs;

  function levelFor(
    level: LogEntry['level'],
    message: string,
    extra: Record<string, unknown> = {},
    namespace = 'Producer',
  ): unknown {
    const { log, objects } = capture();
    const log4kafkajs = kafkaLogCreator(log)(logLevel.INFO);
    log4kafkajs({
      namespace,
      level,
      label: '',
      log: { timestamp: 't', logger: 'kafkajs', message, ...extra },
    });
    expect(objects()[0]).toMatchObject({ scope: 'kafkajs', namespace, msg: message, ...extra });
    return objects()[0]?.level;
  }

  /** The text that the installed kafkajs gives a protocol error. */
  function kafkajsText(code: number): string {
    const { createErrorFromCode } = createRequire(import.meta.url)('kafkajs/src/protocol/error.js') as {
      createErrorFromCode(code: number): Error;
    };
    return createErrorFromCode(code).message;
  }

  test.each([
    ['CONCURRENT_TRANSACTIONS', 51],
    ['REBALANCE_IN_PROGRESS', 27],
  ])('%s is a debug line, where kafkajs says error, and the text is that of the installed kafkajs', (_name, code) => {
    const error = kafkajsText(code);
    expect(EXPECTED_KAFKA_ERRORS.some((expected) => error.includes(expected))).toBe(true);
    expect(levelFor(logLevel.ERROR, 'Response AddPartitionsToTxn(key: 24, version: 1)', { error })).toBe('debug');
    expect(levelFor(logLevel.ERROR, error)).toBe('debug');
  });

  test('everything else keeps its weight, and infos become debug lines', () => {
    expect(levelFor(logLevel.ERROR, 'Failed to send messages', { error: kafkajsText(3) })).toBe('error');
    expect(levelFor(logLevel.WARN, 'The group is rebalancing, re-joining')).toBe('debug');
    expect(levelFor(logLevel.WARN, 'Could not create topics')).toBe('warn');
    expect(levelFor(logLevel.INFO, 'Consumer has joined the group')).toBe('debug');
    expect(levelFor(logLevel.DEBUG, 'Request Fetch')).toBe('trace');
  });

  test('what one connection or one answer brings is a debug line: whoever gives up after the retries says so', () => {
    expect(levelFor(logLevel.ERROR, 'Connection error: connect ECONNREFUSED', {}, 'Connection')).toBe('debug');
    expect(levelFor(logLevel.ERROR, 'Response Metadata', { error: kafkajsText(3) }, 'Connection')).toBe('debug');
  });
});
