import { describe, expect, test } from 'vitest';
import type { CliContext, Commands, LocalRequest } from '../../src/cli/context.ts';
import { runCli } from '../../src/cli/program.ts';
import { OPTION_NAMES, variableOf } from '../../src/config/options.ts';
import { StateferryError } from '../../src/errors.ts';

const STORES = { KAFKA_BROKERS: '127.0.0.1:9092', DATABASE_URL: 'postgres://app:s3cret@127.0.0.1/app' };

/** Records what the commands are called with; each answers with the exit code 7. */
function recordingCommands(calls: unknown[][]): Commands {
  return {
    run: async (config) => {
      calls.push(['run', config]);
      return 7;
    },
    dev: async (request, options) => {
      calls.push(['dev', request, options]);
      return 7;
    },
    demo: async (request, options) => {
      calls.push(['demo', request, options]);
      return 7;
    },
    topics: async (config, options) => {
      calls.push(['topics', config, options]);
      return 7;
    },
    schemas: async (config, options) => {
      calls.push(['schemas', config, options]);
      return 7;
    },
    acl: async (config, options) => {
      calls.push(['acl', config, options]);
      return 7;
    },
    operate: async (config, request) => {
      calls.push(['operate', config, request]);
      return 7;
    },
    controlled: async (config, options) => {
      calls.push(['controlled', config, options]);
      return 7;
    },
    deadLetters: async (config, request) => {
      calls.push(['deadLetters', config, request]);
      return 7;
    },
    diff: async (config, request) => {
      calls.push(['diff', config, request]);
      return 7;
    },
    promote: async (config, request) => {
      calls.push(['promote', config, request]);
      return 7;
    },
    replay: async (config, request) => {
      calls.push(['replay', config, request]);
      return 7;
    },
    reprocess: async (config, request) => {
      calls.push(['reprocess', config, request]);
      return 7;
    },
    archive: async (config, request) => {
      calls.push(['archive', config, request]);
      return 7;
    },
    journal: async (config, request) => {
      calls.push(['journal', config, request]);
      return 7;
    },
    snapshots: async (config, request) => {
      calls.push(['snapshots', config, request]);
      return 7;
    },
    retention: async (config, request) => {
      calls.push(['retention', config, request]);
      return 7;
    },
    entityDebug: async (config, request) => {
      calls.push(['entityDebug', config, request]);
      return 7;
    },
    entityHistory: async (config, request) => {
      calls.push(['entityHistory', config, request]);
      return 7;
    },
    verify: async (config, options) => {
      calls.push(['verify', config, options]);
      return 7;
    },
  };
}

async function cli(argv: string[], given: Partial<CliContext> = {}) {
  const calls: unknown[][] = [];
  let out = '';
  let err = '';
  const code = await runCli({
    argv,
    env: {},
    cwd: '/nowhere',
    version: '1.2.3',
    signal: new AbortController().signal,
    out: {
      write: (text) => {
        out += text;
      },
    },
    err: {
      write: (text) => {
        err += text;
      },
    },
    commands: recordingCommands(calls),
    ...given,
  });
  return { code, out, err, calls };
}

describe('help', () => {
  test('names every command, what to begin with, and the exit codes', async () => {
    const { code, out, err } = await cli(['--help']);
    expect([code, err]).toEqual([0, '']);
    for (const command of ['demo', 'dev', 'run', 'topics', 'acl', 'status', 'config']) {
      expect(out).toMatch(new RegExp(`^  ${command} .*\\S`, 'm'));
    }
    expect(out).toContain('New here?');
  });

  test.each(['run', 'dev', 'config'])(
    '%s --help lists every option of the configuration by its group',
    async (command) => {
      const { code, out } = await cli([command, '--help']);
      expect(code).toBe(0);
      for (const name of OPTION_NAMES) expect(out).toMatch(new RegExp(`^  ${name} +${variableOf(name)}$`, 'm'));
      expect(out).toContain('\nKafka:\n');
      expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100);
    },
  );

  test.each(['demo', 'dev', 'run', 'topics', 'acl', 'status', 'config'])(
    '%s --help has an example',
    async (command) => {
      const { out } = await cli([command, '--help']);
      expect(out).toMatch(new RegExp(`^ {2}\\$ .*stateferry ${command}`, 'm'));
    },
  );

  test('a command that this process cannot carry out is not offered', async () => {
    const { out } = await cli(['--help'], { commands: {} });
    expect(out).not.toMatch(/^ {2}run /m);
    expect((await cli(['run'], { commands: {}, env: STORES })).code).toBe(2);
  });

  test('the version is printed', async () => {
    expect((await cli(['--version'])).out).toBe('1.2.3\n');
  });
});

