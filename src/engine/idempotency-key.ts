import { createHash } from 'node:crypto';
import type { Command } from '../model/command.ts';
import type { Metadata } from '../model/payload.ts';

/** Which header of an input topic's records holds the idempotency key, in lower case. */
export interface IdempotencyKeySource {
  readonly topic: string;
  readonly header: string;
}

/**
 * The key under which a command takes effect once: SHA-256, in base64, of whose command it is and of what its producer
 * named it by. Undefined where its topic has no keys, or the record had none.
 *
 * Only a command that a record brought has one: what functions send in turn is exactly once by itself. An action's
 * command needs a record key, as nothing keeps the others apart in time.
 */
export function createIdempotencyKeys(
  sources: readonly IdempotencyKeySource[],
): (command: Omit<Command, 'idempotencyKey'>) => string | undefined {
  if (sources.length === 0) return () => undefined;
  const headers = new Map(sources.map(({ topic, header }) => [topic, header]));
  return ({ id, method, entityId, key, metadata }) => {
    const topic = externalTopic(id);
    const header = topic === undefined ? undefined : headers.get(topic);
    if (header === undefined || key === null) return undefined;
    const given = headerOf(metadata, header);
    if (given === undefined || given.length === 0) return undefined;
    const { component } = method;
    const hash = createHash('sha256');
    hash.update(component.kind === 'action' ? `${component.service}\0` : `${component.entityType}\0${entityId}\0`);
    if (component.kind === 'action') hash.update(key).update('\0');
    // The CloudEvents specification: id and source together name an event.
    if (header === 'ce-id') hash.update(`${headerOf(metadata, 'ce-source') ?? ''}\0`);
    return hash.update(given).digest('base64');
  };
}

/** The input topic of the record that brought a command; undefined for one that a function sent. A stray keeps its id. */
function externalTopic(commandId: string): string | undefined {
  const parts = /^(.+)\/\d+\/\d+$/.exec(commandId);
  return parts?.[1];
}

function headerOf(metadata: Metadata, name: string): string | Uint8Array | undefined {
  return metadata.find(({ key }) => key.toLowerCase() === name)?.value;
}
