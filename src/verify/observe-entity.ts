import { Writer } from 'protobufjs/minimal.js';
import { asBuffer } from '../bytes.ts';
import { asProtobuf } from '../codec/any.ts';
import { StateferryError } from '../errors.ts';
import type { FunctionClient } from '../functions/client.ts';
import { openEntitySession } from '../functions/session.ts';
import type { Component, Method } from '../model/component.ts';
import type { Payload } from '../model/payload.ts';
import type { Dialect, EntityInit } from '../protocol/dialect.ts';

/** What shows the state of an event sourced entity at the function, after it was loaded in one of two ways. */
export interface Observation {
  /** How it is observed, for the report. */
  readonly by: string;
  /**
   * Loads the entity, hands over `events` in order, and resolves to what shows its state. Rejects with what the function
   * did instead, or after `deadlineMs`.
   */
  observe(
    component: Component,
    init: EntityInit,
    events: AsyncIterable<{ readonly seq: number; readonly payload: Payload }>,
  ): Promise<Payload>;
}

/** The state itself, for which the dialect has a question; undefined for a dialect that has none. */
export function askForState(client: FunctionClient, dialect: Dialect, deadlineMs: number): Observation | undefined {
  const { eventSourced } = dialect;
  const { state } = eventSourced;
  if (state === undefined) return undefined;
  return {
    by: 'the state that the function tells (snapshot_request)',
    async observe(component, init, events) {
      const stream = client.stream(eventSourced.path);
      let timer: NodeJS.Timeout | undefined;
      const answered = new Promise<Payload>((resolve, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
        stream.on('data', (bytes: Buffer) => {
          const told = state.decodeReply(bytes);
          if (told !== undefined) return resolve(told);
          const out = eventSourced.decodeOut(bytes);
          reject(new Error(out.kind === 'failure' ? `it failed: ${out.description}` : 'it answered something else'));
        });
        stream.on('error', reject);
        stream.on('end', () => reject(new Error(`${component.service} ended the stream`)));
      });
      // It may come before all events are handed over.
      answered.catch(() => undefined);
      try {
        stream.write(asBuffer(eventSourced.encodeInit(init)));
        for await (const { seq, payload } of events) {
          const isTaken = stream.write(asBuffer(eventSourced.encodeEvent(seq, payload)));
          if (!isTaken) await Promise.race([new Promise<void>((resolve) => stream.once('drain', resolve)), answered]);
        }
        stream.write(asBuffer(state.encodeRequest(1)));
        return await answered;
      } finally {
        clearTimeout(timer);
        // What is cancelled reports that it was.
        stream.on('error', () => undefined);
        stream.cancel();
      }
    },
  };
}

/** The answer to a command with the entity's id and nothing else in it. What else the command does is thrown away. */
export function probeWith(client: FunctionClient, dialect: Dialect, method: Method, deadlineMs: number): Observation {
  return {
    by: `the answer to ${method.component.service}/${method.name}, whose effect is thrown away`,
    async observe(component, init, events) {
      let timer: NodeJS.Timeout | undefined;
      let fail: (error: Error) => void = () => undefined;
      const failed = new Promise<never>((_, reject) => {
        fail = reject;
      });
      failed.catch(() => undefined);
      const session = openEntitySession({
        client,
        dialect,
        component,
        init,
        onEnd: (reason) => fail(new Error(reason)),
      });
      try {
        for await (const { seq, payload } of events) {
          session.replay(seq, payload);
          await Promise.race([session.drained(), failed]);
        }
        return await Promise.race([
          failed,
          new Promise<Payload>((resolve, reject) => {
            timer = setTimeout(() => reject(new Error(`no answer within ${deadlineMs} ms`)), deadlineMs);
            session.send(
              {
                name: method.name,
                payload: asProtobuf(method.inputType, inputOf(method, init.entityId)),
                metadata: [],
              },
              (outcome) => {
                if (outcome.kind === 'lost') reject(new Error(outcome.reason));
                else if (outcome.kind === 'broken') reject(outcome.error);
                else if (outcome.effect.answer.kind === 'reply') resolve(outcome.effect.answer.payload);
                else reject(new Error(`the probe was answered by a ${outcome.effect.answer.kind}`));
              },
            );
          }),
        ]);
      } finally {
        clearTimeout(timer);
        session.cancel();
      }
    },
  };
}

/** @throws StateferryError FUNCTION_SPEC for a method that takes more than one plain text as the entity's id. */
function inputOf(method: Method, entityId: string): Uint8Array {
  const [field, ...others] = method.entityKeyFields;
  if (field === undefined || others.length > 0 || field.scalar !== 'string') {
    throw new StateferryError(
      'FUNCTION_SPEC',
      `--probe names ${method.component.service}/${method.name}, whose entity key is not one field of type string. Name a method whose input has one.`,
    );
  }
  return Writer.create()
    .uint32((field.number << 3) | 2)
    .string(entityId)
    .finish();
}
