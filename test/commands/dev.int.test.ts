import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { expect, inject, it } from 'vitest';
import { freePorts, portTaken } from '../../src/local/ports.ts';
import { packagePath } from '../../src/package-path.ts';
import { type CliProcess, startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { copyFlights, type FlightsCopy } from '../support/flights-copy.ts';
import { startFunction } from '../support/function-process.ts';
import { produce, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { descendants } from '../support/processes.ts';
import { fileScope, type Scope } from '../support/scope.ts';

const folder = await compiled(fileScope());
const SERVICE_STARTED = /^\[function\] Kalix service started/m;

/** `stateferry dev` on the run's own servers, in a deployment of its own. */
async function startDev(
  t: Scope,
  copy: FlightsCopy,
  given: { command?: readonly string[]; more?: readonly string[] } = {},
) {
  const { command = copy.command, more = [] } = given;
  const name = `dev-${randomUUID()}`;
  const [port] = (await freePorts(1)) as [number];
  t.onTestFinished(() =>
    withAdmin(async (admin) => {
      const ours = [...Object.values(copy.topics), `${name}-commands`, `${name}-answers`, `${name}-dead-letters`];
      const existing = new Set(await admin.listTopics());
      await admin.deleteTopics({ topics: ours.filter((topic) => existing.has(topic)) });
    }),
  );
  const url = `http://127.0.0.1:${port}`;
  const flags = [
    '--name',
    name,
    '--function-url',
    url,
    '--http-port',
    '0',
    '--door-port',
    '0',
    '--set',
    'log.format=json',
  ];
  const dev = startCli(t, {
    compiled: folder,
    argv: ['dev', ...flags, ...more, '--', ...command],
    cwd: copy.folder,
    env: { KAFKA_BROKERS: inject('brokers').join(','), DATABASE_URL: await createDatabase(t) },
  });
  return { dev, port };
}

async function statuses(copy: FlightsCopy, count: number): Promise<number> {
  const value = JSON.stringify({ origin: 'SFO', date: '2001/04/01 00:00', delay: 1 });
  await produce(copy.topics.flights, [{ key: 'SFO', value, headers: { 'content-type': 'application/json' } }]);
  return (await readCommitted(copy.topics.statuses, { count })).length;
}

async function restarts(dev: CliProcess): Promise<void> {
  const before = dev.output().match(new RegExp(SERVICE_STARTED, 'gm'))?.length ?? 0;
  await dev.printed(SERVICE_STARTED, before + 1);
}

it('makes the topics that are missing, inputs with the partitions asked for, outputs with as many', async (t) => {
  const copy = await copyFlights(t, { ownTopics: true });
  const { dev } = await startDev(t, copy, { more: ['--partitions', '3'] });
  await dev.printed(/"Opened a shard"/, 3);
  const { topics } = await withAdmin((admin) => admin.fetchTopicMetadata({ topics: Object.values(copy.topics) }));
  expect(topics.map(({ partitions }) => partitions.length)).toEqual([3, 3, 3]);
  expect(await statuses(copy, 1)).toBe(1);
});

it('says why a function cannot be served, and serves it once it has been mended', async (t) => {
  const copy = await copyFlights(t, { ownTopics: true });
  // At the doors it could be called all the same.
  const { dev, port } = await startDev(t, copy, { more: ['--set', 'doors.enabled=false'] });
  await dev.printed(/"Opened a shard"/, 8);

  const annotation = `option (kalix.method).eventing.in.topic = "${copy.topics.flights}";`;
  await copy.edit('proto/flights.proto', (text) => text.replace(annotation, ''));
  await dev.printed(
    /"code":"FUNCTION_SPEC","reason":"the routes do not fit the function:\\n {2}- nothing leads to the function/,
  );

  const again = restarts(dev);
  await copy.edit('proto/flights.proto', (text) =>
    text.replace('rpc Record(Flight) returns (AirportStatus) {', `$&\n${annotation}`),
  );
  await again;
  await dev.printed(/"Opened a shard"/, 16);
  expect(await statuses(copy, 1)).toBe(1);

  dev.kill('SIGINT');
  expect(await dev.exited).toBe(0);
  expect(await descendants()).toEqual([]);
  expect(await portTaken(port)).toBe(false);
});

it('lets a function of another terminal come and go, and does not end it', async (t) => {
  const copy = await copyFlights(t, { ownTopics: true });
  const { dev, port } = await startDev(t, copy, { command: [] });
  await dev.printed(/"Waiting for the function"/);
  const source = {
    folder: path.relative(packagePath('.'), copy.folder),
    sdk: '@kalix-io/kalix-javascript-sdk',
    dialect: 'kalix',
  } as const;
  const fn = await startFunction(t, { source, port });
  await dev.printed(/"Opened a shard"/, 8);
  dev.kill('SIGINT');
  expect(await dev.exited).toBe(0);
  expect(await portTaken(port)).toBe(true);
  await fn.stop();
});
