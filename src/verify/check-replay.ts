import { payloadToJson } from '../codec/json.ts';
import { decodeReplicatedDelta, encodeReplicatedDelta } from '../codec/replicated-record.ts';
import { messageOf } from '../errors.ts';
import { loadHeads, loadTails } from '../journal/load.ts';
import type { Component } from '../model/component.ts';
import type { Payload } from '../model/payload.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import { fold } from '../replicated/fold.ts';
import { fromNothing } from '../replicated/merge.ts';
import { type CheckResult, gather, number } from './findings.ts';
import type { JournalView, SampledEntity } from './journal.ts';
import type { Observation } from './observe-entity.ts';
import type { Steps } from './steps.ts';

const EVENTS_PAGE = 1_000;

/**
 * Loads a sample of entities twice, from the snapshot with the later events and from all events, and compares: of event
 * sourced entities what shows their state at the function, of replicated ones the value itself, which the runtime
 * makes. An entity without a snapshot has one way only.
 */
export async function checkReplay(options: {
  readonly journal: JournalView;
  readonly components: ReadonlyMap<string, Component>;
  readonly descriptors: Descriptors;
  /** Entities at most. */
  readonly sample: number;
  /** None: the dialect tells no state, and no probe is named. */
  readonly observations: readonly Observation[];
  /** The function cannot start from a snapshot, so none is ever used. */
  readonly ignoresSnapshots: boolean;
  readonly steps: Steps;
  readonly signal: AbortSignal;
}): Promise<CheckResult> {
  const { journal, descriptors, observations, steps, signal } = options;
  const found = gather('replay');
  const { whole: all, cut } = await journal.countSnapshots();
  const reach: string[] = [];
  const byType = new Map([...options.components.values()].map((component) => [component.entityType, component]));
  let compared = 0;
  const isObserved = !options.ignoresSnapshots && observations.length > 0;
  const isSourced = [...options.components.values()].some(({ kind }) => kind === 'event-sourced');

  if (!isSourced) reach.push('the function has no event sourced entities to be asked for their states');
  else if (options.ignoresSnapshots)
    reach.push('the function’s SDK starts from no snapshot, so none is used: there is nothing to compare');
  else if (observations.length === 0) {
    reach.push(
      'the function’s protocol has no way to ask for a state: nothing was compared. Name a method that only reads, with ' +
        '--probe, and the answers to it are compared',
    );
  } else {
    for (const { by } of observations) reach.push(`compared by ${by}`);
  }
  if (cut > 0) {
    reach.push(
      `retention has removed events below the snapshots of ${number(cut)} entities: there is one way to load them`,
    );
  }
  const sampled = all === 0 || options.sample === 0 ? [] : await journal.sample(options.sample);
  steps.begin('entities at the function', sampled.length);
  for (const entity of sampled) {
    signal.throwIfAborted();
    steps.count('entities');
    const component = byType.get(entity.entityType);
    if (component?.kind === 'replicated') {
      compared++;
      await compareFolds(entity);
    } else if (component?.kind !== 'event-sourced') {
      reach.push(
        `the function has no entity type "${entity.entityType}" any more: ${entity.entityId} was not compared`,
      );
    } else if (isObserved) {
      compared++;
      for (const observation of observations) await compare(entity, component, observation);
    }
  }

  async function compareFolds(entity: SampledEntity): Promise<void> {
    const [head] = await loadHeads(journal.pool, journal.deployment.generation, [entity]);
    if (head?.snapshot === undefined) return;
    const { snapshot, voidThrough, seq } = head;
    const where = `${entity.entityType} "${entity.entityId}", snapshot of event ${snapshot.seq}`;
    const folded = async (from: readonly Payload[], after: number): Promise<Payload | undefined> => {
      const history = [...from];
      for await (const { payload } of eventsOf(entity, after, seq)) history.push(payload);
      const data = fold(history.map(decodeReplicatedDelta));
      return data && encodeReplicatedDelta(fromNothing(data));
    };
    try {
      const short = await folded([snapshot.payload], snapshot.seq);
      const full = await folded([], voidThrough);
      if (short !== undefined && full !== undefined && Buffer.compare(short.value, full.value) === 0) return;
      const bytes = (payload: Payload | undefined) => `a value of ${payload?.value.length ?? 0} bytes`;
      found.find({
        what: 'the snapshot is not what the events make',
        where,
        found: `from the snapshot ${bytes(short)}`,
        expected: `from all events ${bytes(full)}`,
      });
    } catch (error) {
      found.find({ what: 'the events make no value', where, found: messageOf(error), expected: 'events that do' });
    }
  }

  async function compare(entity: SampledEntity, component: Component, { by, observe }: Observation): Promise<void> {
    const where = `${entity.entityType} "${entity.entityId}", snapshot of event ${entity.seq}`;
    const [head] = await loadHeads(journal.pool, journal.deployment.generation, [entity]);
    if (head?.snapshot === undefined) return;
    const { snapshot, voidThrough, seq } = head;
    const start = { service: component.service, entityId: entity.entityId };
    const events = (after: number) => eventsOf(entity, after, seq);
    let [short, full]: (Payload | undefined)[] = [];
    try {
      short = await observe(component, { ...start, snapshot }, events(snapshot.seq));
      full = await observe(component, start, events(voidThrough));
    } catch (error) {
      found.find({
        what: short === undefined ? 'the function does not take the snapshot' : 'the function does not take the events',
        where,
        found: messageOf(error),
        expected: by,
      });
      return;
    }
    if (isSameState(descriptors, short, full)) return;
    found.find({
      what: 'the snapshot is not what the events make',
      where,
      found: `from the snapshot ${textOf(descriptors, short)}`,
      expected: `from all events ${textOf(descriptors, full)}`,
    });
  }

  async function* eventsOf({ entityType, entityId }: SampledEntity, after: number, through: number) {
    for (let at = after; at < through; at += EVENTS_PAGE) {
      const [page] = await loadTails(journal.pool, journal.deployment.generation, [
        { key: { entityType, entityId }, after: at, through: Math.min(at + EVENTS_PAGE, through) },
      ]);
      yield* page ?? [];
    }
  }

  return found.result({
    compared: `${number(compared)} of ${number(all)} entities with a snapshot`,
    claim: compared === 0 ? 'nothing was compared' : 'the snapshot with the later events gives what all events give',
    counts: { compared, snapshots: all },
    reach,
  });
}

/** Byte for byte, or, since a map's entries have no order on the wire, as JSON. */
function isSameState(descriptors: Descriptors, one: Payload, other: Payload): boolean {
  if (one.typeUrl !== other.typeUrl) return false;
  if (Buffer.compare(one.value, other.value) === 0) return true;
  try {
    const canonical = (payload: Payload) => JSON.stringify(sorted(JSON.parse(payloadToJson(descriptors, payload))));
    return canonical(one) === canonical(other);
  } catch {
    // Of a type that only the function can read: the bytes have spoken.
    return false;
  }
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([one], [other]) => (one < other ? -1 : 1))
      .map(([key, inner]) => [key, sorted(inner)]),
  );
}

const SHOWN = 160;

function textOf(descriptors: Descriptors, payload: Payload): string {
  let text: string;
  try {
    text = payloadToJson(descriptors, payload);
  } catch {
    text = `${payload.value.length} bytes of ${payload.typeUrl}`;
  }
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}
