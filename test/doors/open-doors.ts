import { createAccess, type WithoutAcl } from '../../src/doors/access/access.ts';
import { type BearerKey, readBearerKey } from '../../src/doors/access/bearer-keys.ts';
import { createBearers } from '../../src/doors/access/bearers.ts';
import { createCallers, type KnownService } from '../../src/doors/access/caller.ts';
import { guardCalls } from '../../src/doors/access/guard-calls.ts';
import type { DoorCall } from '../../src/doors/calls.ts';
import { createDoors } from '../../src/doors/doors.ts';
import type { DoorTls } from '../../src/doors/tls.ts';
import { kalix } from '../../src/protocol/kalix.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';
import type { annotated } from './access/annotated.ts';

/** Of the key that verifies tokens at these doors. */
export const SECRET = 'a secret of at least thirty-two characters';

/** Both doors as they are, on a free port of this host; the runtime behind them is the test, which answers nothing but an empty message. */
export async function openDoors(
  t: Scope,
  options: {
    readonly api: ReturnType<typeof annotated>;
    readonly services?: readonly KnownService[];
    readonly withoutAcl?: WithoutAcl;
    readonly tls?: DoorTls | undefined;
    readonly maxConnections?: number;
    readonly maxCalls?: number;
    readonly timeoutMs?: number;
    readonly patienceMs?: number;
  },
) {
  const { rules, component, descriptors } = options.api;
  const through: DoorCall[] = [];
  const events: string[] = [];
  const reply = { payload: { typeUrl: 'type.googleapis.com/app.Item', value: new Uint8Array() }, metadata: [] };
  const key: BearerKey = { id: 'k', algorithm: 'HS256', key: readBearerKey(SECRET, 'HS256') };
  const access = createAccess({
    rules,
    withoutAcl: options.withoutAcl ?? 'local',
    identify: createCallers({ services: options.services ?? [] }),
    bearers: createBearers([key]),
    callerKeys: kalix().callerKeys,
  });
  const calls = guardCalls(
    {
      async unary(call, input) {
        await input();
        through.push(call);
        return reply;
      },
      async *streamed(call, input) {
        through.push(call);
        for await (const _ of input);
        yield reply;
      },
    },
    access,
  );
  let [at, plainAt] = ['', ''];
  const doors = createDoors({
    host: '127.0.0.1',
    port: 0,
    maxConnections: options.maxConnections ?? 100,
    maxCalls: options.maxCalls ?? 10,
    maxMessageBytes: 1_000,
    timeoutMs: options.timeoutMs ?? 60_000,
    ...(options.patienceMs !== undefined && { patienceMs: options.patienceMs }),
    corsOrigins: [],
    isFunctionUp: () => true,
    tls: options.tls && {
      ...options.tls,
      onRefused: (reason) => events.push(`refused: ${reason}`),
      onRenewed: () => events.push('renewed'),
      onBrokenFiles: (reason) => events.push(`broken: ${reason}`),
    },
    onListening: ({ host, port }) => {
      at = `${host}:${port}`;
    },
    onPlainListening: ({ host, port }) => {
      plainAt = `${host}:${port}`;
    },
    onFault: () => undefined,
  });
  const { mustBeTold } = access;
  await doors.serve({ components: new Map([['app.Api', component]]), descriptors, mustBeTold }, calls);
  t.onTestFinished(() => doors.close());
  return {
    at,
    port: Number(at.split(':')[1]),
    plainAt,
    /** The calls that reached the function. */
    through,
    close: () => doors.close(),
    /** What was told of TLS. */
    events,
    /** Resolves when something was told that has this text in it. */
    told: (text: string) => eventually(`"${text}" is told`, () => events.some((event) => event.includes(text))),
  };
}
