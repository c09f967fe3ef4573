import { decodeReplicatedDelta } from '../codec/replicated-record.ts';
import { asFailureOf, StateferryError } from '../errors.ts';
import type { FunctionClient } from '../functions/client.ts';
import { type Outcome, openActionSession, openEntitySession } from '../functions/session.ts';
import type { EntityHead, StoredEvent } from '../journal/load.ts';
import type { EntityKey } from '../model/chunk.ts';
import type { Command } from '../model/command.ts';
import type { Component } from '../model/component.ts';
import type { Effect } from '../model/effect.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Signals } from '../observe/signals.ts';
import type { Dialect, EntityInit } from '../protocol/dialect.ts';
import { fold } from '../replicated/fold.ts';
import { fromNothing } from '../replicated/merge.ts';
import type { Decision, EntityPosition } from './decide.ts';
import { Duplicates } from './duplicates.ts';
import { type Entity, entityIdOf, first, idOf, isAtRest, newEntity, removeFrom } from './entity.ts';
import { type Item, type ItemOwner, publishing } from './item.ts';
import { type EntityStore, Loader } from './loader.ts';
import { Replica } from './replica.ts';
import type { StreamOutputs } from './streams.ts';
import { Turns } from './turns.ts';

/** How often it is looked for commands in flight that are overdue, and for entities that have long been idle. */
const SWEEP_MS = 250;
/** Entities that are passivated at most each time, so that thousands which fell idle together hold up nobody. */
const PASSIVATE_BATCH = 500;
/** A command that the function was lost with is sent again after a pause that doubles from here. */
const LOSS_PAUSE_MS = 100;
const LOSS_PAUSE_MAX_MS = 5_000;

const NO_OUTPUTS: readonly OutputRecord[] = [];

/** What becomes of a command that failed: a decision, another attempt after a pause, or nothing until somebody says so. */
export type Rejection = Decision | { readonly retryInMs: number } | 'hold';

export interface EntitiesOptions {
  readonly client: FunctionClient;
  readonly dialect: Dialect;
  readonly store: EntityStore;
  readonly maxStreams: number;
  /** Commands at the function at once; what is more waits for its turn here. */
  readonly maxCommands: number;
  /** How long an entity may have nothing to do and keep its stream, in ms, where its component does not say. */
  readonly passivationMs: number;
  readonly deadlineMs: number;
  /** The SDK cannot start from a snapshot: all events are replayed. */
  readonly ignoreSnapshots: boolean;
  readonly isFunctionUp: () => boolean;
  readonly decide: (command: Command, position: EntityPosition, effect: Effect) => Decision;
  /** What becomes of an item whose command failed. */
  readonly reject: (item: Item, error: StateferryError) => Rejection;
  readonly onDecided: (item: Item) => void;
  /** The function went away with commands unanswered. */
  readonly onLost: (reason: string) => void;
  readonly onLoadFailed: (error: unknown) => void;
  /** Which of the commands, all with an idempotency key, took effect before; in the order of `items`. */
  readonly findDuplicates: (items: readonly Item[]) => Promise<readonly boolean[]>;
  /** What a command does that took effect before: nothing, but whoever waits for it is told. */
  readonly repeat: (command: Command) => Decision;
  readonly streams: StreamOutputs;
  /** Something of a shard waits for a chunk to go with. */
  readonly onPublished: (shard: ItemOwner) => void;
  readonly signals: Pick<Signals, 'commands' | 'duplicates' | 'retries' | 'entitiesOpened' | 'entitiesClosed'>;
}

/**
 * All entities of the process that have something to do or a stream: serial per entity, concurrent across entities.
 * Holds no state of theirs (the function does), only where they stand; but of replicated entities with a stream it holds
 * the value, since the runtime merges (PROTOCOLS 7). What is held is bounded by the stream cap and by
 * the shards' windows; entities that have ever been seen cost nothing.
 */
