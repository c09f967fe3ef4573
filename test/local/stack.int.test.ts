import { chmod, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { StateferryError } from '../../src/errors.ts';
import { findCommand } from '../../src/local/java.ts';
import { type LocalStack, type LocalStackOptions, startStack } from '../../src/local/stack.ts';
import { temporaryFolder } from '../support/folder.ts';
import { withAdmin } from '../support/kafka.ts';
import { descendants, runs } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

async function start(
  t: Scope,
  options: Omit<LocalStackOptions, 'log'> = {},
): Promise<{ stack: LocalStack; log: string[] }> {
  const log: string[] = [];
  const stack = await startStack({ ...options, log: (line) => log.push(line) });
  t.onTestFinished(() => stack.stop());
  return { stack, log };
}

async function query(stack: LocalStack, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: stack.databaseUrl });
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}

async function putSomethingIn(stack: LocalStack): Promise<void> {
  await withAdmin((admin) => admin.createTopics({ topics: [{ topic: 'kept', numPartitions: 3 }] }), stack.brokers);
  await query(stack, 'CREATE TABLE kept AS SELECT 7 AS seven');
}

async function expectItThere(stack: LocalStack): Promise<void> {
  const { topics } = await withAdmin((admin) => admin.fetchTopicMetadata({ topics: ['kept'] }), stack.brokers);
  expect(topics[0]?.partitions).toHaveLength(3);
  expect(await query(stack, 'SELECT seven FROM kept')).toEqual([{ seven: 7 }]);
}

describe('a machine that lacks something', () => {
  const threeWays = /Java 17 or newer and Maven[\s\S]*docker compose up[\s\S]*KAFKA_BROKERS[\s\S]*DATABASE_URL/;

  it('without Java: one message with the three ways on, and nothing left running', async (t) => {
    const empty = await temporaryFolder(t);
    const starting = startStack({ env: { PATH: empty, HOME: empty }, log: () => undefined });
    await expect(starting).rejects.toThrow(threeWays);
    await expect(starting).rejects.toThrow(/no java is in JAVA_HOME or on PATH/);
    await expect(starting).rejects.toMatchObject({ code: 'LOCAL_STACK' });
    expect(await descendants()).toEqual([]);
  });

  it('with a Java that is too old: the same message, and which Java that is', async (t) => {
    const folder = await temporaryFolder(t);
    const java = path.join(folder, 'java');
    await writeFile(java, '#!/bin/sh\necho \'openjdk version "11.0.2"\' >&2\n', { mode: 0o755 });
    const starting = startStack({ env: { PATH: folder, HOME: folder }, databaseUrl: 'given', log: () => undefined });
    await expect(starting).rejects.toThrow(threeWays);
    await expect(starting).rejects.toThrow(`${java} is Java 11`);
  });

  it('with Java but neither jars nor Maven: the same message, and that Maven is missing', async (t) => {
    const folder = await temporaryFolder(t);
    await symlink((await findCommand('java', process.env)) as string, path.join(folder, 'java'));
    const env = { PATH: folder, HOME: folder };
    const starting = startStack({ env, databaseUrl: 'given', log: () => undefined });
    await expect(starting).rejects.toThrow(threeWays);
    await expect(starting).rejects.toThrow(/Maven, which fetches them, is not on PATH/);
  });

  it('Kafka that ends instead of starting: how it ended and the end of its log', async () => {
    const kafkaConfig = { 'metric.reporters': 'no.such.Reporter' };
    const starting = startStack({ kafkaConfig, databaseUrl: 'given', log: () => undefined });
    await expect(starting).rejects.toThrow(StateferryError);
    await expect(starting).rejects.toThrow(/Kafka ended \(code 1\) before it answered[\s\S]*no\.such\.Reporter/);
    expect(await descendants()).toEqual([]);
  });
});

describe('servers that are given', () => {
  it('are used as they are, and nothing is started', async (t) => {
    const { stack } = await start(t, { brokers: ['a:1', 'b:2'], databaseUrl: 'postgres://u:p@h/d' });
    expect(stack).toMatchObject({ kafka: undefined, postgres: undefined, dir: undefined });
    expect(stack).toMatchObject({ brokers: ['a:1', 'b:2'], databaseUrl: 'postgres://u:p@h/d' });
    expect(await descendants()).toEqual([]);
  });
});

