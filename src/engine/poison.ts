import type { Logger } from 'pino';
import { deadLetter } from '../codec/dead-letter.ts';
import { encodeOutbox } from '../codec/outbox.ts';
import { putBack } from '../codec/put-back.ts';
import { StateferryError } from '../errors.ts';
import type { Caller, Command, CommandId } from '../model/command.ts';
import type { EntityKey } from '../model/entity.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Signals } from '../observe/signals.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import type { Decision } from './decide.ts';
import type { Entities, Rejection } from './entities.ts';
import { type Failures, topicOfCommand } from './failures.ts';
import type { Arrival } from './intake.ts';
import { type Item, publishing } from './item.ts';
import { refusal } from './refusal.ts';
import type { Shard } from './shard.ts';

export interface PoisonOptions {
  /** `messageBytes`: the largest batch that it takes. */
  readonly deadLetterTopic: { readonly name: string; readonly partitions: number; readonly messageBytes: number };
  /** The deployment's own topic for commands, and the largest batch that it takes. */
  readonly commandTopic: { readonly name: string; readonly messageBytes: number };
  /** Where callers at the doors find what became of their commands. */
  readonly answerTopic: string;
  readonly failures: Failures;
  readonly entities: Pick<Entities, 'waiting' | 'withdraw' | 'tryAgain'>;
  /** The open shard of an item; undefined: it was dropped since the item came in. */
  readonly shardOf: (item: Item) => Shard | undefined;
  /** Why an operator wants a command skipped that has just failed; undefined: nobody does. */
  readonly takeSkip: (shard: Shard, item: Item) => StateferryError | undefined;
  /** A command of a shard that is drained waits once more. */
  readonly onWaiting: (shard: Shard) => void;
  /** Something of the shard's window was decided by somebody else than its function, or stands still. */
  readonly onMoved: (shard: Shard) => void;
  readonly signals: Signals;
  readonly log: Logger;
}

/** What becomes of what cannot be carried out, or may not be now: dead letters, further attempts, parked commands, halts. */
export interface Poison {
  /** What is done about a command that failed, by the deployment's policies and what operators want. */
  failed(item: Item, error: StateferryError): Rejection;
  /** A command was decided: where it failed and was parked, those that wait behind it follow. */
  decided(item: Item): void;
  /** A record that cannot be read is a dead letter, or what the shard halts before. */
  unreadable(shard: Shard, item: Item, rejected: Arrival & { kind: 'reject' }): void;
  /** The command waits in the journal until its entity is resumed. */
  park(shard: Shard, item: Item, key: EntityKey): Decision;
  /** Commands that wait for their entity wait in the journal instead. */
  parkWaiting(shard: Shard, items: readonly Item[]): void;
  /** Something that waits in the window becomes a dead letter. */
  giveUp(shard: Shard, item: Item, error: StateferryError): void;
  /** What the shard is halted before is tried once more. */
  tryAgain(shard: Shard, item: Item): void;
  /** The dead letter of a record. */
  letterOf(record: InputRecord, error: StateferryError): readonly OutputRecord[];
  /** Whether the command topic takes a record of this size. */
  fits(record: OutputRecord): boolean;
}

