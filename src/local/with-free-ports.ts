import { messageOf, StateferryError } from '../errors.ts';
import { portTaken } from './ports.ts';

const TRIES = 5;

/**
 * Calls `start` with free ports: the preferred ones if nothing holds them, else picked ones. Between picking a port and
 * a server's taking it another process may take it: a start that fails while its ports are held by somebody is tried
 * again with other ports.
 */
export async function withFreePorts<T>(
  options: {
    readonly name: string;
    readonly count: number;
    readonly preferred: readonly number[] | undefined;
    readonly pick: (count: number) => Promise<number[]>;
  },
  start: (ports: readonly number[]) => Promise<T>,
): Promise<T> {
  const { name, count, preferred, pick } = options;
  let ports = preferred !== undefined && !(await anyTaken(preferred)) ? preferred : await pick(count);
  for (let tried = 1; ; tried += 1) {
    try {
      return await start(ports);
    } catch (error) {
      if (!(await anyTaken(ports))) throw error;
      if (tried === TRIES) {
        throw new StateferryError(
          'LOCAL_STACK',
          `${name} found its ports taken ${TRIES} times in a row, last ${ports.join(', ')}: ${messageOf(error)}`,
          { cause: error },
        );
      }
    }
    ports = await pick(count);
  }
}

async function anyTaken(ports: readonly number[]): Promise<boolean> {
  for (const port of ports) if (await portTaken(port)) return true;
  return false;
}
