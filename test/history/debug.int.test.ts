import { beforeAll, expect, it } from 'vitest';
import type { EntityDebugRequest } from '../../src/cli/context.ts';
import { entityDebug } from '../../src/commands/entity-debug.ts';
import { startFunction } from '../support/function-process.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { configOf, createOffice, type Office, workOn } from '../verify/office.ts';

const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
/** Another version: it gives the ledger l3 1 more each time. */
const generous = await startFunction(file, { source: 'trouble', env: { TROUBLE_GENEROUS_TO: 'l3' } });
let office: Office;
const ROUNDS = 2;

beforeAll(async () => {
  office = await createOffice(file, fn, { 'journal.keepInputs': true });
  const runtime = startRuntime(file, office.config);
  await runtime.ready();
  await workOn(office, ROUNDS);
  await office.atRest();
  await runtime.stop();
});

async function debug(request: Partial<EntityDebugRequest> & { entityId: string }, enter?: () => Promise<boolean>) {
  let out = '';
  let err = '';
  const io = {
    signal: new AbortController().signal,
    out: {
      write: (text: string) => {
        out += text;
      },
    },
    err: {
      write: (text: string) => {
        err += text;
      },
    },
    enter,
  };
  // No deadline counts: the function may stand at a breakpoint.
  const config = configOf({ ...office.config, 'function.deadlineMs': 1 });
  const whole = { component: undefined, from: 1, to: undefined, step: false, functionUrl: undefined, ...request };
  const code = await entityDebug(config, whole, io);
  return { code, out, err };
}

const rows = () => office.query('select count(*) as n from event');

it('the recorded commands are given in their states, and the same version does the same; nothing of it counts', async () => {
  const before = await rows();
  const { code, out } = await debug({ entityId: 'l1' });
  expect(out).toMatch(
    /^\S+\/\d+\/\d+ {2}trouble\.LedgerService\/Add \{"id":"l1","amount":2\}\n {2}reply {2}trouble\.Balance /,
  );
  expect(out).toContain('  event 1  trouble.Added {"amount":2}\n  as in the journal\n');
  // An Add, an AddMany of three and what the desk asks for, each round.
  expect(out).toContain(`${ROUNDS * 3} commands sent, all as in the journal.\n`);
  expect(code).toBe(0);
  expect(await rows()).toEqual(before);
});

it('another version’s differences are told, each in the state that the entity had then', async () => {
  const { code, out } = await debug({ entityId: 'l3', functionUrl: `http://${generous.url}` });
  expect(code).toBe(1);
  expect(out).toContain(
    '  event 1  trouble.Added {"amount":5}\n  not as in the journal, which has these:\n    event 1  trouble.Added {"amount":4}\n',
  );
  expect(out).toMatch(/\n(\d+) commands sent, \1 not as in the journal\.\n$/);
});

it('a command is given whole where an event in its middle is named, one at a time on Enter, to the last one that is wanted', async () => {
  const [middle] = await office.query<{ seq: string; first: string }>(
    `select max(seq) - 1 as seq, min(seq) as first from event where entity_id = 'l1' group by command_id having count(*) = 3 order by 1 limit 1`,
  );
  let pressed = 0;
  const { code, out, err } = await debug(
    { entityId: 'l1', from: Number(middle?.seq), to: Number(middle?.seq), step: true },
    async () => {
      pressed++;
      return true;
    },
  );
  expect(out).toMatch(/^\S+ {2}trouble\.LedgerService\/AddMany/);
  expect(out).toContain('1 command sent, all as in the journal.\n');
  expect(err).toBe(`In the state after event ${Number(middle?.first) - 1}. Enter sends it; Ctrl-C ends. `);
  expect([code, pressed]).toEqual([0, 1]);
});

it('what cannot be is refused, and why', async () => {
  const refusal = async (request: Partial<EntityDebugRequest> & { entityId: string }) =>
    debug(request).then(
      () => undefined,
      (error: Error) => error.message,
    );
  expect(await refusal({ entityId: 'l1', from: 1_000 })).toBe('"l1" of "ledgers" has no event 1000.');
  expect(await refusal({ entityId: 'l1', to: 1_000 })).toBe('"l1" of "ledgers" has no event 1000.');
  expect(await refusal({ entityId: 'b1' })).toContain('"b1" of "boxes" is value');
  expect(await refusal({ entityId: 'nobody' })).toContain('no entity "nobody"');
  expect(await refusal({ entityId: 'l1', step: true })).toContain('--step waits for Enter');
  expect(await refusal({ entityId: 'l1', functionUrl: 'http://127.0.0.1:1' })).toContain(
    'no function answers at http://127.0.0.1:1',
  );
});
