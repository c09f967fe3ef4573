import { randomBytes } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import kafkajs, { type Kafka, type Message, type Producer } from 'kafkajs';
import { asBuffer } from '../bytes.ts';
import { type AnswerOutcome, CORRELATION_BYTES, decodeAnswer } from '../codec/answer-record.ts';
import { encodeCommandRecord } from '../codec/command-record.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { Caller, StreamControl } from '../model/command.ts';
import type { Method } from '../model/component.ts';
import type { Metadata, Payload } from '../model/payload.ts';
import type { OutputRecord } from '../model/record.ts';
import { createPacedLoop } from '../paced.ts';
import { checkAcknowledged } from '../topics/acknowledged.ts';
import { partitionFor } from '../topics/partition.ts';
import { BATCH_BYTES, recordBytes } from '../topics/record-bytes.ts';
import { createTail, type Tail } from '../topics/tail.ts';
import { createAnswerStream, type Waiting } from './answer-stream.ts';
import { CallFailure, type DoorReply } from './calls.ts';

const { Partitioners } = kafkajs;

/** How long a broker holds a fetch of answers open when there are none, in ms. */
const ANSWER_WAIT_MS = 500;
const REOPEN_MIN_MS = 100;
const REOPEN_MAX_MS = 5_000;
/** A Node timer that is longer ends at once. */
const MAX_TIMER_MS = 2_147_483_647;
/** Records of one produce request at most. */
const SEND_RECORDS = 500;

/** A command that goes through the log: of an entity, or of an action that nobody has to hear from. */
export interface LogCommand {
  readonly method: Method;
  /** Empty for actions. */
  readonly entityId: string;
  readonly payload: Payload;
  readonly metadata: Metadata;
}

/**
 * The way of a door's commands: onto the command topic, where the owner of their shard, in whatever process, takes them
 * in order with all others; and of the answers, back by the answer topic, once what they tell is committed.
 */
export interface LogCalls {
  /**
   * Resolves when the command has taken effect, and so has every synchronous side effect that it led to. `doneOnly`:
   * it is itself such a side effect, and its answer is of no interest.
   * @throws CallFailure with the function's failure; UNAVAILABLE or DEADLINE_EXCEEDED where nobody knows what became of
   * it, or will: it takes effect at most once.
   */
  ask(
    command: LogCommand,
    wait: { readonly doneOnly: boolean; readonly signal: AbortSignal; readonly deadline: number },
  ): Promise<AnswerOutcome>;
  /**
   * The answers to a command of a replicated entity that streams them, each once it is committed. Ending the iteration
   * early, and `signal`, tell the owner that the caller has gone. The first one is waited for until `deadline`.
   * @throws CallFailure as `ask` does, and UNAVAILABLE when the entity was closed or has moved: what was told, holds
   */
  stream(
    command: LogCommand,
    wait: { readonly signal: AbortSignal; readonly deadline: number },
  ): AsyncGenerator<DoorReply>;
  /** Resolves when the log has the commands: they take effect once. @throws CallFailure where nobody knows whether it has. */
  tell(commands: readonly LogCommand[]): Promise<void>;
}

/** What `createLogCalls` is made with, beside what it is asked. */
export interface LogCallsOptions {
  readonly kafka: Kafka;
  readonly commandTopic: string;
  /** The largest batch that the command topic takes, in bytes. */
  readonly commandBytes: number;
  readonly answerTopic: string;
  readonly answerPartitions: number;
  readonly shards: number;
  /** The answers stopped coming, or come again. */
  readonly onTrouble: (reason: string) => void;
}

interface ToSend {
  readonly messages: readonly Message[];
  readonly done: (failure?: CallFailure) => void;
}

