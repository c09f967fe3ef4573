import { setTimeout as delay } from 'node:timers/promises';
import type { EntityDebugRequest, Io } from '../cli/context.ts';
import { decodeCommandRecord } from '../codec/command-record.ts';
import { createDecoder } from '../codec/decode.ts';
import { type Config, internalTopics } from '../config/config.ts';
import { planDeployment } from '../deployment-plan.ts';
import { createIntake } from '../engine/intake.ts';
import { createRoutes, methodKey } from '../engine/routes.ts';
import { StateferryError } from '../errors.ts';
import { createFunctionClient } from '../functions/client.ts';
import type { Discovered } from '../functions/discovery.ts';
import { type EntitySession, type Outcome, openEntitySession } from '../functions/session.ts';
import type { History as InputHistory } from '../history/history.ts';
import { GENERATION_METADATA } from '../history/reprocess-intake.ts';
import { eventsOf } from '../inspect/events.ts';
import { readContent } from '../inspect/records.ts';
import { entityNamed, type History } from '../inspect/scope.ts';
import { stateSourceAt } from '../inspect/state-at.ts';
import { readReach } from '../journal/chunks.ts';
import { chunksOfEvents } from '../journal/find-chunks.ts';
import { removedThrough } from '../journal/retention.ts';
import { servingConfig } from '../live-generation.ts';
import type { Command } from '../model/command.ts';
import type { Component } from '../model/component.ts';
import type { EntityKey } from '../model/entity.ts';
import type { Payload } from '../model/payload.ts';
import type { Positions } from '../model/record.ts';
import { readFunctionFiles } from '../named-files.ts';
import { historyOf } from '../reprocess.ts';
import { registerCodecs } from '../topics/codecs.ts';
import { partitionCounts } from '../topics/ensure.ts';
import { openPartitionLogs } from '../topics/partition-log.ts';
import { discoverOnce } from './ask-function.ts';
import { shownContent } from './inspect/content-text.ts';
import { openHistoryOf } from './inspect/with-history.ts';
import { printable } from './printable.ts';
import { quietKafka } from './quiet-kafka.ts';
import { reachable } from './reachable.ts';
import { type Journal, withJournal } from './with-journal.ts';

/** What a function is told as the generation that a command is for: it is of the past, and nothing of it counts. */
const DEBUG = 'debug';
const DIFFERS = 1;

/**
 * `stateferry entity debug`: gives the function the recorded commands of one entity once more, one by one, each in the state that
 * the entity had then. Nothing of it is journaled or published. 0: the events were those of the journal; 1: some were not.
 */
export async function entityDebug(config: Config, request: EntityDebugRequest, io: Io): Promise<number> {
  if (request.step && io.enter === undefined) {
    throw new StateferryError(
      'CONFIG_INVALID',
      '--step waits for Enter, and there is nobody to press it here: leave it out.',
    );
  }
  registerCodecs();
  const admin = quietKafka(config).admin();
  const closing: (() => void)[] = [];
  try {
    return await withJournal(config, async (journal) => {
      const { pool, shards, generation: liveGeneration } = journal;
      const history = await openHistoryOf(config, pool, { shards, liveGeneration });
      const stretch = await stretchOf(history, request);
      const own = await functionOf(config, pool, request);
      const { url } = own.function;
      const client = createFunctionClient(new URL(url), readFunctionFiles(own));
      closing.push(() => client.close());
      const found = await discoverOnce(client, own);
      const component = [...found.spec.components.values()].find(
        ({ entityType, kind }) => entityType === stretch.key.entityType && kind === 'event-sourced',
      );
      if (component === undefined) {
        throw refused(`the function at ${url} has no event sourced entity type "${stretch.key.entityType}".`);
      }
      await reachable('KAFKA_UNAVAILABLE', `no broker answers at ${config.kafka.brokers.join(', ')}`, () =>
        admin.connect(),
      );
      const topics = [...(await partitionCounts(admin, Object.keys(stretch.end))).keys()];
      const logs = await openPartitionLogs(quietKafka(config), topics);
      try {
        const input = historyOf(
          journal.pool,
          { source: journal.generation, goal: new Map([[stretch.shard, stretch.chunk]]) },
          logs,
          new Map(),
        );
        const recorded = commandsOf(own, found, journal, input, stretch, io.signal);
        const open = (init: { readonly snapshot?: { readonly seq: number; readonly payload: Payload } }) =>
          openEntitySession({
            client,
            dialect: found.dialect,
            component,
            init: { service: component.service, entityId: stretch.key.entityId, ...init },
            onEnd: () => undefined,
          });
        const startsFromSnapshot = !found.spec.supportLibrary.includes('python-support');
        return await drive(history, stretch, component, { recorded, open, startsFromSnapshot }, request, io);
      } finally {
        await logs.close();
      }
    });
  } catch (error) {
    if (!io.signal.aborted) throw error;
    io.err.write('stateferry: stopped before the end\n');
    return DIFFERS;
  } finally {
    for (const close of closing) close();
    await admin.disconnect().catch(() => undefined);
  }
}