describe('exit codes and errors', () => {
  test('the exit code of the command is that of the process', async () => {
    expect((await cli(['run'], { env: STORES })).code).toBe(7);
  });

  test('a wrong command line is 2, with what was meant', async () => {
    expect(await cli(['statsu'])).toMatchObject({ code: 2, err: expect.stringContaining('Did you mean status?') });
    expect(await cli(['run', '--brokes', 'a:1'])).toMatchObject({ code: 2, err: expect.stringContaining('--brokers') });
    expect(await cli(['run', 'extra'], { env: STORES })).toMatchObject({ code: 2 });
    expect(await cli([])).toMatchObject({ code: 2, err: expect.stringContaining('Usage:') });
  });

  test('a wrong configuration is 2, with every fault, and nothing is called', async () => {
    const { code, err, calls } = await cli(['run', '--set', 'http.port=x'], { env: {} });
    expect(code).toBe(2);
    expect(err).toMatch(/^stateferry: the configuration has 3 faults:\n/);
    expect(err).not.toContain('    at ');
    expect(calls).toEqual([]);
  });

  test('what Stateferry refuses is 1 with its sentence alone', async () => {
    const commands: Partial<Commands> = {
      run: async () => {
        throw new StateferryError('TOPIC_MISSING', 'the broker has no topic "a".');
      },
    };
    expect(await cli(['run'], { commands, env: STORES })).toMatchObject({
      code: 1,
      err: 'stateferry: the broker has no topic "a".\n',
    });
  });

  test('what nobody foresaw is 1 with its stack, and without the password in it', async () => {
    const commands: Partial<Commands> = {
      run: async (config) => {
        throw new Error(`cannot reach ${config.postgres.url}`);
      },
    };
    const { code, err } = await cli(['run'], { commands, env: STORES });
    expect(code).toBe(1);
    expect(err).toContain('cannot reach postgres://app:***@127.0.0.1/app');
    expect(err).toContain('    at ');
    expect(err).not.toContain('s3cret');
  });
});

describe('configuration flags', () => {
  test('plain flags and --set reach the configuration', async () => {
    const argv = 'run --name carts --brokers b1:1,b2:2 --function-url http://fn:1 --http-port 0 --log-level debug';
    const { calls } = await cli([...argv.split(' '), '-s', 'kafka.start=latest', '--set', 'log.format=json'], {
      env: STORES,
    });
    expect(calls[0]?.[1]).toMatchObject({
      deployment: { name: 'carts' },
      kafka: { brokers: ['b1:1', 'b2:2'], start: 'latest' },
      function: { url: 'http://fn:1' },
      http: { port: 0 },
      log: { level: 'debug', format: 'json' },
    });
  });

  test('a config file that is not there is a fault', async () => {
    const { code, err } = await cli(['run', '--config', 'gone.yaml'], { env: STORES });
    expect(code).toBe(2);
    expect(err).toContain('--config: found no file gone.yaml');
  });
});

describe('reprocess', () => {
  test('is told with which state a generation begins', async () => {
    const start = ['reprocess', 'start', 'g2'];
    const requests = async (...argv: string[]) => (await cli([...start, ...argv], { env: STORES })).calls[0]?.[2];
    expect(await requests()).toMatchObject({ kind: 'start', from: 'beginning', state: undefined });
    const asked = await requests('--state', 'live', '--from', '2026-01-31T12:00:00Z');
    expect(asked).toMatchObject({ from: Date.UTC(2026, 0, 31, 12), state: 'live' });
    expect(await cli([...start, '--state', 'other'], { env: STORES })).toMatchObject({
      code: 2,
      err: expect.stringContaining('live'),
      calls: [],
    });
  });
});

describe('promote', () => {
  test('is told where to publish what differs', async () => {
    const request = async (...argv: string[]) => (await cli(['promote', 'g2', ...argv], { env: STORES })).calls[0]?.[2];
    expect(await request('--hold', '5')).toEqual({ name: 'g2', holdMs: 5_000, emitTo: undefined });
    expect(await request('--emit-differences', 'again')).toMatchObject({ name: 'g2', emitTo: 'again' });
    expect(await cli(['promote', 'g2', '--emit-differences'], { env: STORES })).toMatchObject({ code: 2, calls: [] });
  });
});