/** `start` before the first call, `stop` after the last. */
export function createLogCalls(options: LogCallsOptions): LogCalls & {
  start(): Promise<void>;
  /** Commands wait here, or go to the log again. */
  hold(held: boolean): void;
  stop(): Promise<void>;
} {
  const { kafka, commandTopic, answerTopic, shards } = options;
  // Any partition will do; several processes may read the same one, and take from it what is theirs.
  const partition = randomBytes(4).readUInt32BE() % options.answerPartitions;
  const pending = new Map<string, Waiting>();
  const waiting: ToSend[] = [];
  // Nothing is sent twice: a command that came to the log two times would take effect two times.
  const producer: Producer = kafka.producer({
    // Every record names its partition.
    createPartitioner: Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
    retry: { retries: 0 },
  });
  /** What answers are read by; undefined: they are not read at present. */
  let tail: Tail | undefined;
  /** The one that was made last, whether it is open or not. */
  let latest: Tail | undefined;
  let reopening: NodeJS.Timeout | undefined;
  let stopped = false;
  let held = false;

  const sending = createPacedLoop({
    intervalMs: 0,
    async work() {
      if (waiting.length === 0 || held) return false;
      const batch: ToSend[] = [];
      const messages: Message[] = [];
      let bytes = BATCH_BYTES;
      while (waiting[0] !== undefined && messages.length < SEND_RECORDS) {
        const next = waiting[0];
        const size = next.messages.reduce((sum, { value, key }) => sum + sizeOf(value) + sizeOf(key) + 100, 0);
        // A request must fit into what the topic takes, even if all of it goes to one partition.
        if (messages.length > 0 && bytes + size > options.commandBytes) break;
        waiting.shift();
        batch.push(next);
        messages.push(...next.messages);
        bytes += size;
      }
      let failure: CallFailure | undefined;
      try {
        const sent = [{ topic: commandTopic, messages }];
        checkAcknowledged(sent, await producer.sendBatch({ acks: -1, topicMessages: sent }));
      } catch (error) {
        failure = new CallFailure(
          status.UNAVAILABLE,
          `the log did not confirm the command (${messageOf(error)}): whether it takes effect is not known, and if so, it does once`,
          { cause: error },
        );
      }
      for (const { done } of batch) done(failure);
      return true;
    },
  });

  function send(messages: readonly Message[], done: ToSend['done']): void {
    waiting.push({ messages, done });
    sending.wake();
  }

  function toMessage(command: LogCommand, caller: Caller | undefined, stream?: StreamControl): Message {
    const { method, entityId } = command;
    const isAction = method.component.kind === 'action';
    const key = isAction ? null : Buffer.from(entityId);
    const record = encodeCommandRecord({
      id: '',
      service: method.component.service,
      method: method.name,
      entityId,
      payload: command.payload,
      metadata: command.metadata,
      replyTo: [],
      caller,
      stream,
      key,
      topic: commandTopic,
      partition: key === null ? randomBytes(4).readUInt32BE() % shards : partitionFor(key, shards),
    });
    const bytes = BATCH_BYTES + recordBytes(record);
    if (bytes > options.commandBytes) {
      throw new CallFailure(
        status.RESOURCE_EXHAUSTED,
        `the command has ${bytes} bytes as a record, and "${commandTopic}" takes at most ${options.commandBytes}`,
      );
    }
    return asMessage(record);
  }

  function mustListen(): void {
    if (tail !== undefined) return;
    throw new CallFailure(status.UNAVAILABLE, 'answers cannot be read from Kafka at present; nothing was done');
  }

  async function listen(pause: number): Promise<void> {
    const opened = createTail({
      kafka,
      topic: answerTopic,
      partition,
      maxWaitMs: ANSWER_WAIT_MS,
      onRecord(record) {
        try {
          const answer = decodeAnswer(record);
          pending.get(answer.correlation)?.answered(answer);
        } catch (error) {
          if (!(error instanceof StateferryError)) throw error;
          options.onTrouble(`offset ${record.offset} of "${answerTopic}": ${error.message}`);
        }
      },
      onRemoved: (offsets) =>
        options.onTrouble(
          `${offsets} records of "${answerTopic}" were removed before they were read: the retention of its topic is too short`,
        ),
      onCrash: (error) => lost(opened, messageOf(error), pause),
    });
    latest = opened;
    try {
      await opened.start();
      tail = opened;
    } catch (error) {
      await opened.stop().catch(() => undefined);
      throw error;
    }
  }

  /** What is answered while nobody listens is not heard: whoever waits is told so. */
  function lost(was: Tail, reason: string, pause: number): void {
    // One that never began is told of by its start.
    if (stopped || tail !== was) return;
    tail = undefined;
    void was.stop().catch(() => undefined);
    options.onTrouble(`answers cannot be read: ${reason}`);
    for (const call of [...pending.values()]) call.end(unknown(`the answers cannot be read (${reason})`));
    reopen(pause);
  }

  function reopen(pause: number): void {
    reopening = setTimeout(() => {
      listen(REOPEN_MIN_MS).then(
        () => options.onTrouble('answers are read again'),
        () => {
          if (!stopped) reopen(Math.min(pause * 2, REOPEN_MAX_MS));
        },
      );
    }, pause);
  }

  return {
    async start() {
      await producer.connect();
      await listen(REOPEN_MIN_MS);
    },
    hold(wanted) {
      held = wanted;
      if (!held) sending.wake();
    },
    async stop() {
      stopped = true;
      clearTimeout(reopening);
      sending.stop();
      for (const call of [...pending.values()]) call.end(unknown('the runtime is shutting down'));
      for (const { done } of waiting.splice(0))
        done(new CallFailure(status.UNAVAILABLE, 'the runtime is shutting down'));
      await latest?.stop().catch(() => undefined);
      await producer.disconnect().catch(() => undefined);
    },
    ask(command, { doneOnly, signal, deadline }) {
      return new Promise<AnswerOutcome>((resolve, reject) => {
        mustListen();
        const correlation = randomBytes(CORRELATION_BYTES);
        const id = correlation.toString('hex');
        const message = toMessage(command, { partition, correlation, doneOnly, awaits: 0 });
        const settle = (result: AnswerOutcome | CallFailure): void => {
          if (!pending.delete(id)) return;
          clearTimeout(timer);
          signal.removeEventListener('abort', onAbort);
          if (result instanceof CallFailure) reject(result);
          else if (result.kind === 'failure') reject(new CallFailure(result.code, result.message));
          else resolve(result);
        };
        const onAbort = (): void => settle(new CallFailure(status.CANCELLED, 'the caller is gone'));
        const timer = setTimeout(
          () =>
            settle(
              new CallFailure(
                status.DEADLINE_EXCEEDED,
                'no answer within the deadline: whether the command takes effect is not known, and if so, it does once',
              ),
            ),
          untilMs(deadline),
        );
        // Records of the answer topic that belong to it, as far as is known.
        let expected = 1;
        let outcome: AnswerOutcome = { kind: 'done' };
        pending.set(id, {
          answered(answer) {
            expected += answer.awaits - 1;
            // The ends of side effects are only counted.
            if (answer.outcome.kind !== 'done') outcome = answer.outcome;
            if (expected === 0) settle(outcome);
          },
          end: settle,
        });
        if (signal.aborted) onAbort();
        else {
          signal.addEventListener('abort', onAbort);
          send([message], (failure) => {
            if (failure !== undefined) settle(failure);
          });
        }
      });
    },
    async *stream(command, { signal, deadline }) {
      mustListen();
      const correlation = randomBytes(CORRELATION_BYTES);
      const id = correlation.toString('hex');
      const caller: Caller = { partition, correlation, doneOnly: false, awaits: 0, streamed: true };
      const message = toMessage(command, caller);
      // It says nothing but whose stream it is about.
      const about = { ...command, payload: { typeUrl: '', value: new Uint8Array() }, metadata: [] };
      const say = (what: StreamControl): void => send([toMessage(about, caller, what)], () => undefined);
      const answers = createAnswerStream({ firstWithinMs: untilMs(deadline), renew: () => say('renew') });
      const onAbort = (): void => answers.end(new CallFailure(status.CANCELLED, 'the caller is gone'));
      pending.set(id, answers);
      signal.addEventListener('abort', onAbort);
      try {
        if (signal.aborted) onAbort();
        else {
          send([message], (failure) => {
            if (failure !== undefined) answers.end(failure);
          });
        }
        yield* answers.read();
      } finally {
        signal.removeEventListener('abort', onAbort);
        pending.delete(id);
        answers.end(new CallFailure(status.CANCELLED, 'the caller is gone'));
        // What the log does not take is made up for by the owner, who hears nothing more of the caller.
        if (answers.isOpen && !stopped) say('cancel');
      }
    },
    tell(commands) {
      return new Promise((resolve, reject) => {
        send(
          commands.map((command) => toMessage(command, undefined)),
          (failure) => (failure === undefined ? resolve() : reject(failure)),
        );
      });
    },
  };
}

function untilMs(deadline: number): number {
  return Math.min(MAX_TIMER_MS, Math.max(0, deadline - Date.now()));
}

function unknown(reason: string): CallFailure {
  return new CallFailure(
    status.UNAVAILABLE,
    `${reason}: whether the command takes effect is not known, and if so, it does once`,
  );
}

function asMessage({ key, value, partition, headers }: OutputRecord): Message {
  return {
    key: key === null ? null : asBuffer(key),
    value: value === null ? null : asBuffer(value),
    partition,
    headers: Object.fromEntries(
      headers.map(([name, text]) => [name, typeof text === 'string' ? text : asBuffer(text)]),
    ),
  };
}

function sizeOf(bytes: Message['value'] | undefined): number {
  return bytes == null ? 0 : Buffer.byteLength(bytes);
}
