import { mkdir, readdir } from 'node:fs/promises';
import path from 'node:path';
import { StateferryError } from '../errors.ts';
import type { Host } from './host.ts';
import { findJava } from './java.ts';
import { launch } from './launch.ts';
import { mavenFolder } from './maven-folder.ts';
import { freePorts } from './ports.ts';
import { type LocalServer, type StopSteps, startServer } from './server.ts';
import { withFreePorts } from './with-free-ports.ts';

/** A real schema registry on 127.0.0.1. Its schemas are in its memory: they are gone when it is restarted. */
export interface LocalRegistry extends LocalServer {
  /** With the path of the API that is Confluent's. */
  readonly url: string;
}

const STOP: StopSteps = [{ signal: 'SIGTERM', waitMs: 10_000 }];
/** As for Kafka (kafka.ts): what spends least on a machine that everything shares. */
const JVM = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];

/** Starts a registry and resolves when it answers. LOCAL_STACK when there is no Java, no jars, or it ends instead. */
export async function startRegistry({
  dir,
  host,
}: {
  readonly dir: string;
  readonly host: Host;
}): Promise<LocalRegistry> {
  const java = await findJava(host);
  const { folder, version } = await mavenFolder(host, {
    name: 'the schema registry Apicurio',
    key: 'registry',
    size: '140 MB',
    goal: 'unpack',
  });
  const jar = (await readdir(folder)).find((name) => name.endsWith('-runner.jar'));
  if (jar === undefined)
    throw new StateferryError('LOCAL_STACK', `${folder} has no runner; remove it, and it is fetched again`);
  await mkdir(dir, { recursive: true });
  const began = Date.now();
  const registry = await withFreePorts(
    { name: 'Apicurio', count: 1, preferred: undefined, pick: freePorts },
    async ([port]) => {
      const url = `http://127.0.0.1:${port}/apis/ccompat/v7`;
      const logFile = path.join(dir, 'registry.log');
      const server = await startServer(
        {
          name: 'Apicurio',
          logFile,
          launch: () =>
            launch({
              name: 'Apicurio',
              command: java.command,
              args: [...JVM, '-jar', path.join(folder, jar)],
              env: { ...host.env, QUARKUS_HTTP_HOST: '127.0.0.1', QUARKUS_HTTP_PORT: String(port) },
              cwd: dir,
              logFile,
              host,
              guardSignal: 'SIGTERM',
            }),
          async probe() {
            const { status } = await fetch(`${url}/subjects`);
            if (status !== 200) throw new Error(`${url} answers with status ${status}`);
          },
          stopSteps: STOP,
          host,
        },
        false,
      );
      return Object.assign(server, { url });
    },
  );
  host.log(`Apicurio ${version} answers at ${registry.url} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  return registry;
}
