import { payloadToJson } from '../../codec/json.ts';
import type { Config } from '../../config/config.ts';
import { messageOf, StateferryError } from '../../errors.ts';
import { createFunctionClient } from '../../functions/client.ts';
import { eventsOf } from '../../inspect/events.ts';
import type { History } from '../../inspect/scope.ts';
import type { StateSource } from '../../inspect/state-at.ts';
import type { Payload } from '../../model/payload.ts';
import { readFunctionFiles } from '../../named-files.ts';
import type { Descriptors } from '../../protocol/descriptors.ts';
import { probeWith } from '../../verify/observe-entity.ts';
import { discoverOnce, probeNamed } from '../ask-function.ts';
import { jsonText, RawJson } from './json-text.ts';

/**
 * Asks the configured function for the state of an event sourced entity: on a stream of its own, with snapshot and events
 * as the entity had them, and a command whose effect is thrown away.
 * @throws StateferryError FUNCTION_UNAVAILABLE, CONFIG_INVALID for a method that is none of the entity's, FUNCTION_SPEC for
 * one that takes more than the entity's id, FUNCTION_FAILED where the function does not answer as it should.
 */
export async function probeState(
  config: Config,
  history: History,
  asked: {
    readonly entityType: string;
    readonly entityId: string;
    readonly source: StateSource;
    readonly probe: string;
  },
): Promise<RawJson> {
  const { entityType, entityId, source } = asked;
  const client = createFunctionClient(new URL(config.function.url), readFunctionFiles(config));
  try {
    const found = await discoverOnce(client, config);
    const method = probeNamed(found, asked.probe);
    if (method.component.entityType !== entityType) {
      throw new StateferryError(
        'CONFIG_INVALID',
        `--probe names a method of "${method.component.entityType}", and "${entityId}" is of "${entityType}".`,
      );
    }
    // The SDK of Python starts from no snapshot (verify knows it, too).
    const snapshot = found.spec.supportLibrary.includes('python-support') ? undefined : source.snapshot;
    const { observe } = probeWith(client, found.dialect, method, config.function.deadlineMs);
    const init = { service: method.component.service, entityId, ...(snapshot && { snapshot }) };
    const events = eventsOf(history, { entityType, entityId }, snapshot?.seq ?? source.voidThrough, source.seq);
    let answer: Payload;
    try {
      answer = await observe(method.component, init, events);
    } catch (cause) {
      if (cause instanceof StateferryError) throw cause;
      const service = `${method.component.service}/${method.name}`;
      throw new StateferryError(
        'FUNCTION_FAILED',
        `the function did not tell the state of "${entityId}" by ${service}: ${messageOf(cause)}. Does it take its own events and that method?`,
        { cause },
      );
    }
    return readAnswer(found.descriptors, answer);
  } finally {
    client.close();
  }
}

function readAnswer(descriptors: Descriptors, answer: Payload): RawJson {
  try {
    return new RawJson(payloadToJson(descriptors, answer, { emitDefaults: true }));
  } catch (error) {
    if (!(error instanceof StateferryError)) throw error;
    // What cannot be decoded is shown as it is.
    const { typeUrl: type, value } = answer;
    return new RawJson(jsonText({ type, bytes: value.length, base64: Buffer.from(value).toString('base64') }));
  }
}
