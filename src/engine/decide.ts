import { encodeAnswer } from '../codec/answer-record.ts';
import { asProtobuf } from '../codec/any.ts';
import { encodeCommandRecord } from '../codec/command-record.ts';
import type { Destination, Encode } from '../codec/encode.ts';
import { entityIdFromPayload } from '../codec/entity-key.ts';
import { type PassedHeaders, withPassed } from '../codec/passed-headers.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { JournalDeletion, JournalEvent, JournalKey, JournalSnapshot, JournalValue } from '../model/chunk.ts';
import type { Caller, Command } from '../model/command.ts';
import type { ParkedCommand, Place } from '../model/control.ts';
import type { Call, Effect } from '../model/effect.ts';
import { type Payload, typeNameOf } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import type { ReplicatedData } from '../model/replicated.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import { decideReplicated, type ReplicatedChange, type ReplicatedRows } from './decide-replicated.ts';
import { type FedCommand, feedCommands } from './feed-command.ts';
import { methodKey, type Routes } from './routes.ts';

/** Where an entity stands before a command: what `decide` numbers from. */
export interface EntityPosition {
  /** Sequence of its last event. */
  readonly seq: number;
  /** Changes of its value so far. */
  readonly revision: number;
  /** Replicated entities: their value; absent: there is none. */
  readonly data?: ReplicatedData | undefined;
}

/** What a command does: to the journal, and to the topics. Nothing of it has happened yet. */
export interface Decision {
  readonly events: readonly JournalEvent[];
  readonly snapshot?: JournalSnapshot;
  readonly value?: JournalValue;
  readonly deletion?: JournalDeletion;
  readonly outputs: readonly OutputRecord[];
  /** Replicated entities: what the entity is afterwards. Taken off by the entity, which alone keeps it. */
  change?: ReplicatedChange | undefined;
  /** Set where the command has an idempotency key. */
  readonly key?: JournalKey;
  /** What its events, or the change of its value, are to feeds; a feed that is behind reads them from the journal instead. */
  readonly fed?: readonly FedCommand[];
  /** The command waits in the journal; `place`: where it stood already. */
  readonly park?: Omit<ParkedCommand, 'place'> & { readonly place?: Place };
}

/** The fixed surroundings of every decision. */
export interface DecisionContext {
  readonly encode: Encode;
  readonly routes: Routes;
  /** Source attribute of our CloudEvents is `/<deployment>/<service>`. */
  readonly deployment: string;
  readonly commandTopic: string;
  readonly answerTopic: string;
  readonly shards: number;
  /** Python SDKs number their snapshots wrongly and cannot start from one (PROTOCOLS 5, 10). */
  readonly ignoreSnapshots: boolean;
  /** Headers of a command that go on to its outputs and to the commands that it leads to; absent: none. */
  readonly passed?: PassedHeaders | undefined;
  /** Bytes of one output's value at most. */
  readonly maxOutputBytes: number;
  /** The largest batch that a topic takes: a record that the broker refuses would hold up its shard for ever. */
  readonly messageBytes: (topic: string) => number;
}

const NONE: readonly never[] = Object.freeze([]);
const EMPTY = new Uint8Array();

/**
 * What a function's answer means. Pure: no clock, no I/O, the same input gives the same output, so that a command
 * that is processed again after a crash decides the same.
 * @throws StateferryError with fate `reject` when the command failed or its answer cannot be carried out; then nothing of
 * the effect counts, events included.
 */
