import type { Io, OperateRequest } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { StateferryError } from '../errors.ts';
import { knowsEntityType, listControlled, type Request, request } from '../journal/operations.ts';
import { partitionFor } from '../topics/partition.ts';
import { printable } from './printable.ts';
import { awaitOutcomes, type Journal, thisUser, withJournal } from './with-journal.ts';

const DONE = 0;
const NOTHING_DONE = 1;
const REASON_CHARACTERS = 80;

/** `stateferry entity pause|resume|skip` and `stateferry shard resume|skip`: asks the owner, waits, tells what came of it. */
export async function operate(config: Config, asked: OperateRequest, io: Io): Promise<number> {
  return withJournal(config, async (journal) => {
    const id = await request(journal.pool, journal.generation, requestOf(asked, journal));
    if ('entityType' in asked && !(await knowsEntityType(journal.pool, journal.generation, asked.entityType))) {
      io.err.write(
        `The journal has nothing of the entity type ${printable(asked.entityType)} yet: is it spelt like that?\n`,
      );
    }
    const outcome = (await awaitOutcomes(journal.pool, [id], { waitMs: asked.waitMs, signal: io.signal })).get(id);
    if (outcome === undefined) {
      throw new StateferryError(
        'OPERATION_PENDING',
        `it was asked for (number ${id}), and not done within ${asked.waitMs / 1_000} s. It is done as soon as the owner of the ` +
          'shard can: does the deployment run, and is the shard not halted or behind a command that is tried again? `stateferry status` tells.',
      );
    }
    io.out.write(`${nameOf(asked)}: ${printable(outcome)}\n`);
    const isSkip = asked.kind === 'skip' || asked.kind === 'shard-skip';
    return isSkip && !outcome.startsWith('skipped') ? NOTHING_DONE : DONE;
  });
}

function requestOf(asked: OperateRequest, { shards }: Journal): Request {
  const common = { reason: asked.reason, by: asked.by ?? thisUser() };
  if ('entityType' in asked) {
    const { kind, entityType, entityId } = asked;
    return { ...common, kind, key: { entityType, entityId }, shard: partitionFor(Buffer.from(entityId), shards) };
  }
  if (asked.shard >= shards) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      `there is no shard ${asked.shard}: the deployment has ${shards}, from 0 to ${shards - 1}.`,
    );
  }
  return { ...common, kind: asked.kind, shard: asked.shard };
}

function nameOf(asked: OperateRequest): string {
  return 'entityType' in asked ? `${printable(asked.entityType)} ${printable(asked.entityId)}` : `shard ${asked.shard}`;
}

/** `stateferry entity list`. */
export async function controlled(config: Config, options: { readonly json: boolean }, io: Io): Promise<number> {
  return withJournal(config, async ({ pool, generation }) => {
    const entities = await listControlled(pool, generation);
    if (options.json) io.out.write(`${JSON.stringify(entities, null, 2)}\n`);
    else if (entities.length === 0) io.out.write('No entity is paused.\n');
    else {
      const rows = entities.map((entity) => [
        printable(entity.entityType),
        printable(entity.entityId),
        String(entity.shard),
        entity.state,
        String(entity.parked),
        entity.since.toISOString(),
        entity.by === '' ? 'failure policy' : printable(entity.by),
        printable(entity.reason, REASON_CHARACTERS),
      ]);
      const head = ['TYPE', 'ID', 'SHARD', 'STATE', 'WAITING', 'SINCE', 'BY', 'REASON'];
      io.out.write(formatTable(head, rows, new Set(['SHARD', 'WAITING'])));
    }
    return DONE;
  });
}
