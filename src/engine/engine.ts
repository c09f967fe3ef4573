import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { aborted } from '../abort.ts';
import { deadLetter } from '../codec/dead-letter.ts';
import { decodeOutbox, encodeOutbox } from '../codec/outbox.ts';
import { nudge, putBack } from '../codec/put-back.ts';
import { type ErrorCode, messageOf, StateferryError } from '../errors.ts';
import type { Command } from '../model/command.ts';
import type { LoadedControl } from '../model/control.ts';
import type { EntityKey } from '../model/entity.ts';
import type { InputRecord, OutputRecord } from '../model/record.ts';
import type { Signals } from '../observe/signals.ts';
import type { EngineState } from '../observe/status.ts';
import type { RecordBatch } from '../topics/consumption.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import type { Transactor } from '../topics/transactor.ts';
import { ShardControl } from './control.ts';
import type { Decision } from './decide.ts';
import { createEmission, type Emission, type JournaledChunk } from './emission.ts';
import { Entities, type EntitiesOptions, type Rejection } from './entities.ts';
import { type Failures, topicOfCommand } from './failures.ts';
import type { Arrival } from './intake.ts';
import { createItem, type Item, publishing } from './item.ts';
import { createJournaling, type JournalingOptions } from './journaling.ts';
import { type OpeningSteps, type OwnedShard, openShards } from './opening.ts';
import { type ControlStore, createOperators, type Operators } from './operators.ts';
import type { PacedLoop } from './paced.ts';
import { Shard, type ShardLimits } from './shard.ts';

const REBUILD_PAUSE_MIN_MS = 100;
const REBUILD_PAUSE_MAX_MS = 5_000;
/** A process that ran this long since its last rebuild starts again with the shortest pause. */
const REBUILD_CALM_MS = 30_000;

/** The part of the consumer that the engine drives (topics/consumption.ts). */
export interface Consumer {
  assigned(): readonly number[];
  confirm(): Promise<void>;
  seek(topic: string, partition: number, offset: bigint): void;
  pause(partition: number): void;
  resume(partition: number): void;
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface EngineOptions {
  readonly deployment: string;
  /** Every topic consumed, the internal command topic included. */
  readonly topics: readonly string[];
  /** `messageBytes`: the largest batch that it takes. */
  readonly deadLetterTopic: { readonly name: string; readonly partitions: number; readonly messageBytes: number };
  readonly start: 'earliest' | 'latest';
  readonly limits: ShardLimits;
  readonly maxChunkRecords: number;
  readonly journalIntervalMs: number;
  readonly emitIntervalMs: number;
  readonly takeoverGraceMs: number;
  readonly drainTimeoutMs: number;
  /** The deployment's own topic for commands, and the largest batch that it takes. */
  readonly commandTopic: { readonly name: string; readonly messageBytes: number };
  readonly failures: Failures;
  /** What the journal tells of operators' wishes, and of the commands that wait for them. */
  readonly control: ControlStore & {
    load(shards: readonly number[]): Promise<readonly (LoadedControl & { readonly shard: number })[]>;
  };
  readonly intake: (record: InputRecord) => Arrival;
  readonly entities: Omit<EntitiesOptions, 'reject' | 'onDecided' | 'onLoadFailed' | 'signals'>;
  readonly append: JournalingOptions['append'];
  /** The steps of opening for one transactional id. */
  readonly opening: (transactionalId: string) => OpeningSteps;
  readonly release: (transactionalId: string, shard: Shard) => Promise<void>;
  readonly createTransactor: (transactionalId: string) => Transactor;
  readonly createConsumer: (handlers: {
    onAssigned: (shards: readonly number[]) => void;
    onRecords: (batch: RecordBatch) => void;
    onCrash: (error: Error) => void;
  }) => Consumer;
  readonly signals: Signals;
  readonly log: Logger;
}

/** What one transactional id lives for: from its InitProducerId until it is fenced or something about it is unknown. */
interface Incarnation {
  readonly transactor: Transactor;
  readonly emission: Emission;
  readonly journaling: PacedLoop;
  readonly opening: OpeningSteps;
}

/**
 * Runs the shards that the group assigns to this process. Everything that changes ownership goes through one control
 * loop; everything unknown (a fence, a lost answer, a broken connection) has one answer: drop all that is in memory,
 * take a new transactional id, open the shards that are still ours. That is the path which runs at every start.
 */
export class Engine {
  readonly #options: EngineOptions;
  readonly #log: Logger;
  readonly #signals: Signals;
  readonly #shards = new Map<number, Shard>();
  readonly #entities: Entities;
  readonly #operators: Operators;
  readonly #drained = new Map<Shard, () => void>();
  /** Shards that the group gave and that are not open yet, and since when, in ms since the epoch. */
  readonly #opening = new Map<number, number>();
  readonly #failure: { readonly promise: Promise<never>; readonly reject: (error: StateferryError) => void };
  readonly #stopping = new AbortController();
  readonly #stopped = aborted(this.#stopping.signal);
  #consumer: Consumer | undefined;
  #incarnation: Incarnation | undefined;
  #state: EngineState = 'starting';
  /** Something happened that the control loop has to look at. */
  #dirty = false;
  #control: Promise<void> | undefined;
  #rebuildPause = REBUILD_PAUSE_MIN_MS;
  #lastRebuild = Number.NEGATIVE_INFINITY;