/** The configuration with the function that was asked for, or that of the generation that serves. */
async function functionOf(config: Config, pool: Journal['pool'], { functionUrl }: EntityDebugRequest): Promise<Config> {
  if (functionUrl === undefined) return servingConfig(pool, config);
  return { ...config, function: { ...config.function, url: functionUrl } };
}

/** Where the commands are that are wanted. */
interface Stretch {
  readonly key: EntityKey;
  readonly shard: number;
  /** The first event of the first command, and the command of the last one. */
  readonly from: number;
  readonly lastCommand: string;
  readonly firstCommand: string;
  /** Input of the shard before the first command's chunk and after the last one's, and the number of that. */
  readonly begin: Positions;
  readonly end: Positions;
  readonly chunk: number;
  /** Input records in it. */
  readonly records: number;
}

/** @throws StateferryError OPERATION_REFUSED for events that there are not, HISTORY_GAP where their chunks are not remembered. */
async function stretchOf(
  history: History,
  { entityId, component: name, from, to }: EntityDebugRequest,
): Promise<Stretch> {
  const { db, generation } = history;
  const { entityType, kind } = await entityNamed(history, entityId, name);
  if (kind !== 'event-sourced') {
    throw refused(
      `"${entityId}" of "${entityType}" is ${kind}: only the states of event sourced entities can be made again.`,
    );
  }
  const key = { entityType, entityId };
  const values = [generation, entityType, entityId];
  const { rows } = await db.query<{ seq: number; shard: number; shardSeq: number; command: string }>(
    `select seq, shard, shard_seq as "shardSeq", command_id as command from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and (seq = $4 or seq = coalesce($5,
       (select max(seq) from event where generation = $1 and entity_type = $2 and entity_id = $3)))
     order by seq`,
    [...values, from, to ?? null],
  );
  const first = rows.find(({ seq }) => seq === from);
  const last = rows.at(-1);
  const removed = await removedThrough(db, generation, key);
  if (from <= removed) {
    throw refused(`retention has removed the events of "${entityId}" up to ${removed}: begin after them (--from).`);
  }
  if (first === undefined || last === undefined || (to !== undefined && last.seq !== to)) {
    const missing = first === undefined ? from : to;
    throw refused(`"${entityId}" of "${entityType}" has no event ${missing}.`);
  }
  const { rows: own } = await db.query<{ seq: number }>(
    `select coalesce(max(seq), 0) + 1 as seq from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and seq < $4 and command_id <> $5`,
    [...values, from, first.command],
  );
  const begin = own[0]?.seq ?? from;
  const [start, end] = await chunksOfEvents({ db, generation }, [
    { shard: first.shard, shardSeq: first.shardSeq },
    { shard: last.shard, shardSeq: last.shardSeq },
  ]);
  if (start === undefined || end === undefined) {
    throw new StateferryError(
      'HISTORY_GAP',
      `the journal does not remember the chunks of the events ${from} to ${last.seq} of "${entityId}", so their commands cannot be found. Begin later.`,
    );
  }
  const { rows: sums } = await db.query<{ records: number }>(
    'select sum(records)::bigint as records from chunk where generation = $1 and shard = $2 and chunk between $3 and $4',
    [generation, first.shard, start.chunk, end.chunk],
  );
  const reach = (await readReach(db, generation)).find(({ shard }) => shard === first.shard);
  return {
    key,
    shard: first.shard,
    from: begin,
    firstCommand: first.command,
    lastCommand: last.command,
    begin: { ...reach?.start, ...start.before?.positions },
    end: end.positions,
    chunk: end.chunk,
    records: sums[0]?.records ?? 0,
  };
}

