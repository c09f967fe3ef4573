import { type Ground, isInFlight } from './ground.ts';
import { bodyPrint, wholePrint } from './identity.ts';
import type { OutboxChunk } from './journal.ts';
import { IN_FLIGHT, OPTIONAL, type OutputContext, type OutputPass, placeIn, printOf } from './output-context.ts';

/** Fills the tables of a pass with what the outbox has; what is wrong in the outbox itself is found. */
export async function expectOutbox(context: OutputContext, pass: OutputPass): Promise<void> {
  const { ground, found, journaled, putBacks, identityOf } = context;
  const { expected, isFirst, isOurs, lanes, traces } = pass;
  ground.steps.begin('the outbox', context.counts.retainedChunks);
  let chunk: OutboxChunk | undefined;
  let inFlight = false;
  for await (const { chunk: row, place, output } of journaled.outbox()) {
    if (row !== chunk) {
      ground.steps.count('chunks');
      inFlight = isInFlight(row, ground);
      chunk = row;
    }
    const identity = identityOf(output, output.topic);
    if (identity === undefined) {
      if (isFirst) {
        found.find({
          what: 'an output in the outbox names no command',
          where: `shard ${row.shard}, chunk ${row.chunk}, output ${place + 1}, for "${output.topic}"`,
          found: 'headers that no output of this deployment has',
          expected: 'the headers that every output has',
        });
      }
      continue;
    }
    traces.ofOutput(identity);
    if (identity.kind === 'put back') putBacks.add(identity.origin);
    if (!isOurs(output.key, identity.id)) continue;
    const isNew = expected.put(
      printOf(output.topic, identity.id),
      wholePrint(output, output.partition),
      placeIn(row.chunk, place),
      lanes.idOf('outbox', row.shard, output.topic, output.partition),
      inFlight ? IN_FLIGHT : 0,
    );
    if (!isNew && identity.kind !== 'put back') {
      found.find({
        what: 'an output is in the journal twice',
        where: `shard ${row.shard}, chunk ${row.chunk}, output ${place + 1}`,
        found: `${identity.kind} ${identity.id} for "${output.topic}" again`,
        expected: 'each output once',
      });
    }
  }
}

/** Fills the tables of a pass with what events and values lead to, after `expectOutbox`. */
export async function expectEvents({ ground, journaled }: OutputContext, pass: OutputPass): Promise<void> {
  const { journal, steps } = ground;
  const { expected, events, isOurs, lanes, traces } = pass;
  steps.begin('events', await journal.countEvents());
  for await (const { event, index } of journaled.events()) {
    steps.count('events');
    traces.ofCommand(event.commandId);
    if (wasHeldBack(event, ground) || !isOurs(Buffer.from(event.entityId), '')) continue;
    for (const output of journaled.render(event, `event-${index}`)) {
      const print = printOf(output.topic, `${event.commandId}/event-${index}`);
      const inOutbox = expected.find(print);
      const waits = inOutbox >= 0 && (expected.at(inOutbox).flags & IN_FLIGHT) !== 0;
      const lane = lanes.idOf('event', event.shard, output.topic, output.partition);
      events.put(print, bodyPrint(output), event.shardSeq, lane, waits ? IN_FLIGHT : 0);
    }
  }
  for await (const { commandId } of journal.parked()) traces.ofCommand(commandId);
  for await (const value of journal.values()) {
    const { typeUrl, payload, commandId, entityId, shard } = value;
    traces.ofCommand(commandId);
    if (typeUrl === null || payload === null) continue;
    if (wasHeldBack(value, ground) || !isOurs(Buffer.from(entityId), '')) continue;
    for (const output of journaled.render({ ...value, typeUrl, payload, seq: 0, shardSeq: 0 }, 'state')) {
      const lane = lanes.idOf('event', shard, output.topic, output.partition);
      // Not numbered in its shard, so it keeps no order here.
      events.put(printOf(output.topic, `${commandId}/state`), bodyPrint(output), -1, lane, OPTIONAL);
    }
  }
}

/** It is of a generation that did not serve then. */
function wasHeldBack(
  { shard, epoch }: { readonly shard: number; readonly epoch: number },
  { shards }: Pick<Ground, 'shards'>,
): boolean {
  return epoch <= (shards.get(shard)?.heldEpoch ?? 0);
}