export function decide(command: Command, effect: Effect, position: EntityPosition, context: DecisionContext): Decision {
  const { answer } = effect;
  if (answer.kind === 'failure') {
    throw new StateferryError(
      'FUNCTION_FAILED',
      answer.description || 'the function failed the command without a reason',
      { ...(answer.grpcStatus !== undefined && { grpcStatus: answer.grpcStatus }) },
    );
  }
  const { component } = command.method;
  const key = { entityType: component.entityType, entityId: command.entityId };
  const outputs: OutputRecord[] = [];

  const replicated = effect.replicated === undefined ? undefined : replicatedRows(command, effect.replicated, position);
  const events: readonly JournalEvent[] =
    replicated?.event !== undefined
      ? [replicated.event]
      : effect.events.length === 0
        ? NONE
        : effect.events.map((event, i) => ({
            entityType: component.entityType,
            entityId: command.entityId,
            seq: position.seq + i + 1,
            typeUrl: checkType(event, command),
            payload: event.value,
            commandId: command.id,
          }));
  if (effect.events.length > 0 && component.kind !== 'event-sourced')
    throw broken(command, 'emitted events, and it is no event sourced entity');
  if (effect.state !== undefined && component.kind !== 'value')
    throw broken(command, 'changed a value, and it is no value entity');

  const stateDestinations = context.routes.eventsOf(component);
  for (const destination of stateDestinations) {
    effect.events.forEach((event, i) => {
      outputs.push(publish(command, destination, event, `${command.id}/event-${i + 1}`, context, NONE));
    });
    if (effect.state?.kind === 'update') {
      outputs.push(publish(command, destination, effect.state.value, `${command.id}/state`, context, NONE));
    }
  }

  let derived = 0;
  const { caller } = command;
  // Whoever waits for the answer waits for the end of what is to be done before it, too.
  // One who takes a stream is told of its items alone.
  const awaited: Caller | undefined =
    caller === undefined || caller.streamed === true ? undefined : { ...caller, doneOnly: true, awaits: 0 };
  let awaits = 0;
  for (const call of effect.sideEffects) {
    const isAwaited = awaited !== undefined && call.synchronous;
    if (isAwaited) awaits++;
    outputs.push(derive(command, call, ++derived, { replyTo: NONE, caller: isAwaited ? awaited : undefined }, context));
  }

  const destinations = context.routes.repliesOf(command.method);
  const streams = effect.streamed === true;
  if (streams && (caller?.streamed !== true || answer.kind === 'forward')) {
    throw broken(command, 'streams its answers, and nobody takes more than one');
  }
  // Of one who has gone, and of a stream that begins without a message, there is nothing to tell but that.
  const isSilent = answer.kind === 'none' && (command.stream === 'cancel' || caller?.streamed === true);
  switch (answer.kind) {
    case 'reply':
    case 'none': {
      if (isSilent) {
        if (command.stream !== 'cancel' && caller !== undefined) {
          const outcome = { kind: 'done' } as const;
          outputs.push(answerRecord(command, caller, { awaits, outcome, item: 1, more: streams }, context));
        }
        break;
      }
      const payload = answer.kind === 'reply' ? answer.payload : emptyOutput(command);
      const metadata = answer.kind === 'reply' ? answer.metadata : NONE;
      if (destinations.length > 0 || command.replyTo.length > 0) checkType(payload, command);
      for (const destination of destinations) {
        outputs.push(publish(command, destination, payload, `${command.id}/reply`, context, metadata));
      }
      for (const topic of command.replyTo) {
        const destination = context.routes.destination(topic);
        if (destination === undefined)
          throw broken(command, `was to answer to the topic "${topic}", which nothing routes to any more`);
        // Two methods may name one topic, each in its own format: who asked first does not count, the topic does.
        if (!destinations.some((own) => own.topic === topic)) {
          outputs.push(publish(command, destination, payload, `${command.id}/reply`, context, metadata));
        }
      }
      if (caller !== undefined) {
        const outcome = { kind: 'reply', payload, metadata } as const;
        const item = caller.streamed === true ? { item: 1, more: streams } : undefined;
        outputs.push(answerRecord(command, caller, { awaits, outcome, ...item }, context));
      }
      break;
    }
    case 'forward': {
      const replyTo = [...new Set([...command.replyTo, ...destinations.map((d) => d.topic)])];
      // Whatever it is forwarded to answers once.
      const next = caller && { ...withoutStream(caller), awaits: caller.awaits + awaits };
      outputs.push(derive(command, answer.call, ++derived, { replyTo, caller: next }, context));
      break;
    }
  }

  const decision: { -readonly [K in keyof Decision]: Decision[K] } = { events, outputs };
  const { idempotencyKey } = command;
  if (idempotencyKey !== undefined) decision.key = { idempotencyKey, commandId: command.id };
  const seq = position.seq + events.length;
  if (effect.snapshot !== undefined && !context.ignoreSnapshots) {
    decision.snapshot = { ...key, seq, typeUrl: checkType(effect.snapshot, command), payload: effect.snapshot.value };
  }
  if (replicated !== undefined) {
    decision.change = replicated.change;
    if (replicated.snapshot !== undefined) decision.snapshot = replicated.snapshot;
    if (replicated.deletion !== undefined) decision.deletion = replicated.deletion;
  }
  if (effect.deletedAfterMs !== undefined) decision.deletion = { ...key, seq, cleanupAfterMs: effect.deletedAfterMs };
  if (effect.state !== undefined) {
    const revision = position.revision + 1;
    decision.value =
      effect.state.kind === 'update'
        ? {
            ...key,
            revision,
            commandId: command.id,
            typeUrl: checkType(effect.state.value, command),
            payload: effect.state.value.value,
          }
        : { ...key, revision, commandId: command.id };
  }
  const feeds = context.routes.feedsOf(component);
  if (feeds.length > 0) decision.fed = feedCommands(feeds, decision, context);
  return decision;
}

function replicatedRows(
  command: Command,
  action: NonNullable<Effect['replicated']>,
  position: EntityPosition,
): ReplicatedRows {
  if (command.method.component.kind !== 'replicated')
    throw broken(command, 'changed a replicated value, and it is no replicated entity');
  try {
    return decideReplicated(command, action, position);
  } catch (error) {
    throw broken(command, messageOf(error));
  }
}

