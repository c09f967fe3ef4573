import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { aborted } from '../abort.ts';
import { decodeOutbox } from '../codec/outbox.ts';
import { nudge } from '../codec/put-back.ts';
import { type ErrorCode, messageOf, StateferryError } from '../errors.ts';
import type { Chunk } from '../model/chunk.ts';
import type { LoadedControl } from '../model/control.ts';
import type { Feed, FeedKey } from '../model/feed.ts';
import type { InputRecord } from '../model/record.ts';
import type { Signals } from '../observe/signals.ts';
import type { EngineState } from '../observe/status.ts';
import type { Consumption } from '../topics/consumption.ts';
import type { RecordBatch } from '../topics/read-ahead.ts';
import { type Arrivals, createArrivals } from './arrivals.ts';
import { ShardControl } from './control.ts';
import type { JournaledChunk } from './emission.ts';
import { Entities, type EntitiesOptions } from './entities.ts';
import { createFeeder, type Feeder, type FeederOptions } from './feeder.ts';
import { createGate, type Gate } from './gate.ts';
import { beginIncarnation, type Incarnation, type IncarnationOptions } from './incarnation.ts';
import type { Arrival } from './intake.ts';
import type { Item } from './item.ts';
import { type OwnedShard, openShards, rehearse } from './opening.ts';
import { type ControlStore, createOperators, type Operators } from './operators.ts';
import { ownerId } from './owner-ids.ts';
import { createPoison, type Poison, type PoisonOptions } from './poison.ts';
import { Shard, type ShardLimits } from './shard.ts';
import { ShardFeeds } from './shard-feeds.ts';

const REBUILD_PAUSE_MIN_MS = 100;
const REBUILD_PAUSE_MAX_MS = 5_000;
/** A process that ran this long since its last rebuild starts again with the shortest pause. */
const REBUILD_CALM_MS = 30_000;

