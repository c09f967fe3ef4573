import type { EntitySession, Outcome } from '../functions/session.ts';
import type { Caller, Command } from '../model/command.ts';
import type { Effect } from '../model/effect.ts';
import type { OutputRecord } from '../model/record.ts';
import type { ReplicatedData } from '../model/replicated.ts';
import type { StreamedMessage } from '../protocol/dialect.ts';
import type { Decision } from './decide.ts';
import type { ReplicatedChange } from './decide-replicated.ts';
import type { Item, ItemOwner } from './item.ts';
import type { OpenStream, StreamOutputs } from './streams.ts';

/** A stream of answers whose caller was not heard of for so long is cancelled; callers renew theirs far more often (doors/answer-stream.ts). */
const LEASE_MS = 30_000;

export interface ReplicaOptions {
  readonly session: EntitySession;
  /** Undefined: the entity does not exist yet. */
  readonly data: ReplicatedData | undefined;
  readonly shard: ItemOwner;
  readonly outputs: StreamOutputs;
  /** Those with streams of answers: each keeps itself in it. */
  readonly streaming: Set<Replica>;
  /** Something of the shard waits for a chunk to go with. */
  readonly onPublished: (shard: ItemOwner) => void;
}

/**
 * What the runtime holds of a replicated entity while it has a stream at the function: its value, since the runtime
 * merges, and the streams of answers that its callers take. Nothing of those is told before what it may tell of is
 * committed: it goes with what the command in flight leads to, or behind what the last one has led to.
 */
export class Replica {
  data: ReplicatedData | undefined;
  readonly #options: ReplicaOptions;
  /** By the number of the command that opened each. */
  readonly #streams = new Map<number, OpenStream>();
  /** The number of the command that was sent last. */
  #sent = 0;
  /** What came for streams while a command was in flight: if that comes to nothing, so does this. */
  readonly #early: StreamedMessage[] = [];
  /** The last item that was decided while there were streams. */
  #latest: Item | undefined;
  /** Cancellations that are at the function, in order: the first of the entity's items. */
  readonly #leaving: Item[] = [];

  constructor(options: ReplicaOptions) {
    this.#options = options;
    this.data = options.data;
  }

  get isStreaming(): boolean {
    return this.#streams.size > 0;
  }

  /** It has a stream of this caller. */
  streamsTo(caller: Caller | undefined): boolean {
    return this.#find(caller) !== undefined;
  }

  /** The caller is still there; answers whether anything is still told to it. */
  renew(caller: Caller | undefined): boolean {
    const [, stream] = this.#find(caller) ?? [];
    if (stream === undefined || stream.isOver) return false;
    stream.renewedAt = performance.now();
    return true;
  }

  send({ method, payload, metadata, caller }: Command, done: (outcome: Outcome) => void): void {
    const streamed = method.serverStreaming && caller?.streamed === true;
    this.#sent = this.#options.session.send({ name: method.name, payload, metadata, streamed }, done);
  }

  /** How many of the entity's items are cancellations that are at the function. */
  get leaving(): number {
    return this.#leaving.length;
  }

  /** The function learns that the caller of a stream has gone, and may say what it does about it. */
  cancelStream(item: Item, done: (effect: Effect) => void): void {
    const [id] = this.#find(item.command?.caller) ?? [];
    if (id === undefined) throw new Error('there is no stream of this caller');
    this.#leaving.push(item);
    this.#options.session.cancelStream(id, (effect) => {
      this.#leaving.shift();
      this.#close(id);
      done(effect);
    });
  }

  /** The cancellations that are at the function, of which nothing more will be heard. */
  takeLeaving(): readonly Item[] {
    return this.#leaving.splice(0);
  }

  /**
   * A command was decided: the stream that it opens, and what came for streams meanwhile. `isLast`: nothing more is in
   * flight that this may have come of.
   */
  decided(item: Item, { streamed, sideEffects }: Effect, decision: Decision, isLast: boolean): Decision {
    const { command } = item;
    if (streamed === true && command?.caller !== undefined && command.stream === undefined) {
      this.#streams.set(this.#sent, {
        command: { ...command, caller: command.caller },
        items: 1,
        derived: sideEffects.length,
        renewedAt: performance.now(),
        isOver: false,
      });
      this.#options.streaming.add(this);
    }
    if (this.isStreaming) this.#latest = item;
    if (this.#early.length === 0 || !isLast) return decision;
    const early = this.#early.splice(0).flatMap((message) => this.#toOutputs(message));
    return { ...decision, outputs: [...decision.outputs, ...early] };
  }

  /** What a command has made of the value, after it was decided; with nothing in flight, if there is a correction. */
  changed({ data, correction }: ReplicatedChange): void {
    this.data = data;
    if (correction !== undefined) this.#options.session.change(correction);
    // Of a deleted one there is nothing more to tell.
    if (data === undefined) this.end();
  }

  /** One more message of the function's for a stream. `isInFlight`: a command is. */
  told(message: StreamedMessage, isInFlight: boolean): void {
    if (isInFlight || this.leaving > 0) this.#early.push(message);
    else this.#publish(this.#toOutputs(message), this.#latest);
  }

  /** Callers that did not say for too long that they are there are taken for gone. */
  expire(): void {
    const limit = performance.now() - LEASE_MS;
    for (const stream of this.#streams.values()) {
      if (stream.isOver || stream.renewedAt > limit) continue;
      stream.isOver = true;
      this.#publish([this.#options.outputs.cancel(stream)], undefined);
    }
  }

  /** Ends its streams, in good order or for a reason that their callers are told. */
  end(reason?: string): void {
    const outputs = [...this.#streams.values()].flatMap((stream) => this.#options.outputs.end(stream, reason));
    this.forget();
    this.#publish(outputs, this.#latest);
  }

  /** Nothing more can be told to anybody; whoever renews a stream will learn that it is gone. */
  forget(): void {
    this.#streams.clear();
    this.#options.streaming.delete(this);
  }

  /** Nothing for a stream that is not there any more: the function may not have known. */
  #toOutputs(message: StreamedMessage): readonly OutputRecord[] {
    const stream = this.#streams.get(message.commandId);
    if (stream === undefined) return [];
    const outputs = this.#options.outputs.message(stream, message);
    if (message.isEnd) this.#close(message.commandId);
    return outputs;
  }

  #close(id: number): void {
    this.#streams.delete(id);
    if (!this.isStreaming) this.#options.streaming.delete(this);
  }

  #find(caller: Caller | undefined): readonly [number, OpenStream] | undefined {
    if (caller === undefined) return undefined;
    for (const entry of this.#streams) {
      if (Buffer.compare(entry[1].command.caller.correlation, caller.correlation) === 0) return entry;
    }
    return undefined;
  }

  #publish(outputs: readonly OutputRecord[], after: Item | undefined): void {
    if (outputs.length === 0) return;
    const { shard } = this.#options;
    shard.publish(outputs, after);
    this.#options.onPublished(shard);
  }
}