describe('schemas', () => {
  test('checks or pushes, without a broker or a database', async () => {
    expect((await cli(['schemas', 'check', '--json'], { env: {} })).calls[0]?.[2]).toEqual({ json: true, push: false });
    const argv = ['schemas', 'push', '--inputs', 'avro'];
    expect((await cli(argv, { env: {} })).calls[0]?.[2]).toEqual({ json: false, push: true, inputs: 'avro' });
    expect(await cli(['schemas', 'push', '--inputs', 'xml'], { env: {} })).toMatchObject({ code: 2, calls: [] });
  });
});

describe('acl', () => {
  test('is told who it is for, and needs neither a broker nor a database', async () => {
    const argv = ['acl', '--principal', 'User:CN=carts', '--role', 'carts', '--json'];
    expect((await cli(argv, { env: {} })).calls[0]?.[2]).toEqual({
      json: true,
      principal: 'User:CN=carts',
      role: 'carts',
    });
    expect(await cli(['acl', '--principal', 'carts'], { env: {} })).toMatchObject({ code: 2, calls: [] });
  });
});

describe('topics', () => {
  test('is told whether to create, and with how many partitions', async () => {
    expect((await cli(['topics'], { env: STORES })).calls[0]?.[2]).toEqual({ create: false });
    const argv = ['topics', '--create', '--partitions', '32'];
    expect((await cli(argv, { env: STORES })).calls[0]?.[2]).toEqual({ create: true, partitions: 32 });
  });

  test('refuses a number of partitions that is none', async () => {
    for (const text of ['0', '-1', 'many', '1.5', '1e3', '']) {
      expect(await cli(['topics', '--partitions', text], { env: STORES })).toMatchObject({ code: 2, calls: [] });
    }
  });

  test('needs no database', async () => {
    const { KAFKA_BROKERS } = STORES;
    expect((await cli(['topics'], { env: { KAFKA_BROKERS } })).code).toBe(7);
    expect((await cli(['topics'], { env: {} })).err).toMatch(/one fault:\n {2}- kafka.brokers/);
  });
});

describe('dev and demo', () => {
  const LOCAL = { 'kafka.brokers': ['local:1'], 'postgres.url': 'postgres://local/x' };
  const requestOf = async (argv: string[], env: Record<string, string>) =>
    (await cli(argv, { env })).calls[0]?.[1] as LocalRequest;

  test('dev starts only what is not configured, and a configured address wins over the local one', async () => {
    const nothing = await requestOf(['dev'], {});
    expect(nothing.given).toEqual({});
    expect(nothing.configWith(LOCAL)).toMatchObject({
      kafka: { brokers: ['local:1'] },
      postgres: { url: 'postgres://local/x' },
    });
    const kafka = await requestOf(['dev'], { KAFKA_BROKERS: 'mine:1' });
    expect(kafka.given).toEqual({ brokers: ['mine:1'] });
    expect(kafka.configWith(LOCAL).kafka.brokers).toEqual(['mine:1']);
    expect((await requestOf(['dev'], STORES)).given).toEqual({
      brokers: [STORES.KAFKA_BROKERS],
      databaseUrl: STORES.DATABASE_URL,
    });
  });

  test('dev refuses a wrong configuration before anything is started', async () => {
    expect(await cli(['dev', '--set', 'log.level=loud'])).toMatchObject({ code: 2, calls: [] });
  });

  test('dev takes the command after --, the folders to watch and a number of partitions', async () => {
    const argv = ['dev', '--partitions', '3', '--watch', 'src', '--watch', '/x', '--', 'npm', 'run', '--silent', 'go'];
    const { calls } = await cli(argv, { env: { A: 'b' } });
    expect(calls[0]?.[2]).toEqual({
      cwd: '/nowhere',
      env: { A: 'b' },
      command: ['npm', 'run', '--silent', 'go'],
      watch: ['/nowhere/src', '/x'],
      partitions: 3,
    });
  });

  test('dev without a command starts none, and watches where it is', async () => {
    expect((await cli(['dev'])).calls[0]?.[2]).toMatchObject({ command: [], watch: ['/nowhere'], partitions: 8 });
  });

  test('dev takes no word for a command that does not stand after --', async () => {
    expect(await cli(['dev', '--log-level', 'info', 'node'])).toMatchObject({
      code: 2,
      calls: [],
      err: expect.stringContaining('stateferry dev -- node'),
    });
  });

  test('demo takes brokers and database from the environment, and nothing else', async () => {
    const { given, configWith } = await requestOf(['demo'], { ...STORES, STATEFERRY_KAFKA_START: 'latest' });
    expect(given).toEqual({ brokers: [STORES.KAFKA_BROKERS], databaseUrl: STORES.DATABASE_URL });
    expect(configWith(LOCAL).kafka).toMatchObject({ brokers: [STORES.KAFKA_BROKERS], start: 'earliest' });
    expect((await requestOf(['demo'], {})).given).toEqual({});
  });

  test('demo is told whether to leave everything running', async () => {
    expect((await cli(['demo'])).calls[0]?.[2]).toMatchObject({ keep: false, history: false, avro: false });
    expect((await cli(['demo', '--avro'])).calls[0]?.[2]).toMatchObject({ history: false, avro: true });
    expect(await cli(['demo', '--avro', '--history'])).toMatchObject({ code: 2, calls: [] });
    expect((await cli(['demo', '--keep'])).calls[0]?.[2]).toMatchObject({ keep: true, history: false });
  });
});