describe('the life of a stack', () => {
  it('stop ends every process and removes the temporary folder, however often it is called', async (t) => {
    const { stack, log } = await start(t);
    await putSomethingIn(stack);
    expect(stack.databaseUrl).toMatch(/^postgres:\/\/stateferry:\w{30,}@127\.0\.0\.1:\d+\/stateferry$/);
    expect(log.join('\n')).not.toContain(new URL(stack.databaseUrl).password);

    await Promise.all([stack.stop(), stack.stop()]);
    await stack.stop();

    expect(await descendants()).toEqual([]);
    expect(await readdir(path.dirname(stack.dir as string))).not.toContain(path.basename(stack.dir as string));
    expect(log.filter((line) => line.includes('unexpected'))).toEqual([]);
  });

  it('listens on 127.0.0.1 only and lets nobody in without the password', async (t) => {
    const { stack } = await start(t, { brokers: ['given:1'] });
    expect(await query(stack, 'SHOW listen_addresses')).toEqual([{ listen_addresses: '127.0.0.1' }]);
    expect(await query(stack, 'SHOW unix_socket_directories')).toEqual([{ unix_socket_directories: '' }]);
    const settings = ['fsync', 'synchronous_commit', 'full_page_writes'];
    for (const setting of settings) expect(await query(stack, `SHOW ${setting}`)).toEqual([{ [setting]: 'on' }]);
    const url = new URL(stack.databaseUrl);
    url.password = 'wrong';
    const intruder = new pg.Client({ connectionString: url.href });
    await expect(intruder.connect()).rejects.toThrow(/password authentication failed/);
    await intruder.end();
  });

  it('a data folder keeps its topics, tables, addresses and password from one start to the next', async (t) => {
    const dir = path.join(await temporaryFolder(t), 'data');
    const first = await start(t, { dir });
    await putSomethingIn(first.stack);
    await first.stack.stop();
    expect(await descendants()).toEqual([]);

    const second = await start(t, { dir });

    await expectItThere(second.stack);
    expect(second.stack.brokers).toEqual(first.stack.brokers);
    expect(second.stack.databaseUrl).toBe(first.stack.databaseUrl);
  });

  it('a data folder whose servers were all killed starts again with what was in it', async (t) => {
    const dir = path.join(await temporaryFolder(t), 'data');
    const { stack } = await start(t, { dir });
    await putSomethingIn(stack);
    stack.kafka?.kill('SIGKILL');
    stack.postgres?.kill('SIGKILL');
    await stack.stop();
    await expectItThere((await start(t, { dir })).stack);
  });

  it('a folder with a stack.json that is not ours is refused and left alone', async (t) => {
    const dir = await temporaryFolder(t);
    await writeFile(path.join(dir, 'stack.json'), '{"services": []}');
    await expect(startStack({ dir, log: () => undefined })).rejects.toThrow(/is not what a local stack leaves/);
    expect(await readdir(dir)).toEqual(['stack.json']);
  });

  it('kill -9 and restart: the same address, and what was in it', async (t) => {
    const { stack, log } = await start(t);
    await putSomethingIn(stack);
    const { kafka, postgres } = stack;
    const before = [kafka?.pid, postgres?.pid];
    kafka?.kill('SIGKILL');
    postgres?.kill('SIGKILL');

    await Promise.all([kafka?.restart(), postgres?.restart()]);

    await expectItThere(stack);
    expect([kafka?.pid, postgres?.pid]).not.toEqual(before);
    for (const pid of before) expect(runs(pid as number)).toBe(false);
    expect(log.filter((line) => line.includes('unexpected'))).toEqual([]);
    await stack.stop();
    expect(await descendants()).toEqual([]);
  });

  it('restart of a running server stops it in order first', async (t) => {
    const { stack } = await start(t, { brokers: ['given:1'] });
    await query(stack, 'CREATE TABLE kept AS SELECT 7 AS seven');
    await stack.postgres?.restart();
    expect(await query(stack, 'SELECT seven FROM kept')).toEqual([{ seven: 7 }]);
  });

  it('tells of a server that ended by itself', async (t) => {
    const { stack, log } = await start(t, { brokers: ['given:1'] });
    const told = new Promise<void>((resolve) => {
      const push = log.push.bind(log);
      log.push = (...lines) => {
        if (lines.some((line) => line.includes('Postgres ended unexpectedly'))) resolve();
        return push(...lines);
      };
    });
    process.kill(stack.postgres?.pid as number, 'SIGKILL');
    await told;
  });

  it('a start that is aborted rejects with the reason and leaves nothing', async (t) => {
    const dir = await temporaryFolder(t);
    const aborting = new AbortController();
    const starting = startStack({
      dir,
      signal: aborting.signal,
      // Postgres answers first; Kafka is then on its way.
      log: () => aborting.abort(new Error('no longer wanted')),
    });
    await expect(starting).rejects.toThrow('no longer wanted');
    expect(await descendants()).toEqual([]);
  });

  it.runIf(process.getuid?.() === 0)('as root in a folder that other users cannot enter', async (t) => {
    const closed = await temporaryFolder(t);
    await chmod(closed, 0o700);
    const dir = path.join(closed, 'data');
    await mkdir(dir);
    const first = await start(t, { dir, brokers: ['given:1'] });
    const folder = first.stack.postgres?.folder as string;
    t.onTestFinished(() => rm(folder, { recursive: true, force: true }));
    expect(folder.startsWith('/var/lib/stateferry/')).toBe(true);
    await query(first.stack, 'CREATE TABLE kept AS SELECT 7 AS seven');
    await first.stack.stop();
    const second = await start(t, { dir, brokers: ['given:1'] });
    expect(await query(second.stack, 'SELECT seven FROM kept')).toEqual([{ seven: 7 }]);
  });
});
