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
    for (const command of ['demo', 'dev', 'run', 'topics', 'status', 'config']) {
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

  test.each(['demo', 'dev', 'run', 'topics', 'status', 'config'])('%s --help has an example', async (command) => {
    const { out } = await cli([command, '--help']);
    expect(out).toMatch(new RegExp(`^ {2}\\$ .*stateferry ${command}`, 'm'));
  });

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
    expect((await cli(['demo'])).calls[0]?.[2]).toMatchObject({ keep: false });
    expect((await cli(['demo', '--keep'])).calls[0]?.[2]).toMatchObject({ keep: true });
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
