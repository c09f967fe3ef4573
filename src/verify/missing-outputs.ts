import type { Fingerprint, FingerprintTable } from './fingerprints.ts';
import { IN_FLIGHT, OPTIONAL, type OutputContext, type OutputPass, printOf, SEEN } from './output-context.ts';

/** Missing outputs that are looked up to be named. */
const NAMED = 200;

/** Finds what the journal has and the topics, which have been read, do not, and looks up what it is. */
export async function nameMissing(context: OutputContext, pass: OutputPass): Promise<void> {
  const named = await nameMissingOutputs(context, missingOutputs(context, pass));
  await nameMissingEvents(context, missingEvents(context, pass), named);
}

function missingOutputs({ ground, counts }: OutputContext, { expected, lanes }: OutputPass): ReadonlySet<string> {
  const missing = new Set<string>();
  for (const { flags, lane, ordinal, key } of entries(expected)) {
    const { topic, partition, least } = lanes.at(lane);
    if ((flags & (SEEN | IN_FLIGHT)) !== 0 || ground.topics.compacted.has(topic)) continue;
    const isTruncated = (ground.after.get(topic)?.get(partition)?.low ?? 0n) > 0n;
    if (isTruncated && ordinal < least) counts.removed++;
    else missing.add(textOf(key));
  }
  return missing;
}

function missingEvents(
  { ground, counts }: OutputContext,
  { expected, events, lanes }: OutputPass,
): ReadonlySet<string> {
  const missing = new Set<string>();
  for (const { flags, lane, ordinal, key } of entries(events)) {
    const { topic, least } = lanes.at(lane);
    if ((flags & (SEEN | IN_FLIGHT | OPTIONAL)) !== 0 || ground.topics.compacted.has(topic)) continue;
    if (expected.find(key) >= 0) continue;
    if (ordinal < least) counts.beforeTopic++;
    else missing.add(textOf(key));
  }
  return missing;
}

/** Answers how many it has named. */
async function nameMissingOutputs(context: OutputContext, missing: ReadonlySet<string>): Promise<number> {
  let named = 0;
  if (missing.size === 0) return named;
  for await (const { chunk, place, output } of context.journaled.outbox()) {
    const identity = context.identityOf(output, output.topic);
    if (identity === undefined || !missing.has(textOf(printOf(output.topic, identity.id)))) continue;
    context.found.find({
      what: 'an output was never published',
      where: `shard ${chunk.shard}, chunk ${chunk.chunk}, output ${place + 1}`,
      found: `no ${identity.kind} ${identity.id} in "${output.topic}" partition ${output.partition}`,
      expected: 'each journaled output once',
    });
    if (++named >= NAMED) break;
  }
  return named;
}

/** `named`: how many have been named already. */
async function nameMissingEvents(
  { journaled, found }: OutputContext,
  missing: ReadonlySet<string>,
  named: number,
): Promise<void> {
  if (missing.size === 0) return;
  for await (const { event, index } of journaled.events()) {
    const id = `${event.commandId}/event-${index}`;
    for (const topic of journaled.topicsOf(event.entityType)) {
      if (!missing.has(textOf(printOf(topic, id)))) continue;
      found.find({
        what: 'an event was never published',
        where: `${event.entityType} "${event.entityId}", event ${event.seq}`,
        found: `no event ${id} in "${topic}"`,
        expected: 'each event once',
      });
      named++;
    }
    if (named >= NAMED) break;
  }
}

function* entries(table: FingerprintTable) {
  for (const slot of table.slots()) yield table.at(slot);
}

function textOf({ high, low }: Fingerprint): string {
  return `${high}:${low}`;
}
