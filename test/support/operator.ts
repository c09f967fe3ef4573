import type { DeadLettersRequest, OperateRequest } from '../../src/cli/context.ts';
import { deadLetters } from '../../src/commands/dead-letters.ts';
import { controlled, operate } from '../../src/commands/operate.ts';
import { type Assumed, loadConfig } from '../../src/config/load.ts';
import type { ControlledEntity } from '../../src/journal/operations.ts';

/** What a command printed, and its exit code. */
export interface Printed {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

type Common = 'reason' | 'by' | 'waitMs';
type Asked<T> = T extends unknown ? Omit<T, Common> & { readonly [K in Common]?: T[K & keyof T] } : never;

/** An operator of a deployment, at the command line. */
export interface Operator {
  operate(request: Asked<OperateRequest>): Promise<Printed>;
  /** Entities that are paused. */
  controlled(): Promise<readonly Omit<ControlledEntity, 'since'>[]>;
  deadLetters(request: DeadLettersRequest): Promise<Printed>;
}

export function createOperator(assumed: Assumed): Operator {
  const { config } = loadConfig({ argvFlags: {}, env: {}, cwd: '/', readFile: () => undefined, assumed });
  async function print(command: (io: Parameters<typeof operate>[2]) => Promise<number>): Promise<Printed> {
    let out = '';
    let err = '';
    const code = await command({
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
    });
    return { code, out, err };
  }
  return {
    operate: (request) =>
      print((io) =>
        operate(config, { reason: 'a test', by: 'tester', waitMs: 20_000, ...request } as OperateRequest, io),
      ),
    async controlled() {
      const { out } = await print((io) => controlled(config, { json: true }, io));
      return JSON.parse(out) as ControlledEntity[];
    },
    deadLetters: (request) => print((io) => deadLetters(config, request, io)),
  };
}
