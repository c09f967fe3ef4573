import { randomUUID } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { packagePath } from '../../src/package-path.ts';
import type { Scope } from './scope.ts';

/** A copy of examples/flights that a test may change. */
export interface FlightsCopy {
  readonly folder: string;
  /** What starts it, its descriptor built first. */
  readonly command: readonly string[];
  /** The topics that its annotations name; those of the example itself unless asked otherwise. */
  readonly topics: { readonly flights: string; readonly statuses: string; readonly alerts: string };
  /** Changes one of its files. */
  edit(file: string, change: (text: string) => string): Promise<void>;
}

/** Makes the copy where the SDK is found from; removed when the scope ends. `ownTopics`: names that nobody else has. */
export async function copyFlights(t: Scope, options: { readonly ownTopics: boolean }): Promise<FlightsCopy> {
  const parent = packagePath('node_modules/.cache');
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(path.join(parent, 'flights-'));
  t.onTestFinished(() => rm(folder, { recursive: true, force: true }));
  for (const name of ['airport.js', 'index.js', 'package.json', 'proto']) {
    await cp(packagePath(`examples/flights/${name}`), path.join(folder, name), { recursive: true });
  }
  const edit = async (file: string, change: (text: string) => string): Promise<void> => {
    const text = await readFile(path.join(folder, file), 'utf8');
    const changed = change(text);
    if (changed === text) throw new Error(`the change leaves ${file} as it is`);
    await writeFile(path.join(folder, file), changed);
  };
  const suffix = options.ownTopics ? `-${randomUUID()}` : '';
  const topics = {
    flights: `flights${suffix}`,
    statuses: `airport-status${suffix}`,
    alerts: `airport-alerts${suffix}`,
  };
  if (options.ownTopics) {
    await edit('proto/flights.proto', (text) => text.replaceAll(/(topic = "[^"]+)"/g, `$1${suffix}"`));
  }
  const build = packagePath('examples/build-descriptor.js');
  const script = `'${process.execPath}' '${build}' @kalix-io/kalix-javascript-sdk && exec '${process.execPath}' index.js`;
  return { folder, command: ['sh', '-c', script], topics, edit };
}