export class Entities {
  readonly #options: EntitiesOptions;
  readonly #entities = new Map<string, Entity>();
  /** With a stream and nothing to do, least recently used first. */
  readonly #idle = new Map<string, Entity>();
  /** Wait for a free stream, in order. */
  readonly #queue = new Set<Entity>();
  /** Wait for the function to come back. */
  readonly #stalled = new Set<Entity>();
  /** Replicated entities with streams of answers. */
  readonly #streaming = new Set<Replica>();
  readonly #duplicates: Duplicates;
  readonly #turns: Turns;
  readonly #loader: Loader;
  #streams = 0;
  /** Of the components whose entities have been seen. */
  #shortestIdleMs = Number.POSITIVE_INFINITY;
  #stopped = false;
  readonly #sweep: NodeJS.Timeout;

  constructor(options: EntitiesOptions) {
    this.#options = options;
    this.#duplicates = new Duplicates({ find: options.findDuplicates, onFailed: options.onLoadFailed });
    this.#turns = new Turns({
      maxCommands: options.maxCommands,
      isFunctionUp: options.isFunctionUp,
      go: (entity) => this.#next(entity, true),
    });
    this.#loader = new Loader({
      store: options.store,
      ignoreSnapshots: options.ignoreSnapshots,
      onValue: (entity, { revision, payload }) => {
        entity.revision = revision;
        this.#open(entity, payload === undefined ? {} : { state: payload });
        this.#next(entity);
      },
      onHistory: (entity, head, events) => this.#openWith(entity, head, events),
      openLong: (entity, head) => this.#openAt(entity, head),
      onReplayed: (entity) => this.#next(entity),
      onChanged: (entity) => {
        this.#giveUpLoading(entity);
        this.#goOn(entity);
      },
      onRefused: (entity, refusal) => this.#refuse(entity, refusal),
      onFailed: options.onLoadFailed,
    });
    this.#sweep = setInterval(() => {
      this.#expire();
      this.#passivateIdle();
    }, SWEEP_MS);
  }

  /** Entities that have a stream at the function. */
  get active(): number {
    return this.#streams;
  }

  /** Entity streams by shard, counted in one go. */
  activeByShard(): ReadonlyMap<ItemOwner, number> {
    const counts = new Map<ItemOwner, number>();
    for (const { session, shard } of this.#entities.values()) {
      if (session !== undefined) counts.set(shard, (counts.get(shard) ?? 0) + 1);
    }
    return counts;
  }

  /** Gives an item to its entity. Items of one entity are answered in the order in which they come here. */
  dispatch(item: Item, command: Command): void {
    const { component } = command.method;
    const id = idOf(component, command, item);
    let entity = this.#entities.get(id);
    if (command.stream === 'cancel' && (entity === undefined || isAtRest(entity))) {
      // The entity has no stream of anybody, and needs none for this.
      item.decision = publishing(NO_OUTPUTS);
      return;
    }
    if (entity === undefined) {
      const key = { entityType: component.entityType, entityId: command.entityId };
      entity = newEntity({ id, key, component, shard: item.shard });
      this.#entities.set(id, entity);
      this.#shortestIdleMs = Math.min(this.#shortestIdleMs, this.#idleMsOf(component));
    }
    entity.mailbox.push(item);
    if (command.idempotencyKey !== undefined) this.#look(entity, item);
    if (entity.state === 'idle' || entity.state === 'leaving') this.#next(entity);
    else if (entity.state === 'passive') this.#activate(entity);
  }

  /** The caller of a stream is still there; answers what it is told where there is no such stream. */
  renew(renewal: Command): readonly OutputRecord[] {
    const { component } = renewal.method;
    const key = { entityType: component.entityType, entityId: renewal.entityId };
    const isThere = this.#entities.get(entityIdOf(key))?.replica?.renew(renewal.caller) === true;
    return isThere ? NO_OUTPUTS : this.#options.streams.unknown(renewal);
  }

  /** The function answers again. */
  functionBack(): void {
    const stalled = [...this.#stalled];
    this.#stalled.clear();
    for (const entity of stalled) if (entity.state === 'passive') this.#activate(entity);
    this.#turns.unhold();
  }

  /** The entity's commands that are not at the function, in order. */
  waiting(key: EntityKey): readonly Item[] {
    return this.#entities.get(entityIdOf(key))?.mailbox.filter((item) => !item.running) ?? [];
  }

  /** The entity's first command that is not decided; it may be at the function. */
  head(key: EntityKey): Item | undefined {
    return this.#entities.get(entityIdOf(key))?.mailbox[0];
  }

  /** A command that is held is sent once more. */
  tryAgain(item: Item): void {
    if (item.command === undefined) return;
    const entity = this.#entities.get(idOf(item.command.method.component, item.command, item));
    if (entity?.mailbox[0] === item) this.#wake(entity);
  }

  /** Takes items back that were not started, or are between two attempts. */
  withdraw(items: readonly Item[]): void {
    const headless = new Set<Entity>();
    for (const item of items) {
      if (item.command === undefined || item.running || item.decision !== undefined) continue;
      const entity = this.#entities.get(idOf(item.command.method.component, item.command, item));
      if (entity !== undefined) {
        const isFirst = first(entity) === item;
        removeFrom(entity.mailbox, item);
        if (isFirst) headless.add(entity);
      }
      this.#duplicates.forget(item);
      this.#turns.acquit(item);
    }
    for (const entity of headless) {
      if (entity.state === 'asking') this.#next(entity);
      else this.#wake(entity);
    }
    this.#turns.unhold();
  }

  /** Forgets everything of a shard: what its commands still bring is of no interest any more. */
  drop(shard: ItemOwner): void {
    this.#duplicates.drop(shard);
    for (const entity of this.#entities.values()) {
      if (entity.shard !== shard) continue;
      const { state } = entity;
      entity.state = 'dropped';
      clearTimeout(entity.rest);
      this.#entities.delete(entity.id);
      this.#idle.delete(entity.id);
      this.#queue.delete(entity);
      this.#stalled.delete(entity);
      this.#turns.drop(entity);
      // A stream may be reserved and not open yet.
      if (state === 'loading' && entity.session === undefined) this.#streams--;
      else this.#endSession(entity, state === 'busy' || state === 'loading' ? 'cancel' : 'close');
    }
    this.#loader.prune();
    this.#admit();
    this.#turns.unhold();
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#sweep);
    this.#loader.stop();
    for (const shard of new Set([...this.#entities.values()].map((entity) => entity.shard))) this.drop(shard);
  }

  #activate(entity: Entity): void {
    if (this.#stopped) return;
    if (!this.#options.isFunctionUp()) {
      this.#stalled.add(entity);
      return;
    }
    if (entity.component.kind === 'action') {
      entity.session = openActionSession({ ...this.#options, component: entity.component });
      this.#next(entity);
      return;
    }
    if (entity.unsettled > 0) {
      entity.state = 'settling';
      return;
    }
    entity.state = 'queued';
    this.#queue.add(entity);
    this.#admit();
  }

  /** Gives free streams to those who wait, taking them from entities that have nothing to do. */
  #admit(): void {
    for (const entity of this.#queue) {
      // A suspect goes before all others, who may hold every stream and wait for it.
      const goesFirst = this.#turns.isSuspect(entity.mailbox[0]);
      if (this.#streams >= this.#options.maxStreams && !this.#passivateOne() && !goesFirst) {
        if (!this.#turns.hasSuspects) break;
        continue;
      }
      this.#queue.delete(entity);
      this.#streams++;
      entity.state = 'loading';
      this.#loader.add(entity);
    }
  }

  #passivateOne(): boolean {
    let oldest: Entity | undefined;
    for (const entity of this.#idle.values()) {
      oldest ??= entity;
      if (entity.replica?.isStreaming) continue;
      // Whoever takes a stream of answers would lose it.
      oldest = entity;
      break;
    }
    if (oldest === undefined) return false;
    this.#passivate(oldest);
    return true;
  }

  #passivate(entity: Entity): void {
    this.#idle.delete(entity.id);
    this.#endSession(entity, 'close');
    entity.state = 'passive';
    this.#forgetIfDone(entity);
  }

  /** Entities that have had nothing to do for their component's time give their streams back, some at a time. */
  #passivateIdle(): void {
    const now = performance.now();
    let left = PASSIVATE_BATCH;
    for (const entity of this.#idle.values()) {
      const idleMs = now - entity.idleSince;
      if (left === 0 || idleMs < this.#shortestIdleMs) return;
      if (idleMs < this.#idleMsOf(entity.component) || entity.replica?.isStreaming) continue;
      this.#passivate(entity);
      left--;
    }
  }

  #idleMsOf({ passivationMs = this.#options.passivationMs }: Component): number {
    return passivationMs;
  }

  #openWith(entity: Entity, head: EntityHead, events: readonly StoredEvent[]): void {
    if (entity.component.kind === 'replicated') {
      this.#openReplica(entity, head, events);
      return;
    }
    const session = this.#openAt(entity, head);
    for (const event of events) session.replay(event.seq, event.payload);
    this.#next(entity);
  }

  #openReplica(entity: Entity, head: EntityHead, events: readonly StoredEvent[]): void {
    try {
      const { snapshot, seq } = head;
      entity.seq = seq;
      const history = [...(snapshot === undefined ? [] : [snapshot]), ...events];
      const data = fold(history.map(({ payload }) => decodeReplicatedDelta(payload)));
      const session = this.#open(entity, data === undefined ? {} : { delta: fromNothing(data) });
      const { streams: outputs, onPublished } = this.#options;
      entity.replica = new Replica({
        session,
        data,
        shard: entity.shard,
        outputs,
        streaming: this.#streaming,
        onPublished,
      });
    } catch (error) {
      this.#refuse(entity, asFailureOf('ENTITY_UNREADABLE', error));
      return;
    }
    this.#next(entity);
  }

  /** What the journal has of it is nothing that this function can be told. Others are loaded all the same. */
  #refuse(entity: Entity, refusal: StateferryError): void {
    this.#giveUpLoading(entity);
    const [item] = entity.mailbox;
    if (item === undefined) this.#forgetIfDone(entity);
    else this.#reject(entity, item, refusal, 'gone');
  }

  /** Its stream is open already where its history is long, and only reserved otherwise. */
  #giveUpLoading(entity: Entity): void {
    if (entity.session === undefined) this.#streams--;
    else this.#endSession(entity, 'cancel');
    entity.state = 'passive';
  }

  #openAt(entity: Entity, head: EntityHead) {
    const { snapshot, seq } = head;
    entity.seq = seq;
    return this.#open(entity, snapshot === undefined || this.#options.ignoreSnapshots ? {} : { snapshot });
  }

  #open(entity: Entity, start: Pick<EntityInit, 'snapshot' | 'state' | 'delta'>) {
    const session = openEntitySession({
      client: this.#options.client,
      dialect: this.#options.dialect,
      component: entity.component,
      init: { service: entity.component.service, entityId: entity.key.entityId, ...start },
      onEnd: (reason) => {
        if (entity.session === session) this.#ended(entity, reason);
      },
      onStreamed: (message) => {
        if (entity.session === session) entity.replica?.told(message, entity.state === 'busy');
      },
    });
    entity.session = session;
    this.#options.signals.entitiesOpened(1);
    return session;
  }

  /** The stream ended with nothing in flight: the next command opens a new one. */
  #ended(entity: Entity, reason: string): void {
    const wasLoading = entity.state === 'loading';
    this.#idle.delete(entity.id);
    this.#turns.leave(entity);
    this.#endSession(entity, 'gone');
    entity.state = 'passive';
    this.#options.onLost(reason);
    if (wasLoading || entity.mailbox.length > 0) this.#activate(entity);
    else this.#forgetIfDone(entity);
    this.#admit();
  }

  /** `isItsTurn`: it has waited for its turn at the function, and this is it. */
  #next(entity: Entity, isItsTurn = false): void {
    const { session } = entity;
    if (session === undefined) return;
    let item = first(entity);
    while (item !== undefined && this.#goesBy(entity, item)) item = first(entity);
    if (item === undefined) {
      if (entity.component.kind === 'action') {
        entity.session = undefined;
        entity.state = 'passive';
        this.#forgetIfDone(entity);
        return;
      }
      if (entity.replica?.leaving) {
        this.#idle.delete(entity.id);
        entity.state = 'leaving';
        return;
      }
      entity.state = 'idle';
      entity.idleSince = performance.now();
      this.#idle.set(entity.id, entity);
      if (this.#queue.size > 0) this.#admit();
      return;
    }
    if (entity.state === 'idle') this.#idle.delete(entity.id);
    if (item.duplicate === undefined && item.command?.idempotencyKey !== undefined) {
      entity.state = 'asking';
      return;
    }
    if (!this.#turns.take(entity, item, isItsTurn)) {
      entity.state = 'held';
      return;
    }
    entity.state = 'busy';
    const command = item.command as Command;
    const answered = (outcome: Outcome) => this.#answered(entity, item, outcome);
    if (entity.replica !== undefined) entity.replica.send(command, answered);
    else session.send({ name: command.method.name, payload: command.payload, metadata: command.metadata }, answered);
  }

  /** Deals with an item that the next one need not wait for; answers whether it was one. */
  #goesBy(entity: Entity, item: Item): boolean {
    const command = item.command as Command;
    // A command that took effect before does nothing now.
    if (item.duplicate === true) {
      this.#options.signals.duplicates(1);
      this.#decided(entity, item, this.#options.repeat(command));
      return true;
    }
    if (command.stream !== 'cancel') return false;
    const { replica } = entity;
    if (!replica?.streamsTo(command.caller)) {
      this.#decided(entity, item, publishing(NO_OUTPUTS));
      return true;
    }
    // What the function does about a caller that has gone counts as what a command does.
    item.running = true;
    replica.cancelStream(item, (effect) => {
      item.running = false;
      this.#decide(entity, item, effect);
    });
    return true;
  }

  #answered(entity: Entity, item: Item, outcome: Outcome): void {
    if (entity.state !== 'busy') return;
    const alone = this.#turns.over(item);
    if (outcome.kind !== 'lost') this.#turns.acquit(item);
    switch (outcome.kind) {
      case 'effect':
        this.#decide(entity, item, outcome.effect);
        break;
      case 'broken':
        this.#reject(entity, item, outcome.error, 'cancel');
        break;
      case 'lost':
        this.#lost(entity, item, outcome.reason, alone);
        break;
    }
    this.#turns.unhold();
  }

  /** `item` is a command, with nothing else in flight, or a cancellation, beside which a command may be. */
  #decide(entity: Entity, item: Item, effect: Effect): void {
    const { replica } = entity;
    let decision: Decision;
    try {
      const position = replica === undefined ? entity : { seq: entity.seq, revision: 0, data: replica.data };
      decision = this.#options.decide(item.command as Command, position, effect);
    } catch (error) {
      const refusal = asFailureOf('FUNCTION_BROKEN_REPLY', error);
      this.#reject(entity, item, refusal, this.#turns.interrupt(entity) ? 'cancel' : 'close');
      return;
    }
    entity.seq += decision.events.length;
    if (decision.value !== undefined) entity.revision = decision.value.revision;
    if (replica === undefined) {
      this.#decided(entity, item, decision);
      this.#next(entity);
      return;
    }
    const isBeside = item.command?.stream === 'cancel' && entity.state !== 'leaving';
    const { change } = decision;
    decision.change = undefined;
    decision = replica.decided(item, effect, decision, !isBeside && replica.leaving === 0);
    this.#decided(entity, item, decision);
    // Deleted, so that the next command starts a new one; or the function is to be told what it may not be told now.
    const isOver = change !== undefined && (change.data === undefined || (isBeside && change.correction !== undefined));
    if (change !== undefined) replica.changed(isOver ? { data: change.data } : change);
    if (!isOver) {
      if (!isBeside) this.#next(entity);
      return;
    }
    this.#endSession(entity, this.#turns.interrupt(entity) ? 'cancel' : 'close');
    this.#goOn(entity);
    this.#admit();
  }

  #look(entity: Entity, item: Item): void {
    this.#duplicates.look(item, () => {
      if (entity.state === 'asking' && first(entity) === item) this.#next(entity);
    });
  }

  /** After a failed command the function's state is not to be trusted (PROTOCOLS 5): the next one starts afresh. */
  #reject(entity: Entity, item: Item, error: StateferryError, end: 'cancel' | 'close' | 'gone'): void {
    this.#endSession(entity, end);
    entity.state = 'passive';
    const rejection = this.#options.reject(item, error);
    if (rejection === 'hold' || 'retryInMs' in rejection) {
      item.lossesAlone = 0;
      this.#rest(entity, rejection === 'hold' ? undefined : rejection.retryInMs);
    } else {
      this.#decided(entity, item, rejection);
      this.#goOn(entity);
    }
    this.#admit();
  }

  /** Its first command waits, and all others behind it: for so long, or until it is told to try again. */
  #rest(entity: Entity, ms: number | undefined): void {
    entity.state = 'resting';
    if (ms !== undefined) entity.rest = setTimeout(() => this.#wake(entity), ms).unref();
  }

  #wake(entity: Entity): void {
    if (entity.state !== 'resting') return;
    clearTimeout(entity.rest);
    this.#goOn(entity);
  }

  /** It has no stream: what waits for it opens a new one. */
  #goOn(entity: Entity): void {
    entity.state = 'passive';
    if (entity.mailbox.length > 0) this.#activate(entity);
    else this.#forgetIfDone(entity);
  }

  #decided(entity: Entity, item: Item, decision: Decision): void {
    this.#options.signals.commands(entity.component.service, 1);
    removeFrom(entity.mailbox, item);
    entity.unsettled++;
    item.decision = decision;
    if (decision.key === undefined) this.#duplicates.forget(item);
    else this.#duplicates.decided(item);
    item.onJournaled = () => {
      if (decision.key !== undefined) this.#duplicates.journaled(item);
      this.#settled(entity);
    };
    this.#options.onDecided(item);
  }

  #settled(entity: Entity): void {
    entity.unsettled--;
    if (entity.unsettled > 0) return;
    if (entity.state === 'settling') {
      entity.state = 'passive';
      this.#activate(entity);
    } else if (entity.state === 'passive') this.#forgetIfDone(entity);
  }

  /** Nothing of the command was journaled, so it is sent again; whether the function is there is asked first. */
  #lost(entity: Entity, item: Item, reason: string, alone: boolean): void {
    this.#options.onLost(reason);
    if (this.#turns.condemns(item, alone)) {
      const { method } = item.command as Command;
      const error = new StateferryError(
        'FUNCTION_LOST',
        `the function went away ${item.losses} times while it had this command of ${method.component.service}/${method.name}, ` +
          `the last ${item.lossesAlone} times with nothing else to do (${reason})`,
      );
      this.#reject(entity, item, error, 'gone');
      return;
    }
    this.#options.signals.retries(1);
    this.#endSession(entity, 'gone');
    entity.state = 'passive';
    if (item.losses === 1) this.#activate(entity);
    else this.#rest(entity, Math.min(LOSS_PAUSE_MS * 2 ** item.losses, LOSS_PAUSE_MAX_MS));
    this.#admit();
  }

  #endSession(entity: Entity, how: 'close' | 'cancel' | 'gone'): void {
    const { session } = entity;
    if (session === undefined) return;
    const { replica } = entity;
    entity.session = undefined;
    entity.replica = undefined;
    if (replica !== undefined) this.#endReplica(entity, replica);
    if (how === 'close') session.close();
    else if (how === 'cancel') session.cancel();
    if (entity.component.kind === 'action') return;
    this.#streams--;
    this.#options.signals.entitiesClosed(1);
  }

  #endReplica(entity: Entity, replica: Replica): void {
    if (entity.state === 'dropped') {
      replica.forget();
      return;
    }
    replica.end('the entity was closed, and its streams with it: call again');
    for (const item of replica.takeLeaving()) {
      item.running = false;
      this.#decided(entity, item, publishing(NO_OUTPUTS));
    }
  }

  #forgetIfDone(entity: Entity): void {
    if (entity.state === 'passive' && entity.mailbox.length === 0 && entity.unsettled === 0) {
      this.#entities.delete(entity.id);
    }
  }

  #expire(): void {
    for (const [item, entity] of this.#turns.overdue(performance.now() - this.#options.deadlineMs)) {
      const { method } = item.command as Command;
      const error = new StateferryError(
        'FUNCTION_TIMEOUT',
        `${method.component.service}/${method.name} gave no answer within ${this.#options.deadlineMs} ms (function.deadlineMs)`,
      );
      this.#reject(entity, item, error, 'cancel');
    }
    for (const replica of this.#streaming) replica.expire();
    this.#turns.unhold();
  }
}