  constructor(options: EngineOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#signals = options.signals;
    let reject: (error: StateferryError) => void = () => undefined;
    const promise = new Promise<never>((_, refuse) => {
      reject = refuse;
    });
    promise.catch(() => undefined);
    this.#failure = { promise, reject };
    this.#entities = new Entities({
      ...options.entities,
      reject: (item, error) => this.#failed(item, error),
      onDecided: (item) => this.#decided(item),
      onLoadFailed: (error) => this.#condemn('JOURNAL_UNKNOWN', 'entities could not be loaded from the journal', error),
      signals: options.signals,
    });
    this.#operators = createOperators({
      store: options.control,
      shards: () => this.#shards.values(),
      entities: this.#entities,
      park: (shard, items) => this.#parkWaiting(shard, items),
      giveUp: (shard, item, error) => this.#settle(shard, [item], () => this.#bury(item.origin, error, whoseOf(item))),
      letterOf: (record, error) => this.#bury(record, error).outputs,
      fits: (record) => this.#fitsCommands(record),
      tryAgain: (shard, item) => this.#tryAgain(shard, item),
      wanted: (shard) => this.#nudge(shard),
      looked: (shard) => this.#regulate(shard),
      log: options.log,
    });
  }

  get state(): EngineState {
    return this.#state;
  }

  get transactionalId(): string | undefined {
    return this.#incarnation?.transactor.transactionalId;
  }

  get shards(): Iterable<Shard> {
    return this.#shards.values();
  }

  /** Shards that the group gave and that are not open yet, and since when, in ms since the epoch. */
  get opening(): ReadonlyMap<number, number> {
    return this.#opening;
  }

  get entities(): Entities {
    return this.#entities;
  }

  /** Rejects when something happened that only a person can mend; never resolves. */
  get failure(): Promise<never> {
    return this.#failure.promise;
  }

  /** Every shard that the group assigned is open. */
  isReady(): boolean {
    const assigned = this.#consumer?.assigned() ?? [];
    return this.#state === 'running' && assigned.every((shard) => this.#shards.has(shard));
  }

  /** Joins the group; shards open as it assigns them. */
  start(): void {
    this.#kick();
  }

  functionBack(): void {
    this.#entities.functionBack();
  }

  /** Finishes what is in flight within the drain timeout, releases the shards, leaves the group. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return;
    if (this.#state !== 'failed') this.#state = 'draining';
    this.#stopping.abort();
    await this.#control;
    await this.#release([...this.#shards.values()], this.#options.drainTimeoutMs);
    await this.#consumer
      ?.stop()
      .catch((error) => this.#log.warn({ error: messageOf(error) }, 'Leaving the group failed'));
    this.#entities.stop();
    this.#operators.stop();
    await this.#endIncarnation();
    if (this.#state !== 'failed') this.#state = 'stopped';
  }

  // ---- control: who owns what -------------------------------------------------------------------------------------

  #kick(): void {
    this.#dirty = true;
    if (this.#control !== undefined || this.#stopping.signal.aborted) return;
    this.#control = this.#run().finally(() => {
      this.#control = undefined;
      if (this.#dirty && this.#state !== 'failed') this.#kick();
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#dirty && !signal.aborted) {
      this.#dirty = false;
      try {
        const again = await this.#pace();
        // From its assignment on, a new member keeps its shards from their former owners: what can be done before, is.
        if (!again) await this.#incarnate(again);
        await this.#join();
        await this.#incarnate(again);
        await this.#balance();
        if (!this.#dirty && this.#incarnation !== undefined) this.#state = 'running';
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof StateferryError && error.fate === 'stop') {
          this.#fail(error);
          return;
        }
        this.#condemn(
          error instanceof StateferryError ? error.code : 'EMIT_UNKNOWN',
          'the shards could not be opened',
          error,
        );
      }
    }
  }

  /** Before anything is built up again: a pause, longer each time that it did not hold. Answers whether it is again. */
  async #pace(): Promise<boolean> {
    if (this.#incarnation !== undefined) return false;
    const now = performance.now();
    const again = this.#lastRebuild !== Number.NEGATIVE_INFINITY;
    if (again) {
      this.#rebuildPause =
        now - this.#lastRebuild > REBUILD_CALM_MS
          ? REBUILD_PAUSE_MIN_MS
          : Math.min(this.#rebuildPause * 2, REBUILD_PAUSE_MAX_MS);
      await delay(this.#rebuildPause, undefined, { signal: this.#stopping.signal });
    }
    this.#lastRebuild = now;
    return again;
  }

  /** A member of the group, with a consumer that lives. */
  async #join(): Promise<void> {
    if (this.#consumer !== undefined) return;
    const consumer = this.#options.createConsumer({
      onAssigned: (shards) => this.#assigned(consumer, shards),
      onRecords: (batch) => this.#arrived(batch),
      onCrash: (error) => {
        if (this.#consumer !== consumer) return;
        this.#consumer = undefined;
        this.#condemn('KAFKA_UNAVAILABLE', 'the consumer gave up', error);
      },
    });
    this.#consumer = consumer;
    try {
      await consumer.start();
    } catch (cause) {
      this.#consumer = undefined;
      await consumer.stop().catch(() => undefined);
      throw new StateferryError('KAFKA_UNAVAILABLE', `the group could not be joined: ${messageOf(cause)}`, { cause });
    }
  }

  /** A transactional id of our own, fresh after anything unknown. */
  async #incarnate(again: boolean): Promise<void> {
    if (this.#incarnation !== undefined) return;
    // A process that slept past its session still believes in its old assignment. It may open nothing, and so fence
    // nobody, before the group has confirmed that it is a member.
    if (again) await Promise.race([this.#consumer?.confirm(), this.#stopped]);
    const transactionalId = `${this.#options.deployment}-${randomUUID()}`;
    const transactor = this.#options.createTransactor(transactionalId);
    try {
      // Before the id is anywhere to be read, or a later InitProducerId of ours would undo a successor's fence.
      await transactor.open();
    } catch (error) {
      await transactor.close().catch(() => undefined);
      throw error;
    }
    const emission = createEmission({
      intervalMs: this.#options.emitIntervalMs,
      transactor,
      onEmitted: (chunks) => this.#emitted(chunks),
      onUnknown: (error) => this.#condemn('EMIT_UNKNOWN', 'a transaction failed or its outcome is unknown', error),
      onTransaction: (measured) => this.#signals.transactionCommitted(measured),
    });
    const journaling = createJournaling({
      intervalMs: this.#options.journalIntervalMs,
      maxChunkRecords: this.#options.maxChunkRecords,
      shards: () => this.#shards.values(),
      append: this.#options.append,
      onJournaled: (shard, chunk, ms) => {
        this.#signals.chunkJournaled({
          shard: shard.number,
          records: chunk.records,
          events: chunk.events.length,
          outputs: chunk.outputs.length,
          ms,
        });
        emission.push({ shard, number: chunk.number, positions: chunk.to, outputs: chunk.outputs });
        shard.control.journaled(chunk.number);
        this.#operators.tend(shard);
        this.#regulate(shard);
      },
      onFenced: (shards) => this.#condemn('SHARD_FENCED', `another process owns shard ${shards.join(', ')}`),
      onUnknown: (error) => this.#condemn('JOURNAL_UNKNOWN', 'nobody knows whether a chunk was journaled', error),
    });
    this.#incarnation = { transactor, emission, journaling, opening: this.#options.opening(transactionalId) };
    this.#log.info({ transactionalId }, 'Took a transactional id');
  }

  /** Releases what the group took away, opens what it gave. */
  async #balance(): Promise<void> {
    const incarnation = this.#incarnation;
    const consumer = this.#consumer;
    if (incarnation === undefined || consumer === undefined) return;
    const assigned = new Set(consumer.assigned());
    const lost = [...this.#shards.values()].filter((shard) => !assigned.has(shard.number));
    const gained = [...assigned].filter((number) => !this.#shards.has(number));
    for (const number of this.#opening.keys()) if (!gained.includes(number)) this.#opening.delete(number);
    if (lost.length > 0) await this.#release(lost, this.#options.takeoverGraceMs);
    if (gained.length === 0 || this.#incarnation !== incarnation) return;
    for (const number of gained) {
      this.#signals.shardState(number, 'fencing');
      this.#opening.set(number, this.#opening.get(number) ?? Date.now());
    }
    const owned = await openShards(incarnation.opening, {
      shards: gained,
      topics: this.#options.topics,
      start: this.#options.start,
      graceMs: this.#options.takeoverGraceMs,
    });
    // Nobody but this process writes them from here on.
    const controls = await this.#options.control.load(gained);
    const operations = await this.#options.control.operations(gained);
    if (this.#incarnation !== incarnation) return;
    this.#opening.clear();
    for (const shard of owned) {
      const { shard: number } = shard.opened;
      const control = new ShardControl(
        shard.opened.chunk,
        controls.filter((loaded) => loaded.shard === number),
      );
      this.#begin(incarnation, shard, control);
      const opened = this.#shards.get(number);
      if (opened === undefined) continue;
      this.#operators.opened(
        opened,
        operations.filter((operation) => operation.shard === number),
      );
      this.#operators.tend(opened);
    }
    this.#operators.start();
  }

  #begin(incarnation: Incarnation, owned: OwnedShard, control: ShardControl): void {
    const { opened, applied, committed, unemitted, expired } = owned;
    const lastKnown = unemitted[0] === undefined ? opened.chunk : unemitted[0].chunk - 1;
    const behind = Object.entries(applied).some(([topic, offset]) => committed[topic] !== offset);
    // A last chunk without outputs has no outbox row, but its positions may still have to be committed.
    const positionsOnly = unemitted.length === 0 && behind && opened.chunk > 0;
    const shard = new Shard(
      {
        number: opened.shard,
        epoch: opened.epoch,
        applied,
        chunk: opened.chunk,
        emitted: positionsOnly ? opened.chunk - 1 : lastKnown,
        shardSeq: opened.shardSeq,
      },
      committed,
      this.#options.limits,
      control,
    );
    this.#shards.set(opened.shard, shard);
    for (const row of unemitted) {
      incarnation.emission.push({
        shard,
        number: row.chunk,
        positions: row.positions,
        outputs: decodeOutbox(row.records),
      });
    }
    if (behind && opened.chunk > 0) {
      incarnation.emission.push({ shard, number: opened.chunk, positions: applied, outputs: [] });
    }
    for (const { topic, offsets } of expired) {
      if (topic === this.#options.commandTopic.name) control.forgetReleased();
      this.#log.error(
        { shard: opened.shard, topic, offsets: offsets.toString() },
        'Retention removed records before they were read: they are lost',
      );
    }
    this.#log.info(
      { shard: opened.shard, epoch: opened.epoch, emittedAgain: unemitted.length, fenced: opened.others.length },
      'Opened a shard',
    );
    this.#signals.shardState(opened.shard, 'running');
    this.#follow(shard);
  }

  /** Points the consumer at what the shard has not accepted yet. */
  #follow(shard: Shard): void {
    for (const [topic, offset] of shard.next) this.#consumer?.seek(topic, shard.number, offset);
    if (!shard.paused) this.#consumer?.resume(shard.number);
  }

  /**
   * Drains shards: what the function has is finished, journaled and emitted, within the time that is left; what waits is
   * given back. Then the journal forgets our id, so that the next owner has nobody to fence.
   */
  async #release(shards: readonly Shard[], timeoutMs: number): Promise<void> {
    const incarnation = this.#incarnation;
    if (shards.length === 0) return;
    const timer = new AbortController();
    const timeout = delay(timeoutMs, undefined, { signal: timer.signal }).catch(() => undefined);
    await Promise.all(
      shards.map(async (shard) => {
        if (shard.state === 'stopped') return;
        shard.state = 'draining';
        this.#signals.shardState(shard.number, 'draining');
        this.#consumer?.pause(shard.number);
        this.#cut(shard);
        const drained = new Promise<void>((resolve) => this.#drained.set(shard, resolve));
        this.#checkDrained(shard);
        incarnation?.journaling.wake();
        await Promise.race([drained, timeout]);
        this.#drained.delete(shard);
        const clean = this.#incarnation === incarnation && isDrained(shard);
        this.#close(shard);
        if (clean && incarnation !== undefined) {
          await this.#options
            .release(incarnation.transactor.transactionalId, shard)
            .catch((error) =>
              this.#log.warn({ shard: shard.number, error: messageOf(error) }, 'Releasing a shard failed'),
            );
        }
        this.#log.info({ shard: shard.number, clean }, 'Released a shard');
      }),
    );
    timer.abort();
    await timeout;
  }

  /** What the function does not have is given back. */
  #cut(shard: Shard): void {
    const cut = shard.cutUnstarted();
    for (const item of cut) shard.halts.delete(item);
    this.#entities.withdraw(cut);
  }

  #close(shard: Shard): void {
    shard.state = 'stopped';
    if (this.#shards.get(shard.number) === shard) this.#shards.delete(shard.number);
    this.#entities.drop(shard);
    this.#drained.get(shard)?.();
    this.#signals.shardState(shard.number, 'stopped');
  }

  #checkDrained(shard: Shard): void {
    if (shard.state === 'draining' && isDrained(shard)) this.#drained.get(shard)?.();
  }

  /** The one answer to everything unknown. Drops all in memory at once; the control loop builds it up again. */
  #condemn(code: ErrorCode, reason: string, error?: unknown): void {
    if (this.#state === 'failed') return;
    this.#log.warn({ code, reason, ...(error !== undefined && { error: messageOf(error) }) }, 'Rebuilding all shards');
    this.#signals.rebuild(code);
    if (!this.#stopping.signal.aborted) this.#state = 'rebuilding';
    void this.#endIncarnation();
    for (const shard of [...this.#shards.values()]) this.#close(shard);
    if (this.#lastRebuild === Number.NEGATIVE_INFINITY) this.#lastRebuild = performance.now();
    this.#kick();
  }

  async #endIncarnation(): Promise<void> {
    const incarnation = this.#incarnation;
    if (incarnation === undefined) return;
    this.#incarnation = undefined;
    incarnation.emission.stop();
    incarnation.journaling.stop();
    await incarnation.transactor
      .close()
      .catch((error) => this.#log.debug({ error: messageOf(error) }, 'Closing a producer failed'));
  }

  #fail(error: StateferryError): void {
    this.#state = 'failed';
    this.#log.fatal({ code: error.code, error: error.message }, 'The engine cannot go on');
    void this.#endIncarnation();
    for (const shard of [...this.#shards.values()]) this.#close(shard);
    this.#failure.reject(error);
  }

  // ---- the way of a record ----------------------------------------------------------------------------------------

  #assigned(consumer: Consumer, shards: readonly number[]): void {
    if (this.#consumer !== consumer) return;
    this.#log.info({ shards }, 'The group assigned shards');
    // The consumer's positions are gone with the old assignment; what we keep goes on where it was.
    for (const number of shards) {
      const shard = this.#shards.get(number);
      if (shard?.state === 'running') this.#follow(shard);
    }
    this.#kick();
  }

  #arrived(batch: RecordBatch): void {
    const shard = this.#shards.get(batch.partition);
    if (shard === undefined || shard.state !== 'running') return;
    shard.end.set(batch.topic, batch.highWatermark);
    // It is fetched again when the gate opens (`#regulate`).
    if (shard.gated && batch.topic !== this.#options.commandTopic.name) return;
    let expected = shard.next.get(batch.topic) ?? 0n;
    const first = batch.records[0];
    if (first !== undefined && first.offset < expected && batch.highWatermark < expected) {
      // A partition does not become shorter, unless its topic is another one now. Opening the shard tells for certain.
      this.#condemn(
        'TOPIC_RECREATED',
        `partition ${batch.partition} of "${batch.topic}" ends at ${batch.highWatermark}, and has been read up to ${expected}`,
      );
      return;
    }
    const newest = shard.newest.get(batch.topic);
    let skipped = 0;
    for (const record of batch.records) {
      // Applied already, or in the window: the consumer was sent back to the committed offset by a rebalance.
      if (record.offset < expected) {
        if (record.offset === newest?.offset && record.timestamp !== newest.timestamp) {
          this.#fail(recreated(record));
          return;
        }
        skipped++;
        continue;
      }
      expected = record.offset + 1n;
      this.#accept(shard, record);
    }
    const last = batch.records.at(-1);
    if (last !== undefined && last.offset + 1n === expected) {
      shard.newest.set(batch.topic, { offset: last.offset, timestamp: last.timestamp });
    }
    this.#signals.recordsIn(batch.topic, batch.records.length - skipped);
    if (skipped > 0) this.#signals.skipped(skipped);
    if (shard.isReady()) this.#incarnation?.journaling.wake();
    this.#regulate(shard);
  }

  /** Stops and starts the consumption of a shard, by the room that it has and by what it waits for. */
  #regulate(shard: Shard): void {
    if (shard.state !== 'running') return;
    const hold = shard.halts.size > 0 || (shard.paused ? !shard.hasRoom() : shard.isFull());
    const gated = shard.control.isGated(performance.now());
    const opens = shard.gated && !gated;
    shard.gated = gated;
    if (hold !== shard.paused) {
      shard.paused = hold;
      if (hold) this.#consumer?.pause(shard.number);
      else this.#consumer?.resume(shard.number);
    }
    if (opens) this.#follow(shard);
  }

  /** A fault of ours in reading one record must not stop its shard for ever: it is a dead letter like any other. */
  #arrival(record: InputRecord): Arrival {
    try {
      return this.#options.intake(record);
    } catch (cause) {
      const error = new StateferryError('RECORD_UNDECODABLE', `the record could not be read: ${messageOf(cause)}`, {
        cause,
      });
      this.#log.error({ topic: record.topic, partition: record.partition, err: cause }, 'Reading a record failed');
      return { kind: 'reject', error };
    }
  }

  #accept(shard: Shard, record: InputRecord): void {
    const arrival = this.#arrival(record);
    switch (arrival.kind) {
      case 'command': {
        const item = createItem(shard, record, arrival.command, undefined, arrival.from);
        shard.add(item);
        const key = keyOf(arrival.command);
        if (key !== undefined && shard.control.arrives(item, key) === 'park')
          item.decision = this.#park(shard, item, key);
        else this.#entities.dispatch(item, arrival.command);
        return;
      }
      case 'stray':
        this.#signals.strays(1);
        shard.add(createItem(shard, record, undefined, publishing(arrival.outputs)));
        return;
      case 'reject':
        this.#unreadable(shard, record, arrival);
        return;
      case 'ignore':
        shard.add(createItem(shard, record, undefined, publishing([])));
        return;
    }
  }

  /** A record that cannot be read is a dead letter, or what the shard halts before. */
  #unreadable(shard: Shard, record: InputRecord, { error, where, from }: Arrival & { kind: 'reject' }): void {
    const item = createItem(shard, record, undefined, undefined, from);
    shard.add(item);
    const failed = { topic: item.origin.topic, service: where?.service, method: where?.method };
    if (this.#options.failures.ofRecord(failed) === 'halt') this.#halt(shard, item, error, where);
    else item.decision = this.#bury(item.origin, error, where);
  }

  /** What is done about a command that failed, by the deployment's policies and what operators want. */
  #failed(item: Item, error: StateferryError): Rejection {
    const shard = this.#shardOf(item);
    const { command } = item;
    const whose = whoseOf(item);
    // The shard was dropped meanwhile: nothing of this is journaled.
    if (shard === undefined || command === undefined) return 'hold';
    const skipped = this.#operators.takeSkip(shard, item);
    if (skipped !== undefined) return this.#bury(item.origin, skipped, whose);
    const topic = topicOfCommand(command.id, this.#options.commandTopic.name);
    const verdict = this.#options.failures.ofCommand(
      { topic, service: whose?.service, method: whose?.method },
      ++item.attempts,
    );
    if (verdict === 'dead-letter') return this.#bury(item.origin, error, whose);
    const key = keyOf(command);
    // An operator has paused the entity meanwhile: what would wait in memory waits in the journal.
    if (key !== undefined && shard.control.isPaused(key)) return this.#park(shard, item, key);
    if (shard.state === 'draining') queueMicrotask(() => this.#cutAgain(shard));
    if (verdict === 'halt') {
      this.#halt(shard, item, error, whose);
      return 'hold';
    }
    if (verdict === 'pause') {
      // An action has no entity whose later commands could wait.
      if (key === undefined) return this.#bury(item.origin, error, whose);
      shard.control.pause(key, { reason: `${command.id}: ${error.code}, ${error.message}`, by: '' });
      this.#log.warn(
        { shard: shard.number, ...key, command: command.id, code: error.code, error: error.message },
        'Paused an entity',
      );
      return this.#park(shard, item, key);
    }
    this.#signals.retries(1);
    return verdict;
  }

  /** A command that was at the function while its shard is drained, and now waits, is given back, too. */
  #cutAgain(shard: Shard): void {
    if (shard.state !== 'draining') return;
    this.#cut(shard);
    this.#checkDrained(shard);
  }

  /** The shard of an item that came in since the last rebuild. */
  #shardOf(item: Item): Shard | undefined {
    const shard = this.#shards.get(item.record.partition);
    return shard === item.shard ? shard : undefined;
  }

  #decided(item: Item): void {
    const { park } = item.decision ?? {};
    // A failed one that was parked: those behind it follow.
    const shard = park && this.#shardOf(item);
    if (shard !== undefined && park !== undefined) this.#parkWaiting(shard, this.#entities.waiting(park.key));
    if (item.shard.isReady()) this.#incarnation?.journaling.wake();
  }

  /** Commands that wait for their entity wait in the journal instead. */
  #parkWaiting(shard: Shard, items: readonly Item[]): void {
    this.#settle(shard, items, (item) => {
      const key = item.command && keyOf(item.command);
      return key === undefined ? undefined : this.#park(shard, item, key);
    });
  }

  /** Decides what waits in the window, in the function's place. */
  #settle(shard: Shard, items: readonly Item[], decide: (item: Item) => Decision | undefined): void {
    this.#entities.withdraw(items);
    for (const item of items) {
      item.decision = decide(item);
      this.#unhalt(shard, item);
    }
    if (shard.isReady()) this.#incarnation?.journaling.wake();
    this.#regulate(shard);
  }

  #park(shard: Shard, item: Item, key: EntityKey): Decision {
    const { name } = this.#options.commandTopic;
    const commandId = item.command?.id ?? '';
    const record = putBack(item.origin, { topic: name, partition: shard.number, commandId });
    if (!this.#fitsCommands(record)) {
      const error = new StateferryError(
        'RECORD_OVERSIZE',
        `The entity is paused, and the record cannot wait for it, since "${name}" takes no record of that size (max.message.bytes).`,
      );
      return this.#bury(item.origin, error, whoseOf(item));
    }
    const place = shard.control.park(item, key);
    this.#signals.parked(1);
    return {
      ...publishing([]),
      park: { key, commandId, record: encodeOutbox([record]), ...(place && { place }) },
    };
  }

  #fitsCommands(record: OutputRecord): boolean {
    return BATCH_BYTES + recordBytes(record) <= this.#options.commandTopic.messageBytes;
  }

  /** Nothing of the shard goes past this record; what is before it in the window still goes. */
  #halt(shard: Shard, item: Item, error: StateferryError, where?: { service: string; method: string }): void {
    const { topic, partition, offset } = item.origin;
    const key = item.command && keyOf(item.command);
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
    this.#log.error(
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
    if (isFirst) this.#signals.shardState(shard.number, 'halted');
    this.#regulate(shard);
  }

  #tryAgain(shard: Shard, item: Item): void {
    this.#unhalt(shard, item);
    item.attempts = 0;
    this.#entities.tryAgain(item);
    this.#regulate(shard);
  }

  /** The shard is halted before this item no more. */
  #unhalt(shard: Shard, item: Item): void {
    if (!shard.halts.delete(item) || shard.halts.size > 0) return;
    if (shard.state === 'running') this.#signals.shardState(shard.number, 'running');
  }

  /** Sends the shard a record of its own, where nothing else brings the chunk that something waits for. */
  #nudge(shard: Shard): void {
    const incarnation = this.#incarnation;
    if (incarnation === undefined || shard.state !== 'running' || shard.nudging) return;
    if (!shard.isEmpty() || shard.unemitted > 0) return;
    shard.nudging = true;
    const { name } = this.#options.commandTopic;
    incarnation.emission.push({
      shard,
      number: shard.emittedThrough,
      positions: shard.applied,
      outputs: [nudge(name, shard.number)],
      isNudge: true,
    });
  }

  /** A record that cannot be carried out goes to the dead-letter topic, in the transaction that moves past it. */
  #bury(record: InputRecord, error: StateferryError, where?: { service: string; method: string }): Decision {
    const { name, partitions, messageBytes } = this.#options.deadLetterTopic;
    this.#signals.deadLetters(error.code);
    this.#log.debug(
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

  #emitted(chunks: readonly JournaledChunk[]): void {
    const counts = new Map<string, number>();
    for (const { shard, number, positions, outputs, isNudge } of chunks) {
      for (const { topic } of outputs) counts.set(topic, (counts.get(topic) ?? 0) + 1);
      shard.emitted(number, positions);
      if (isNudge) shard.nudging = false;
      else if (shard.control.wantsChunk()) this.#nudge(shard);
      this.#regulate(shard);
      this.#checkDrained(shard);
    }
    for (const [topic, count] of counts) this.#signals.outputs(topic, count);
  }
}

function recreated({ topic, partition, offset }: InputRecord): StateferryError {
  return new StateferryError(
    'TOPIC_RECREATED',
    `offset ${offset} of "${topic}" partition ${partition} is another record than it was: the topic was deleted and made again. ` +
      'Start a new deployment in another schema.',
  );
}

function isDrained(shard: Shard): boolean {
  return shard.isEmpty() && shard.unemitted === 0 && !shard.nudging;
}

/** Whose command it is; undefined where that cannot be told. */
function whoseOf({ command }: Item): { service: string; method: string } | undefined {
  return command && { service: command.method.component.service, method: command.method.name };
}

/** The entity of a command; an action has none. */
function keyOf({ method: { component }, entityId }: Command): EntityKey | undefined {
  return component.kind === 'action' ? undefined : { entityType: component.entityType, entityId };
}