/** The commands of the entity in the stretch, in the order in which the shard applied them. */
async function* commandsOf(
  config: Config,
  { spec, descriptors, dialect }: Discovered,
  { shards }: Journal,
  input: InputHistory,
  stretch: Stretch,
  signal: AbortSignal,
): AsyncGenerator<Command> {
  const { key, shard, records } = stretch;
  const { routes: routePlan } = planDeployment(config, spec);
  const routes = createRoutes(spec, routePlan, new Map());
  const { commands } = internalTopics(config);
  const decoder = createDecoder({
    descriptors,
    anyUrls: dialect.anyUrls,
    subscriptions: routePlan.inputs,
    maxBytes: config.engine.maxRecordBytes,
  });
  const intake = createIntake({
    decode: (record) =>
      record.topic === commands ? decodeCommandRecord(record, routes.resolve) : decoder.decode(record),
    commandTopics: new Set([commands]),
    commandTopic: commands,
    commandBytes: Number.MAX_SAFE_INTEGER,
    shards,
    idempotencyKey: () => undefined,
  });
  const taken = new Set([commands, ...routePlan.inputs.map(({ topic }) => topic)]);
  let begun = false;
  let left = records;
  for await (const batch of input.read({ shard, from: stretch.begin }, signal)) {
    for (const record of batch.records) {
      left--;
      const arrival = !taken.has(record.topic) || input.wasParked(record) ? undefined : intake(record);
      if (arrival?.kind !== 'command' || arrival.command.stream !== undefined) continue;
      const { command } = arrival;
      if (command.entityId !== key.entityId || command.method.component.entityType !== key.entityType) continue;
      begun ||= command.id === stretch.firstCommand;
      if (begun) yield command;
      if (command.id === stretch.lastCommand) return;
    }
    // It waits for more without end.
    if (left <= 0) return;
  }
}

/** Sends one command after another, and tells what came of it. */
async function drive(
  history: History,
  { key, from }: Stretch,
  component: Component,
  {
    recorded,
    open,
    startsFromSnapshot,
  }: {
    readonly recorded: AsyncIterable<Command>;
    readonly open: (init: { snapshot?: { seq: number; payload: Payload } }) => EntitySession;
    readonly startsFromSnapshot: boolean;
  },
  { step }: EntityDebugRequest,
  io: Io,
): Promise<number> {
  /** The entity at the function, in the state after the event that `at` names. */
  let session: EntitySession | undefined;
  let at = from - 1;
  let sent = 0;
  let differing = 0;
  try {
    for await (const command of recorded) {
      const expected = await journaledOf(history, key, command.id);
      io.out.write(
        `${printable(command.id)}  ${methodKey(command.method)} ${printable(shownContent(readContent(history, command.payload)))}\n`,
      );
      session ??= await openAt(history, key, at, open, startsFromSnapshot);
      if (step) {
        io.err.write(`In the state after event ${at}. Enter sends it; Ctrl-C ends. `);
        if (!(await io.enter?.(io.signal))) break;
      }
      const outcome = await answerOf(session, command, io.signal);
      sent++;
      const events = outcome.kind === 'effect' && outcome.effect.answer.kind !== 'failure' ? outcome.effect.events : [];
      for (const line of linesOf(history, outcome, events, at)) io.out.write(`  ${line}\n`);
      const isSame =
        events.length === expected.length && events.every((event, i) => isEqual(event, expected[i]?.payload));
      if (isSame) io.out.write('  as in the journal\n');
      else {
        differing++;
        io.out.write(`  not as in the journal, which has ${expected.length === 0 ? 'no event of it' : 'these:'}\n`);
        for (const { seq, payload } of expected) {
          io.out.write(`    event ${seq}  ${textOf(history, payload)}\n`);
        }
      }
      at = expected.at(-1)?.seq ?? at;
      if (isSame && outcome.kind === 'effect' && outcome.effect.answer.kind !== 'failure') continue;
      // What it is now is not what the entity was.
      session.cancel();
      session = undefined;
    }
  } finally {
    session?.cancel();
  }
  if (sent === 0) {
    throw refused(
      `the function takes none of the commands that led to these events: no topic of theirs goes to ${component.service} any more, or their records cannot be read.`,
    );
  }
  io.out.write(
    `${sent} ${sent === 1 ? 'command' : 'commands'} sent, ${differing === 0 ? 'all as in the journal' : `${differing} not as in the journal`}.\n`,
  );
  return differing === 0 ? 0 : DIFFERS;
}

