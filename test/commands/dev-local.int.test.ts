import path from 'node:path';
import { expect, it } from 'vitest';
import { freePorts, portTaken } from '../../src/local/ports.ts';
import { type CliProcess, startCli } from '../support/cli-process.ts';
import { compiled } from '../support/compiled.ts';
import { copyFlights } from '../support/flights-copy.ts';
import { produce, readCommitted } from '../support/kafka.ts';
import { commandsWith, descendants, eventually } from '../support/processes.ts';
import { fileScope } from '../support/scope.ts';

const folder = await compiled(fileScope());

async function fly(brokers: readonly string[], count: number): Promise<string[]> {
  const flight = { origin: 'SFO', destination: 'LAX', date: '2001/04/01 00:00', delay: 1, distance: 337 };
  const message = { key: 'SFO', value: JSON.stringify(flight), headers: { 'content-type': 'application/json' } };
  await produce('flights', [message], brokers);
  const statuses = await readCommitted('airport-status', { count }, { brokers });
  // Field 2 of AirportStatus, `flights`: tag 0x10, then the number.
  return statuses.map(({ key, value }) => `${key?.toString()} ${value?.[value.indexOf(0x10) + 1]}`);
}

async function brokersOf(dev: CliProcess): Promise<string[]> {
  const [, brokers] = await dev.printed(/^KAFKA_BROKERS=(\S+)$/m);
  return [brokers as string];
}

it('brings up servers, topics and the function, goes on after a change and after a restart, and leaves no process', async (t) => {
  const copy = await copyFlights(t, { ownTopics: false });
  const [port] = (await freePorts(1)) as [number];
  const url = `http://127.0.0.1:${port}`;
  const argv = [
    'dev',
    '--function-url',
    url,
    '--http-port',
    '0',
    '--door-port',
    '0',
    '--set',
    'log.format=json',
    '--',
    ...copy.command,
  ];
  const started = /^\[function\] Kalix service started/m;

  const first = startCli(t, { compiled: folder, argv, cwd: copy.folder });
  const brokers = await brokersOf(first);
  await first.printed(/"Opened a shard"/, 8);
  expect(await fly(brokers, 1)).toEqual(['SFO 1']);
  const starts = first.output().match(new RegExp(started, 'gm'))?.length ?? 0;
  await copy.edit('index.js', (text) => `${text}\n// A change.\n`);
  await first.printed(/"files":\["index.js"\]/);
  await first.printed(started, starts + 1);
  expect(await fly(brokers, 2)).toEqual(['SFO 1', 'SFO 2']);

  first.kill('SIGINT');
  expect(await first.exited).toBe(0);
  expect(await descendants()).toEqual([]);
  expect(await portTaken(port)).toBe(false);

  const second = startCli(t, { compiled: folder, argv, cwd: copy.folder });
  await second.printed(/"Opened a shard"/, 8);
  expect(await fly(await brokersOf(second), 3)).toEqual(['SFO 1', 'SFO 2', 'SFO 3']);
  expect(await commandsWith(path.join(copy.folder, '.stateferry'))).not.toEqual([]);

  second.kill('SIGKILL');
  await second.exited;
  await eventually('what it had started has ended', async () => {
    const left = await commandsWith(path.join(copy.folder, '.stateferry'));
    return left.length === 0 && !(await portTaken(port));
  });
});