export interface EngineOptions
  extends Pick<PoisonOptions, 'deadLetterTopic' | 'commandTopic' | 'answerTopic' | 'failures'>,
    Pick<
      IncarnationOptions,
      | 'maxChunkRecords'
      | 'keepInputs'
      | 'journalIntervalMs'
      | 'emitIntervalMs'
      | 'append'
      | 'opening'
      | 'createTransactor'
    > {
  readonly deployment: string;
  /** A UUID of this process's own, as it is known to the group (owner-ids.ts). */
  readonly process: string;
  /** Every topic consumed, the internal command topic included. */
  readonly topics: readonly string[];
  readonly start: 'earliest' | 'latest';
  readonly limits: ShardLimits;
  readonly takeoverGraceMs: number;
  readonly drainTimeoutMs: number;
  /** What the journal tells of operators' wishes, and of the commands that wait for them. */
  readonly control: ControlStore & {
    load(shards: readonly number[]): Promise<readonly (LoadedControl & { readonly shard: number })[]>;
  };
  /** Those that are subscribed to events and values, and what the journal tells of them. */
  readonly feeds: Pick<FeederOptions, 'store' | 'command'> & { readonly all: readonly Feed[] };
  readonly intake: (record: InputRecord) => Arrival;
  /**
   * What must be known before a record can be taken in; undefined: nothing. Its shard stands until then. Never rejects.
   * Absent: no record waits.
   */
  readonly awaits?: ((record: InputRecord) => Promise<void> | undefined) | undefined;
  readonly entities: Omit<EntitiesOptions, 'reject' | 'onDecided' | 'onPublished' | 'onLoadFailed' | 'signals'>;
  readonly release: (transactionalId: string, shard: Shard) => Promise<void>;
  readonly createConsumer: (handlers: {
    onAssigned: (shards: readonly number[]) => void;
    onRecords: (batch: RecordBatch) => void;
    onCrash: (error: Error) => void;
  }) => Consumption;
  readonly signals: Signals;
  readonly log: Logger;
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
  readonly #poison: Poison;
  readonly #operators: Operators;
  readonly #feeder: Feeder;
  readonly #gate: Gate;
  readonly #arrivals: Arrivals;
  readonly #drained = new Map<Shard, () => void>();
  /** Shards that the group gave and that are not open yet, and since when, in ms since the epoch. */
  readonly #opening = new Map<number, number>();
  readonly #failure: { readonly promise: Promise<never>; readonly reject: (error: StateferryError) => void };
  readonly #stopping = new AbortController();
  readonly #stopped = aborted(this.#stopping.signal);
  #consumer: Consumption | undefined;
  #incarnation: Incarnation | undefined;
  /** How many there have been. */
  #incarnations = 0;
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
    this.#gate = createGate({
      shards: () => this.#shards.values(),
      consumer: () => this.#consumer,
      signals: options.signals,
    });
    this.#entities = new Entities({
      ...options.entities,
      reject: (item, error) => this.#poison.failed(item, error),
      onDecided: (item) => {
        this.#poison.decided(item);
        if (item.shard.isReady()) this.#incarnation?.journaling.wake();
      },
      onPublished: (owner) => {
        for (const shard of this.#shards.values()) if (shard === owner) this.#nudge(shard);
      },
      onLoadFailed: (error) => this.#condemn('JOURNAL_UNKNOWN', 'entities could not be loaded from the journal', error),
      signals: options.signals,
    });
    this.#poison = createPoison({
      ...options,
      entities: this.#entities,
      shardOf: (item) => this.#shardOf(item),
      takeSkip: (shard, item) => this.#operators.takeSkip(shard, item),
      onWaiting: (shard) => this.#cutAgain(shard),
      onMoved: (shard) => this.#moved(shard),
    });
    this.#operators = createOperators({
      store: options.control,
      shards: () => this.#shards.values(),
      entities: this.#entities,
      poison: this.#poison,
      wanted: (shard) => this.#nudge(shard),
      looked: (shard) => {
        this.#gate.regulate(shard);
        this.#feeder.tend(shard);
      },
      log: options.log,
    });
    this.#arrivals = createArrivals({
      commandTopic: options.commandTopic.name,
      intake: options.intake,
      awaits: options.awaits,
      shard: (number) => this.#shards.get(number),
      gate: this.#gate,
      entities: this.#entities,
      poison: this.#poison,
      onReady: () => this.#incarnation?.journaling.wake(),
      onDoubt: (doubt) => this.#condemn('TOPIC_RECREATED', doubt),
      onFailed: (error) => this.#fail(error),
      signals: options.signals,
      log: options.log,
    });
    this.#feeder = createFeeder({
      ...options.feeds,
      commandTopic: options.commandTopic.name,
      wanted: (shard) => this.#nudge(shard),
      onUnheld: () => this.#incarnation?.journaling.wake(),
      log: options.log,
    });
  }

  get state(): EngineState {
    return this.#state;
  }

  get transactionalId(): string | undefined {
    return this.#incarnation?.transactionalId;
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

  /** Takes nothing from the input topics any more, or takes it again: what entities send each other goes on. */
  hold(held: boolean): void {
    this.#gate.hold(held);
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
        if (!again) await this.#prepare();
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
      onRecords: (batch) => this.#arrivals.arrived(batch),
      onCrash: (error) => {
        if (this.#consumer !== consumer) return;
        this.#consumer = undefined;
        // kafkajs wraps what it does not know.
        const reason = [error, error.cause].find((one) => one instanceof StateferryError && one.fate === 'stop');
        if (reason instanceof StateferryError) this.#fail(reason);
        else this.#condemn('KAFKA_UNAVAILABLE', 'the consumer gave up', error);
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
    const transactionalId = ownerId(this.#options.deployment, this.#options.process, ++this.#incarnations);
    const incarnation = await beginIncarnation({
      ...this.#options,
      transactionalId,
      shards: () => this.#shards.values(),
      onJournaled: (shard, chunk, ms) => this.#journaled(shard, chunk, ms),
      onEmitted: (chunks) => this.#emitted(chunks),
      onFenced: (shards) => this.#condemn('SHARD_FENCED', `another process owns shard ${shards.join(', ')}`),
      onJournalUnknown: (error) =>
        this.#condemn('JOURNAL_UNKNOWN', 'nobody knows whether a chunk was journaled', error),
      onEmitUnknown: (reason, error) => this.#condemn('EMIT_UNKNOWN', reason, error),
    });
    this.#incarnation = incarnation;
    this.#log.info({ transactionalId }, 'Took a transactional id');
  }

  /** All that does not need to know which shards are ours. */
  async #prepare(): Promise<void> {
    await this.#incarnate(false);
    const { topics, control, feeds } = this.#options;
    if (this.#consumer !== undefined || this.#incarnation === undefined) return;
    await Promise.allSettled([
      rehearse(this.#incarnation.opening, topics),
      control.load([]),
      control.operations([]),
      feeds.store.settle([]),
    ]);
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
    const [controls, operations, places] = await Promise.all([
      this.#options.control.load(gained),
      this.#options.control.operations(gained),
      this.#options.feeds.store.settle(owned.map(({ opened }) => opened)),
    ]);
    if (this.#incarnation !== incarnation) return;
    this.#opening.clear();
    for (const shard of owned) {
      const { shard: number } = shard.opened;
      const control = new ShardControl(
        shard.opened.chunk,
        controls.filter((loaded) => loaded.shard === number),
      );
      const feeds = new ShardFeeds(
        this.#options.feeds.all.flatMap((feed) => {
          const place = places.find((found) => found.shard === number && isSameFeed(found, feed));
          return place === undefined ? [] : [{ ...place, feed }];
        }),
      );
      this.#begin(incarnation, shard, control, feeds);
      const opened = this.#shards.get(number);
      if (opened === undefined) continue;
      this.#operators.opened(
        opened,
        operations.filter((operation) => operation.shard === number),
      );
      this.#operators.tend(opened);
      this.#feeder.tend(opened);
    }
    this.#operators.start();
  }

  #begin(incarnation: Incarnation, owned: OwnedShard, control: ShardControl, feeds: ShardFeeds): void {
    const { opened, applied, committed, groupForgot, unemitted, expired } = owned;
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
      feeds,
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
    if ((behind || groupForgot) && opened.chunk > 0) {
      incarnation.emission.push({ shard, number: opened.chunk, positions: applied, outputs: [] });
      shard.unknownToGroup = groupForgot;
      shard.paused = groupForgot;
    }
    const lost = unemitted.filter(({ chunk }) => chunk <= opened.emitted).length;
    if (lost > 0) {
      this.#log.warn(
        { shard: opened.shard, chunks: lost },
        'Kafka had answered that outputs were committed, and has lost that: those that are not there are emitted again',
      );
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
    this.#gate.follow(shard);
    this.#gate.regulate(shard);
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
            .release(incarnation.transactionalId, shard)
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
    if (this.#shards.get(shard.number) === shard) {
      this.#shards.delete(shard.number);
      this.#consumer?.forget(shard.number);
    }
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
    this.#incarnation = undefined;
    await incarnation?.end();
  }

  #fail(error: StateferryError): void {
    this.#state = 'failed';
    this.#log.fatal({ code: error.code, error: error.message }, 'The engine cannot go on');
    void this.#endIncarnation();
    for (const shard of [...this.#shards.values()]) this.#close(shard);
    this.#failure.reject(error);
  }

  // ---- the way of a record ----------------------------------------------------------------------------------------

  #assigned(consumer: Consumption, shards: readonly number[]): void {
    if (this.#consumer !== consumer) return;
    this.#log.info({ shards }, 'The group assigned shards');
    this.#kick();
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

  /** Something of the shard's window was decided, or need not be decided any more. */
  #moved(shard: Shard): void {
    if (shard.isReady()) this.#incarnation?.journaling.wake();
    this.#gate.regulate(shard);
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

  #journaled(shard: Shard, chunk: Chunk, ms: number): void {
    this.#signals.chunkJournaled({
      shard: shard.number,
      records: chunk.inputs.length,
      events: chunk.events.length,
      outputs: chunk.outputs.length,
      ms,
    });
    shard.journaled(chunk.number);
    if (chunk.fed !== undefined) for (const [feed, count] of chunk.fed) this.#signals.fed(feed, count);
    this.#operators.tend(shard);
    this.#feeder.tend(shard);
    this.#gate.regulate(shard);
  }

  #emitted(chunks: readonly JournaledChunk[]): void {
    const counts = new Map<string, number>();
    for (const { shard, number, positions, outputs, isNudge } of chunks) {
      for (const { topic } of outputs) counts.set(topic, (counts.get(topic) ?? 0) + 1);
      shard.emitted(number, positions);
      if (isNudge) shard.nudging = false;
      else if (shard.wantsChunk()) this.#nudge(shard);
      this.#feeder.tend(shard);
      this.#gate.regulate(shard);
      this.#checkDrained(shard);
    }
    for (const [topic, count] of counts) this.#signals.outputs(topic, count);
  }
}

function isSameFeed(one: FeedKey, other: FeedKey): boolean {
  return one.name === other.name && one.source === other.source && one.entityType === other.entityType;
}

function isDrained(shard: Shard): boolean {
  return shard.isEmpty() && shard.unemitted === 0 && !shard.nudging;
}