async function openAt(
  history: History,
  key: EntityKey,
  at: number,
  open: (init: { snapshot?: { seq: number; payload: Payload } }) => EntitySession,
  startsFromSnapshot: boolean,
): Promise<EntitySession> {
  if (at === 0) return open({});
  const source = await stateSourceAt(history, key, { kind: 'seq', seq: at });
  const snapshot = startsFromSnapshot ? source.snapshot : undefined;
  const session = open(snapshot === undefined ? {} : { snapshot });
  for await (const { seq, payload } of eventsOf(history, key, snapshot?.seq ?? source.voidThrough, at)) {
    session.replay(seq, payload);
    await session.drained();
  }
  return session;
}

async function journaledOf(history: History, { entityType, entityId }: EntityKey, command: string) {
  const { rows } = await history.db.query<{ seq: number; type_url: string; payload: Buffer }>(
    `select seq, type_url, payload from event
     where generation = $1 and entity_type = $2 and entity_id = $3 and command_id = $4 order by seq`,
    [history.generation, entityType, entityId, command],
  );
  return rows.map(({ seq, type_url: typeUrl, payload: value }) => ({ seq, payload: { typeUrl, value } }));
}

/** What the function does, however long it takes: somebody may look around in it. */
async function answerOf(session: EntitySession, command: Command, signal: AbortSignal): Promise<Outcome> {
  const waiting = new AbortController();
  const { method, payload, metadata } = command;
  const marked = [...metadata, { key: GENERATION_METADATA, value: DEBUG }];
  const answered = new Promise<Outcome>((resolve) => {
    session.send({ name: method.name, payload, metadata: marked }, resolve);
  });
  try {
    return await Promise.race([
      answered,
      delay(2 ** 31 - 1, undefined, { signal: AbortSignal.any([signal, waiting.signal]) }).then((): never => {
        throw refused('the function has not answered for weeks.');
      }),
    ]);
  } finally {
    waiting.abort();
  }
}

function* linesOf(history: History, outcome: Outcome, events: readonly Payload[], at: number): Generator<string> {
  if (outcome.kind === 'lost') yield `the function went away: ${printable(outcome.reason)}`;
  else if (outcome.kind === 'broken') yield `it broke the protocol: ${printable(outcome.error.message)}`;
  else {
    const { answer, sideEffects, snapshot } = outcome.effect;
    switch (answer.kind) {
      case 'reply':
        yield `reply  ${textOf(history, answer.payload)}`;
        break;
      case 'forward':
        yield `forward to ${answer.call.service}/${answer.call.method}  ${textOf(history, answer.call.payload)}`;
        break;
      case 'failure':
        yield `failure: ${printable(answer.description)}`;
        break;
      case 'none':
        yield 'no reply';
    }
    for (const [i, event] of events.entries()) yield `event ${at + 1 + i}  ${textOf(history, event)}`;
    for (const { service, method, payload } of sideEffects) {
      yield `side effect ${service}/${method}  ${textOf(history, payload)}`;
    }
    if (snapshot !== undefined) yield `snapshot  ${textOf(history, snapshot)}`;
  }
}

function textOf(history: History, payload: Payload): string {
  const content = readContent(history, payload);
  return printable(`${content.type} ${shownContent(content)}`);
}

function isEqual(one: Payload, other: Payload | undefined): boolean {
  return other !== undefined && one.typeUrl === other.typeUrl && Buffer.compare(one.value, other.value) === 0;
}

function refused(sentence: string): StateferryError {
  return new StateferryError('OPERATION_REFUSED', sentence);
}