export function createPoison(options: PoisonOptions): Poison {
  const { failures, commandTopic, deadLetterTopic, entities, signals, log } = options;

  /** A record that cannot be read is a dead letter, or what the shard halts before. */
  function unreadable(shard: Shard, item: Item, { error, where, awaited }: Arrival & { kind: 'reject' }): void {
    if (awaited !== undefined) {
      item.decision = refuse(item.origin, error, awaited, where);
      return;
    }
    const failed = { topic: item.origin.topic, service: where?.service, method: where?.method };
    if (failures.ofRecord(failed) === 'halt') halt(shard, item, error, where);
    else item.decision = bury(item.origin, error, where);
  }

  /** What is done about a command that failed, by the deployment's policies and what operators want. */
  function failed(item: Item, error: StateferryError): Rejection {
    const shard = options.shardOf(item);
    const { command } = item;
    const whose = whoseOf(item);
    // The shard was dropped meanwhile: nothing of this is journaled.
    if (shard === undefined || command === undefined) return 'hold';
    const skipped = options.takeSkip(shard, item);
    if (skipped !== undefined) return refuse(item.origin, skipped, command, whose);
    // Whoever waits for the command decides what is done about its failure.
    if (command.caller?.doneOnly === false) return refuse(item.origin, error, command, whose);
    const topic = topicOfCommand(command.id, commandTopic.name);
    const verdict = failures.ofCommand({ topic, service: whose?.service, method: whose?.method }, ++item.attempts);
    if (verdict === 'dead-letter') return refuse(item.origin, error, command, whose);
    const key = entityOf(command);
    // An operator has paused the entity meanwhile: what would wait in memory waits in the journal.
    if (key !== undefined && shard.control.isPaused(key)) return park(shard, item, key);
    if (shard.state === 'draining') queueMicrotask(() => options.onWaiting(shard));
    if (verdict === 'halt') {
      halt(shard, item, error, whose);
      return 'hold';
    }
    if (verdict === 'pause') {
      // An action has no entity whose later commands could wait.
      if (key === undefined) return refuse(item.origin, error, command, whose);
      shard.control.pause(key, { reason: `${command.id}: ${error.code}, ${error.message}`, by: '' });
      log.warn(
        { shard: shard.number, ...key, command: command.id, code: error.code, error: error.message },
        'Paused an entity',
      );
      return park(shard, item, key);
    }
    signals.retries(1);
    return verdict;
  }

  function decided(item: Item): void {
    const { park } = item.decision ?? {};
    // A failed one that was parked: those behind it follow.
    const shard = park && options.shardOf(item);
    if (shard !== undefined && park !== undefined) parkWaiting(shard, entities.waiting(park.key));
  }

  /** Commands that wait for their entity wait in the journal instead. */
  function parkWaiting(shard: Shard, items: readonly Item[]): void {
    settle(shard, items, (item) => {
      const key = item.command && entityOf(item.command);
      return key === undefined ? undefined : park(shard, item, key);
    });
  }

  /** Decides what waits in the window, in the function's place. */
  function settle(shard: Shard, items: readonly Item[], decide: (item: Item) => Decision | undefined): void {
    entities.withdraw(items);
    for (const item of items) {
      item.decision = decide(item);
      unhalt(shard, item);
    }
    options.onMoved(shard);
  }

  function park(shard: Shard, item: Item, key: EntityKey): Decision {
    const { name } = commandTopic;
    const commandId = item.command?.id ?? '';
    const record = putBack(item.origin, { topic: name, partition: shard.number, commandId });
    if (!fits(record)) {
      const error = new StateferryError(
        'RECORD_OVERSIZE',
        `The entity is paused, and the record cannot wait for it, since "${name}" takes no record of that size (max.message.bytes).`,
      );
      return refuse(item.origin, error, item.command, whoseOf(item));
    }
    const place = shard.control.park(item, key);
    signals.parked(1);
    return {
      ...publishing([]),
      park: { key, commandId, record: encodeOutbox([record]), ...(place && { place }) },
    };
  }

  function fits(record: OutputRecord): boolean {
    return BATCH_BYTES + recordBytes(record) <= commandTopic.messageBytes;
  }

  /** Nothing of the shard goes past this record; what is before it in the window still goes. */
  function halt(shard: Shard, item: Item, error: StateferryError, where?: { service: string; method: string }): void {
    const { topic, partition, offset } = item.origin;
    const key = item.command && entityOf(item.command);
    const isFirst = shard.halts.size === 0;
    shard.halts.set(item, {
      code: error.code,
      error: error.message,
      topic,
      partition,
      offset: offset.toString(),
      service: where?.service ?? null,
      method: where?.method ?? null,
      entityType: key?.entityType ?? null,
      entityId: key?.entityId ?? null,
      since: Date.now(),
    });
    log.error(
      {
        shard: shard.number,
        topic,
        partition,
        offset: offset.toString(),
        ...where,
        code: error.code,
        error: error.message,
      },
      'Halted a shard',
    );
    if (isFirst) signals.shardState(shard.number, 'halted');
    options.onMoved(shard);
  }

  function tryAgain(shard: Shard, item: Item): void {
    unhalt(shard, item);
    item.attempts = 0;
    entities.tryAgain(item);
    options.onMoved(shard);
  }

  /** The shard is halted before this item no more. */
  function unhalt(shard: Shard, item: Item): void {
    if (!shard.halts.delete(item) || shard.halts.size > 0) return;
    if (shard.state === 'running') signals.shardState(shard.number, 'running');
  }

  /** A record that cannot be carried out goes to the dead-letter topic, in the transaction that moves past it. */
  function bury(record: InputRecord, error: StateferryError, where?: { service: string; method: string }): Decision {
    const { name, partitions, messageBytes } = deadLetterTopic;
    signals.deadLetters(error.code);
    log.debug(
      {
        topic: record.topic,
        partition: record.partition,
        offset: record.offset.toString(),
        code: error.code,
        error: error.message,
      },
      'Sent a record to the dead-letter topic',
    );
    return publishing([
      deadLetter({
        record,
        topic: name,
        partition: record.key === null ? record.partition % partitions : partitionFor(record.key, partitions),
        error,
        ...where,
        at: Date.now(),
        fits: (letter) => BATCH_BYTES + recordBytes(letter) <= messageBytes,
      }),
    ]);
  }

  /**
   * What is done about a command that does not take effect. Its caller at a door is told, and then it is no dead letter:
   * one who waits for a side effect alone hears nothing of the reason, so that is both.
   */
  function refuse(
    record: InputRecord,
    error: StateferryError,
    command: { readonly id: CommandId; readonly caller?: Caller } | undefined,
    where?: { service: string; method: string },
  ): Decision {
    if (command?.caller === undefined) return bury(record, error, where);
    const answer = refusal(options.answerTopic, command, error);
    if (!command.caller.doneOnly) return publishing(answer);
    return publishing([...bury(record, error, where).outputs, ...answer]);
  }

  return {
    failed,
    decided,
    unreadable,
    park,
    parkWaiting,
    giveUp: (shard, item, error) =>
      settle(shard, [item], () => refuse(item.origin, error, item.command, whoseOf(item))),
    tryAgain,
    letterOf: (record, error) => bury(record, error).outputs,
    fits,
  };
}

/** Whose command it is; undefined where that cannot be told. */
function whoseOf({ command }: Item): { service: string; method: string } | undefined {
  return command && { service: command.method.component.service, method: command.method.name };
}

/** The entity of a command; an action has none. */
export function entityOf({ method: { component }, entityId }: Command): EntityKey | undefined {
  return component.kind === 'action' ? undefined : { entityType: component.entityType, entityId };
}