function publish(
  command: Command,
  destination: Destination,
  payload: Payload,
  id: string,
  context: DecisionContext,
  metadata: Command['metadata'],
): OutputRecord {
  if (payload.value.length > context.maxOutputBytes) {
    throw broken(
      command,
      `gave ${payload.value.length} bytes for the topic "${destination.topic}", and at most ${context.maxOutputBytes} may go (engine.maxRecordBytes)`,
    );
  }
  const { service } = command.method.component;
  const record = context.encode({
    destination,
    key: command.key,
    // Nothing orders it, so any partition will do, if only it is the same one when the command is processed again.
    ...(command.key === null && { partition: partitionFor(Buffer.from(command.id), destination.partitions) }),
    payload,
    metadata,
    ...(context.passed !== undefined && { passed: context.passed(command.metadata) }),
    ce: { id, source: `/${context.deployment}/${service}`, subject: command.entityId },
    origin: command.id,
  });
  return fitting(record, command, 'gave a record', context);
}

function fitting(record: OutputRecord, command: Command, what: string, context: DecisionContext): OutputRecord {
  const bytes = BATCH_BYTES + recordBytes(record);
  const most = context.messageBytes(record.topic);
  if (bytes <= most) return record;
  throw broken(
    command,
    `${what} of ${bytes} bytes, headers included, and the topic "${record.topic}" takes at most ${most} (max.message.bytes)`,
  );
}

/** What a caller at a door is told. @throws StateferryError FUNCTION_BROKEN_REPLY where it is too large. */
export function answerRecord(
  command: Command,
  caller: Caller,
  told: Pick<Parameters<typeof encodeAnswer>[0], 'awaits' | 'outcome' | 'item' | 'more'>,
  context: DecisionContext,
): OutputRecord {
  const { outcome } = told;
  if (outcome.kind === 'reply' && outcome.payload.value.length > context.maxOutputBytes) {
    throw broken(
      command,
      `replied with ${outcome.payload.value.length} bytes, and at most ${context.maxOutputBytes} may go (engine.maxRecordBytes)`,
    );
  }
  const record = encodeAnswer({ topic: context.answerTopic, caller, commandId: command.id, ...told });
  return fitting(record, command, 'replied with a record', context);
}

function withoutStream({ streamed: _, ...caller }: Caller): Caller {
  return caller;
}

/**
 * A forward or side effect, as a command on the internal command topic.
 * @throws StateferryError with fate `reject` where there is no such target, or the record does not fit.
 */
export function derive(
  command: Command,
  call: Call,
  ordinal: number,
  answering: Pick<Command, 'replyTo'> & { readonly caller: Caller | undefined },
  context: DecisionContext,
): OutputRecord {
  const target = context.routes.resolve(call.service, call.method);
  if (target === undefined) {
    throw new StateferryError(
      'CALL_UNKNOWN_TARGET',
      `${methodKey(command.method)} calls ${call.service}/${call.method}, which the function does not have`,
    );
  }
  let entityId = '';
  if (target.component.kind !== 'action') {
    const found = entityIdFromPayload(target, call.payload.value);
    if (found === undefined || found === '') {
      throw new StateferryError(
        'RECORD_NO_ENTITY_ID',
        `${methodKey(command.method)} calls ${methodKey(target)} with a ${typeNameOf(call.payload.typeUrl)} whose entity key is empty or not marked`,
      );
    }
    entityId = found;
  }
  if (call.payload.value.length > context.maxOutputBytes) {
    throw broken(
      command,
      `calls ${methodKey(target)} with ${call.payload.value.length} bytes, and at most ${context.maxOutputBytes} may go`,
    );
  }
  // An action has no entity; it follows its caller, so that what one entity sends arrives in order.
  const key = entityId === '' ? command.key : Buffer.from(entityId);
  const record = encodeCommandRecord({
    id: `${command.id}#${ordinal}`,
    service: call.service,
    method: call.method,
    entityId,
    payload: asProtobuf(target.inputType, call.payload.value),
    metadata:
      context.passed === undefined ? call.metadata : withPassed(call.metadata, context.passed(command.metadata)),
    ...answering,
    key,
    topic: context.commandTopic,
    partition: key === null ? 0 : partitionFor(key, context.shards),
  });
  return fitting(record, command, `calls ${methodKey(target)} by a record`, context);
}

function emptyOutput(command: Command): Payload {
  return asProtobuf(command.method.outputType, EMPTY);
}

/** The type url, if Postgres and a header can hold it. */
function checkType(payload: Payload, command: Command): string {
  if (payload.typeUrl === '' || payload.typeUrl.includes('\0')) {
    throw broken(command, `gave a payload whose type url is ${JSON.stringify(payload.typeUrl)}`);
  }
  return payload.typeUrl;
}

function broken(command: Command, what: string): StateferryError {
  return new StateferryError('FUNCTION_BROKEN_REPLY', `${methodKey(command.method)} ${what}`);
}
