import avro from 'avsc';
import { StateferryError } from '../errors.ts';
import type { Fields } from './expected.ts';
import type { Flight } from './flights.ts';
import { TOPICS } from './ground.ts';

// Everything here is written down once more, with the Avro library alone: nothing is shared with what is judged.

/** What producers of flights had before anybody knew of the function. */
const FLIGHT = {
  type: 'record',
  name: 'Departure',
  namespace: 'airline',
  fields: [
    { name: 'origin', type: 'string' },
    { name: 'destination', type: 'string' },
    { name: 'date', type: 'string' },
    { name: 'delay', type: 'int' },
    { name: 'distance', type: 'int' },
  ],
} as const;
/** A zero byte and the id. */
const HEAD_BYTES = 5;

/** Registers the schema of the flights; what it resolves to writes them. */
export async function registerFlights(url: string): Promise<(flight: Flight) => Buffer> {
  const { id } = await ask<{ id: number }>(`${url}/subjects/${TOPICS.flights}-value/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/vnd.schemaregistry.v1+json' },
    body: JSON.stringify({ schema: JSON.stringify(FLIGHT) }),
  });
  const type = avro.Type.forSchema(structuredClone(FLIGHT) as unknown as avro.Schema);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt32BE(id, 1);
  return (flight) => Buffer.concat([head, type.toBuffer(flight)]);
}

/** Reads the values of the topics, by the schemas that the registry has now. */
export async function createFramedDecode(url: string): Promise<(value: Buffer) => Fields> {
  const types = new Map<number, avro.Type>();
  for (const subject of await ask<string[]>(`${url}/subjects`)) {
    const { id, schema } = await ask<{ id: number; schema: string }>(`${url}/subjects/${subject}/versions/latest`);
    types.set(id, avro.Type.forSchema(JSON.parse(schema)));
  }
  return (value) => {
    const id = value.readUInt32BE(1);
    const type = types.get(id);
    if (type === undefined) throw new TypeError(`no subject has schema ${id}`);
    const fields = type.fromBuffer(value.subarray(HEAD_BYTES)) as Fields;
    return Object.fromEntries(Object.entries(fields).map(([name, held]) => [inCamelCase(name), held]));
  };
}

function inCamelCase(name: string): string {
  return name.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

async function ask<T>(url: string, init?: RequestInit): Promise<T> {
  const answer = await fetch(url, init);
  if (answer.ok) return (await answer.json()) as T;
  throw new StateferryError(
    'DEMO_FAILED',
    `the schema registry answers ${url} with status ${answer.status}: ${await answer.text()}`,
  );
}

/** The engine's settings that make all topics Avro. */
export function avroSettings(url: string): Readonly<Record<string, string>> {
  const airport = 'flights.AirportService';
  const format = 'avro';
  return {
    STATEFERRY_REGISTRY_URLS: url,
    STATEFERRY_REGISTRY_REGISTER: 'true',
    STATEFERRY_TOPICS_SUBSCRIPTIONS: JSON.stringify([
      { topic: TOPICS.flights, service: airport, method: 'Record', format: 'registry' },
    ]),
    STATEFERRY_TOPICS_DESTINATIONS: JSON.stringify({
      replies: [
        { service: airport, method: 'Record', topic: TOPICS.statuses, format },
        { service: 'flights.AlertService', method: 'Raise', topic: TOPICS.alerts, format },
      ],
      events: [
        {
          entityType: 'airports',
          topic: TOPICS.events,
          format,
          subjectNameStrategy: 'TopicRecordNameStrategy',
          types: ['flights.FlightRecorded', 'flights.CongestionStarted', 'flights.CongestionEnded'],
        },
      ],
    }),
  };
}
