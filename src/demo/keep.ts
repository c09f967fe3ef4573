import { DEPLOYMENT, SCHEMA, TOPICS } from './ground.ts';
import type { Scene } from './scene.ts';

/** What to try by hand while everything is kept running. */
export function howToGoOn({ addresses, engine, fn }: Scene): string {
  const { brokers, databaseUrl, http, doors, registry } = addresses;
  const flight = { origin: 'SFO', destination: 'LAX', date: '2001/04/01 00:00', delay: 42, distance: 337 };
  const publish = [
    `const { Kafka } = require('kafkajs')`,
    `const p = new Kafka({ brokers: '${brokers}'.split(',') }).producer()`,
    `p.connect()`,
    `.then(() => p.send({ topic: '${TOPICS.flights}', messages: [{ key: '${flight.origin}', value: JSON.stringify(${JSON.stringify(flight).replaceAll('"', "'")}), headers: { 'content-type': 'application/json' } }] }))`,
    `.then(() => p.disconnect())`,
  ];
  const script = `${publish[0]}; ${publish[1]}; ${publish.slice(2).join('')}`;
  const topics =
    registry === undefined
      ? `in: ${TOPICS.flights} (JSON); out: ${TOPICS.statuses}, ${TOPICS.alerts} (protobuf), ${TOPICS.events} (JSON)`
      : `in: ${TOPICS.flights}; out: ${TOPICS.statuses}, ${TOPICS.alerts}, ${TOPICS.events} (all Avro, schemas at ${registry})`;
  const oneMore = `One more flight, from this folder:

  KAFKAJS_NO_PARTITIONER_WARNING=1 node -e "${script}"

`;
  const newest = `select seq, type_url, command_id, at from ${SCHEMA}.event where entity_id = '${flight.origin}' order by seq desc limit 3`;
  return `Everything goes on running until Ctrl-C.

  brokers      ${brokers}
  topics       ${topics}
  group        ${DEPLOYMENT}
  processes    engine ${engine.pid} (${engine.logFile})
               function ${fn.pid} (${fn.logFile}): kill -9 either, and it is started again

${registry === undefined ? oneMore : ''}What became of flights, in Postgres:

  psql "${databaseUrl ?? '$DATABASE_URL'}" -c "${newest}"

Its airports, by HTTP (and by gRPC, with reflection, on the same port):

  curl -d '{"airport":"${flight.origin}"}' -H 'content-type: application/json' ${doors}/flights.AirportService/Get

What the engine says of itself:

  curl ${http}/status
  curl ${http}/metrics

`;
}