describe('config', () => {
  test('prints the values with their sources, the password masked', async () => {
    const { code, out } = await cli(['config', '--log-level', 'warn'], { env: STORES });
    expect(code).toBe(0);
    expect(out).toMatch(/level: "warn" +# --log-level/);
    expect(out).toMatch(/brokers: \["127.0.0.1:9092"\] +# KAFKA_BROKERS/);
    expect(out).toContain('postgres://app:***@127.0.0.1/app');
    expect(out).not.toContain('s3cret');
  });

  test('--docs prints the reference, whatever the configuration is', async () => {
    const { code, out } = await cli(['config', '--docs']);
    expect(code).toBe(0);
    expect(out).toMatch(/^# Configuration\n/);
  });
});

describe('what operators ask for', () => {
  const env = STORES;
  const asked = async (argv: string[]) => {
    const { code, calls, err } = await cli(argv, { env });
    expect(err).toBe('');
    expect(code).toBe(7);
    return calls[0]?.[2];
  };

  test.each(['pause', 'resume', 'skip'])('entity %s takes a type and an id', async (kind) => {
    expect(
      await asked(['entity', kind, 'carts', 'c-1', '--reason', 'bad price', '--by', 'jo', '--wait', '2.5']),
    ).toEqual({
      kind,
      entityType: 'carts',
      entityId: 'c-1',
      reason: 'bad price',
      by: 'jo',
      waitMs: 2_500,
    });
  });

  test('entity list takes --json', async () => {
    expect(await asked(['entity', 'list', '--json'])).toEqual({ json: true });
  });

  test.each(['resume', 'skip'])('shard %s takes a number', async (verb) => {
    expect(await asked(['shard', verb, '3'])).toEqual({
      kind: `shard-${verb}`,
      shard: 3,
      reason: '',
      by: undefined,
      waitMs: 10_000,
    });
  });

  test('dead-letters list takes filters, a limit and --json', async () => {
    const argv = [
      '--topic',
      'in',
      '--code',
      'FUNCTION_FAILED',
      '--service',
      'shop.Cart',
      '--limit',
      '3',
      '--all',
      '--json',
    ];
    expect(await asked(['dead-letters', 'list', ...argv, '--since', '2026-01-31T12:00:00Z'])).toEqual({
      kind: 'list',
      filter: { topic: 'in', code: 'FUNCTION_FAILED', service: 'shop.Cart', since: Date.UTC(2026, 0, 31, 12) },
      all: true,
      limit: 3,
      json: true,
    });
  });

  test('a span before now is a time, too', async () => {
    const before = Date.now();
    const { filter } = (await asked(['dead-letters', 'list', '--since', '2h'])) as { filter: { since: number } };
    expect(filter.since).toBeGreaterThanOrEqual(before - 7_200_000);
    expect(filter.since).toBeLessThanOrEqual(Date.now() - 7_200_000);
  });

  test('dead-letters retry takes ids, or --all with filters', async () => {
    const common = { reason: '', by: undefined, waitMs: 10_000 };
    expect(await asked(['dead-letters', 'retry', '3/41', '0/2', '--again'])).toEqual({
      ...common,
      kind: 'retry',
      ids: ['3/41', '0/2'],
      filter: undefined,
      again: true,
    });
    expect(await asked(['dead-letters', 'drop', '--all', '--code', 'X'])).toMatchObject({
      kind: 'drop',
      ids: [],
      filter: { code: 'X' },
    });
  });

  test('journal retention takes --dry-run and --json, and needs no broker', async () => {
    expect(await asked(['journal', 'retention'])).toEqual({ dryRun: false, json: false });
    expect(await asked(['journal', 'retention', '--dry-run', '--json'])).toEqual({ dryRun: true, json: true });
    const { DATABASE_URL } = STORES;
    expect((await cli(['journal', 'retention'], { env: { DATABASE_URL } })).code).toBe(7);
  });

  test('journal snapshots drop and rebuild take a component and an entity, and rebuild from how many events on', async () => {
    const all = { component: undefined, entityId: undefined };
    expect(await asked(['journal', 'snapshots', 'drop'])).toEqual({ ...all, kind: 'drop' });
    expect(await asked(['journal', 'snapshots', 'rebuild'])).toEqual({ ...all, kind: 'rebuild', minEvents: 100 });
    const one = ['--component', 'carts', '--entity', 'c-1'];
    const named = { component: 'carts', entityId: 'c-1' };
    expect(await asked(['journal', 'snapshots', 'drop', ...one])).toEqual({ ...named, kind: 'drop' });
    expect(await asked(['journal', 'snapshots', 'rebuild', ...one, '--min-events', '5'])).toEqual({
      ...named,
      kind: 'rebuild',
      minEvents: 5,
    });
  });

  test('entity debug takes an id, from which event to which, and where the function listens', async () => {
    expect(await asked(['entity', 'debug', 'c-1', '--from', '12'])).toEqual({
      entityId: 'c-1',
      component: undefined,
      from: 12,
      to: undefined,
      step: false,
      functionUrl: undefined,
    });
    const argv = ['--from', '12', '--to', '12', '--step', '--component', 'carts', '--function', 'http://fn:1'];
    expect(await asked(['entity', 'debug', 'c-1', ...argv])).toEqual({
      entityId: 'c-1',
      component: 'carts',
      from: 12,
      to: 12,
      step: true,
      functionUrl: 'http://fn:1',
    });
  });

  test.each([
    [['journal', 'retention', 'carts'], 'too many arguments'],
    [['journal', 'snapshots', 'rebuild', '--min-events', '0'], 'not a number of events'],
    [['journal', 'snapshots', 'drop', '--min-events', '5'], "unknown option '--min-events'"],
    [['journal', 'snapshots', 'drop', '--entity', ''], 'It is empty'],
    [['entity', 'debug', 'c-1'], "required option '--from <seq>' not specified"],
    [['entity', 'debug', 'c-1', '--from', '0'], 'not the number of an event'],
    [['entity', 'debug', 'c-1', '--from', '3', '--to', '2'], '--to is before --from'],
    [['entity', 'debug', 'c-1', '--from', '3', '--function', 'fn:1'], 'not a URL'],
    [['entity', 'pause', 'carts'], "missing required argument 'id'"],
    [['entity', 'pause', 'carts', ''], "argument 'id'. It is empty"],
    [['entity', 'pause', 'carts', 'c', '--wait', 'long'], 'not a number of seconds'],
    [['entity', 'pause', 'carts', 'c', '--reason', 'a\nb'], 'one line'],
    [['shard', 'skip', 'first'], 'not the number of a shard'],
    [['dead-letters', 'show', '41'], 'such as 3/41'],
    [['dead-letters', 'list', '--limit', '0'], 'not a number of dead letters'],
    [['dead-letters', 'list', '--since', 'yesterday'], 'neither a span'],
    [['dead-letters', 'retry'], 'nothing to retry'],
    [['dead-letters', 'retry', '1/1', '--all'], 'either ids or --all'],
    [['dead-letters', 'drop', '1/1', '--code', 'X'], 'filters go with --all'],
    [['dead-letters', 'retry', '--all', '--again'], '--again goes with ids'],
  ])('%j is refused by name', async (argv, sentence) => {
    const { code, err, calls } = await cli(argv, { env });
    expect([code, calls]).toEqual([2, []]);
    expect(err).toContain(sentence);
  });
});
