import { randomUUID } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { create, createFileRegistry, type DescMessage, fromBinary, toBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { SchemaRegistry, SchemaType } from '@kafkajs/confluent-schema-registry';
import pg from 'pg';
import { expect, inject, it } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { schemas } from '../../src/commands/schemas.ts';
import { judge } from '../../src/commands/verify.ts';
import { loadConfig } from '../../src/config/load.ts';
import { alertItem, eventItem, expectedOf, type Item, statusItem } from '../../src/demo/expected.ts';
import { type Flight, loadFlights } from '../../src/demo/flights.ts';
import type { SchemaFormat } from '../../src/model/framed.ts';
import { packagePath } from '../../src/package-path.ts';
import { createRegistryClient } from '../../src/registry/client.ts';
import { createReaders, createRegistryInputs } from '../../src/registry/inputs.ts';
import { OUTPUT_KINDS } from '../../src/registry/kinds.ts';
import { prepareSchemas, type SubjectReport } from '../../src/registry/prepare.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { formatFindings } from '../../src/verify/report.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { copyFlights } from '../support/flights-copy.ts';
import { temporaryFolder } from '../support/folder.ts';
import { follow } from '../support/follow.ts';
import { startFunction } from '../support/function-process.ts';
import { createTopic, produce, type ReadRecord, readCommitted, withAdmin } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { eventually } from '../support/processes.ts';
import { createRegistry } from '../support/registry.ts';
import { fileScope } from '../support/scope.ts';
import { type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, startRuntime } from '../support/start-runtime.ts';
import { shopType } from './messages.ts';

/** A schema that a team had before: another name, another spelling, a field that the function does not know. */
const LEGACY = {
  type: 'record',
  name: 'Departure',
  namespace: 'airline',
  fields: [
    { name: 'origin', type: 'string' },
    { name: 'destination', type: 'string' },
    { name: 'date', type: 'string' },
    { name: 'delay', type: ['null', 'int'], default: null },
    { name: 'distance', type: 'int' },
    { name: 'gate', type: ['null', 'string'], default: null },
  ],
} as const;
/** The same a year later, with a type that has a subject of its own. */
const LATER = { ...LEGACY, fields: [...LEGACY.fields, { name: 'crew', type: 'airline.Crew', default: { size: 0 } }] };
const CREW = { type: 'record', name: 'Crew', namespace: 'airline', fields: [{ name: 'size', type: 'int' }] };
/** A team's own for the alerts: nothing but a type that has a subject of its own. */
const ALERT = {
  type: 'record',
  name: 'Alert',
  namespace: 'flights',
  fields: [
    { name: 'airport', type: 'string' },
    { name: 'congested', type: 'boolean' },
    { name: 'flights', type: 'int' },
    { name: 'recentLate', type: 'int' },
    { name: 'date', type: 'string' },
  ],
};
const UNFIT = { ...LEGACY, name: 'Arrival', fields: [{ name: 'origin', type: 'long' }] };

const file = fileScope();
const registry = await createRegistry(file);
/** An independent client, as producers and consumers have it. */
const others = new SchemaRegistry({ host: registry.url }, { [SchemaType.AVRO]: { wrapUnions: true } });
const copy = await copyFlights(file, { ownTopics: true });
const { flights: input, statuses, alerts } = copy.topics;
const name = deploymentName(file);

const flights = loadFlights().slice(0, 1_500);
const expected = expectedOf(flights);

/** As a team does it by hand. `named`: a type that the schema refers to, by its name, which is the one of its subject. */
async function register(schema: object, subject: string, named?: string): Promise<number> {
  const references = named === undefined ? [] : [{ name: named, subject: named, version: 1 }];
  const response = await fetch(`${registry.url}/subjects/${subject}/versions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ schema: JSON.stringify(schema), references }),
  });
  expect(response.status).toBe(200);
  return ((await response.json()) as { id: number }).id;
}
const departure = ({ delay, ...flight }: Flight) => ({
  ...flight,
  delay: { int: delay },
  gate: null,
  crew: { size: 3 },
});

async function send(id: number, list: readonly Flight[]): Promise<void> {
  const messages = await Promise.all(
    list.map(async (flight) => ({ key: flight.origin, value: await others.encode(id, departure(flight)) })),
  );
  await produce(input, messages);
}

it('an Avro topic feeds a function that knows protobuf alone, and Avro comes out of it, by schemas old and new', async () => {
  const fn = await startFunction(file, {
    source: {
      folder: path.relative(packagePath('.'), copy.folder),
      sdk: '@kalix-io/kalix-javascript-sdk',
      dialect: 'kalix',
    },
  });
  const events = await createTopic(file, { partitions: 4, name: 'airport-events' });
  const named = [input, statuses, alerts];
  await withAdmin((admin) =>
    createTopics(
      admin,
      named.map((topic) => ({ topic, numPartitions: 4, replicationFactor: 1 })),
    ),
  );
  file.onTestFinished(() => withAdmin((admin) => admin.deleteTopics({ topics: named })));
  const database = await createDatabase(file);
  const config = {
    'deployment.name': name,
    'postgres.url': database,
    'function.url': `http://${fn.url}`,
    'registry.urls': [registry.url],
    'registry.timeoutMs': 1_000,
    'registry.register': true,
    // So that most events are older than the outbox.
    'journal.outboxRetentionChunks': 1,
    'topics.subscriptions': [{ topic: input, service: 'flights.AirportService', method: 'Record', format: 'registry' }],
    'topics.destinations': {
      replies: [
        { service: 'flights.AirportService', method: 'Record', topic: statuses, format: 'avro' },
        { service: 'flights.AlertService', method: 'Raise', topic: alerts, format: 'avro' },
      ],
      events: [
        {
          entityType: 'airports',
          topic: events,
          format: 'avro',
          subjectNameStrategy: 'TopicRecordNameStrategy',
          types: ['flights.FlightRecorded', 'flights.CongestionStarted', 'flights.CongestionEnded'],
        },
      ],
    },
  };

  // What is there before does not fit: nothing is started, and all of it is told.
  const subject = `${input}-value`;
  await register(UNFIT, subject);
  const refused = startRuntime(file, config);
  expect(await refused.failure).toMatchObject({
    code: 'SCHEMA_MISFIT',
    message: expect.stringMatching(
      new RegExp(`input topic "${input}", subject "${subject}" version 1:\\n    - origin: Avro long`),
    ),
  });
  await fetch(`${registry.url}/subjects/${subject}`, { method: 'DELETE' });

  const legacy = await register(LEGACY, subject);
  await register(CREW, 'airline.Crew');
  await register(ALERT, 'flights.Alert');
  await register(['flights.Alert'], `${alerts}-value`, 'flights.Alert');
  const runtime = startRuntime(file, config);
  await runtime.ready();
  const deadLetters = `${name}-dead-letters`;
  const follower = await follow(file, { topics: [statuses, events, alerts, deadLetters] });
  await send(legacy, flights.slice(0, 500));
  await eventually('the first are out', () => follower.of(statuses).length === 500);

  // The registry does not answer, and the next records are of a schema that nobody has asked for yet: they wait.
  const later = await register(LATER, subject, 'airline.Crew');
  await others.getSchema(later);
  const middle = flights.slice(500, 1_000);
  registry.kill('SIGSTOP');
  await send(later, middle.slice(0, 250));
  await send(legacy, middle.slice(250));
  await runtime.logged('Waiting for the schema registry');
  expect(follower.of(deadLetters)).toEqual([]);
  const waiting = () => runtime.status().shards.filter(({ schemaAwaitedSince }) => schemaAwaitedSince !== null).length;
  expect(waiting()).toBeGreaterThan(0);
  const { host, port } = await runtime.logged('Metrics, health and status are served');
  const scraped = await (await fetch(`http://${host}:${port}/metrics`)).text();
  expect(scraped).toMatch(/^stateferry_schema_waiting_shards [1-4]$/m);
  expect(scraped).toMatch(/^stateferry_schema_waits_total [1-9]/m);
  expect(scraped).toMatch(/^stateferry_registry_duration_seconds_count\{request="version",outcome="ok"\} [1-9]/m);
  expect(scraped).toMatch(/^stateferry_registry_duration_seconds_count\{request="schema",outcome="failed"\} [1-9]/m);
  registry.kill('SIGCONT');
  await eventually('what waited is out', () => follower.of(statuses).length === 1_000);
  expect(waiting()).toBe(0);

  // What nobody can read is a dead letter each; what comes after it is not.
  const unfit = await register(UNFIT, 'elsewhere');
  const id = Buffer.alloc(4);
  id.writeUInt32BE(unfit);
  await produce(input, [
    { key: 'ORD', value: Buffer.from('007fffffff00', 'hex') },
    { key: 'ORD', value: Buffer.concat([Buffer.of(0), id, Buffer.of(2)]) },
    { key: 'ORD', value: '{}' },
  ]);
  await send(later, flights.slice(1_000));
  await eventually(
    'all is out',
    () => follower.of(statuses).length === flights.length && follower.of(deadLetters).length === 3,
  );
  await eventually('all events are out', () => follower.of(events).length === sizeOf(expected.events));
  await eventually('all alerts are out', () => follower.of(alerts).length === sizeOf(expected.alerts));
  const letters = follower.of(deadLetters).map(({ headers }) => headers);
  expect(letters.map((headers) => headers['stateferry-error-code']).sort()).toEqual([
    'RECORD_UNDECODABLE',
    'RECORD_UNDECODABLE',
    'RECORD_UNKNOWN_SCHEMA',
  ]);
  expect(letters.map((headers) => headers['stateferry-error']).join()).toContain(
    'origin: Avro long; expected something that string takes',
  );

  expect(await itemsOf(follower.of(statuses), (_, fields) => statusItem(fields))).toEqual(expected.statuses);
  expect(await itemsOf(follower.of(alerts), (_, fields) => alertItem(fields))).toEqual(expected.alerts);
  expect(
    await itemsOf(follower.of(events), (record, fields) => eventItem(record.headers.ce_type ?? '', fields)),
  ).toEqual(expected.events);

  const { config: checked } = loadConfig({
    argvFlags: {},
    env: {},
    cwd: '/',
    readFile: () => undefined,
    assumed: { 'kafka.brokers': inject('brokers'), ...config, 'registry.register': false },
  });
  // The unfit schema of before is gone: all that there is fits.
  const written: string[] = [];
  const io = {
    out: { write: (text: string) => written.push(text) },
    err: { write: () => undefined },
    signal: new AbortController().signal,
  };
  expect(await schemas(checked, { json: true, push: false }, io as never)).toBe(0);
  const report = JSON.parse(written.join('')) as { held: boolean; subjects: { state: string; subject: string }[] };
  expect(report.held).toBe(true);
  expect(report.subjects.map(({ subject: of, state }) => `${of} ${state}`)).toEqual([
    `${subject} fits`,
    `${statuses}-value fits`,
    `${alerts}-value fits`,
    `${events}-flights.FlightRecorded fits`,
    `${events}-flights.CongestionStarted fits`,
    `${events}-flights.CongestionEnded fits`,
  ]);

  await runtime.stop();
  const verified = await judge(checked, { sample: 10, probes: [], shared: [] }, io as never);
  expect(formatFindings(verified)).toEqual([]);
  const ofOutputs = verified.checks.find(({ check }) => check === 'outputs');
  expect(ofOutputs?.counts).toMatchObject({ unread: 0, unrendered: 0 });
  expect(ofOutputs?.counts.byEvents).toBeGreaterThan(sizeOf(expected.events) / 2);

  // The oldest event is another one in the journal, of as many bytes.
  const journal = new pg.Client({ connectionString: database });
  await journal.connect();
  const { rowCount } = await journal.query(
    `update stateferry.event set payload = set_byte(payload, 2, get_byte(payload, 2) + 1)
     where (shard, shard_seq) = (select shard, shard_seq from stateferry.event where type_url like '%FlightRecorded' order by shard, shard_seq limit 1)`,
  );
  await journal.end();
  expect(rowCount).toBe(1);
  const damaged = await judge(checked, { sample: 0, probes: [], shared: [] }, io as never);
  expect(formatFindings(damaged).join('\n')).toMatch(/an output is not what the journal has.*other bytes of event/s);
  expect(damaged.checks.flatMap(({ findings }) => findings)).toHaveLength(1);
});

const item = shopType('Priced');
const client = createRegistryClient({
  urls: ['http://127.0.0.1:1', registry.url],
  user: '',
  password: () => '',
  token: () => '',
  tls: undefined,
  timeoutMs: 10_000,
});
file.onTestFinished(async () => client.close());

it.each<SchemaFormat>(['avro', 'json-schema', 'registry-protobuf'])(
  'schemas of the kind %s are registered, found again, and refused where they do not fit',
  async (format) => {
    const topic = `t-${randomUUID()}`;
    const output = {
      topic,
      format,
      types: [item],
      strategy: 'TopicNameStrategy',
      subject: undefined,
      version: undefined,
    } as const;
    const prepare = (outputs: boolean, types = [item]) => {
      const readers = createReaders([{ topic, types, only: types[0] }]);
      return prepareSchemas({
        client,
        readers,
        inputs: [{ topic, types, strategy: 'TopicNameStrategy', subject: undefined }],
        outputs: [{ ...output, types }],
        register: { outputs, inputs: undefined },
      }).then((prepared) => ({ ...prepared, reader: readers.get(topic) }));
    };
    const states = ({ reports }: { reports: readonly SubjectReport[] }) => reports.map(({ state }) => state);
    expect(states(await prepare(false))).toEqual(['missing', 'missing']);
    expect(states(await prepare(true))).toEqual(['missing', 'registered']);
    const again = await prepare(true);
    expect(states(again)).toEqual(['fits', 'fits']);
    const bytes = toBinary(
      item,
      create(item, { id: 'a', totalCents: 2n ** 50n, kind: 2, what: { case: 'text', value: 't' } } as never),
    );
    const value = Buffer.from(again.writers.get(topic)?.write(item.typeName, bytes) ?? []);
    expect(again.reader?.lacks(value)).toBeUndefined();
    expect(Buffer.from(again.reader?.read(value).value ?? []).toString('hex')).toBe(Buffer.from(bytes).toString('hex'));
    // Another function with another type of the same name.
    const other = await prepare(false, [shopType('Removed')]);
    expect(states(other)[1]).toBe('misfit');
    // What others read of it, those kinds whose frame they know.
    if (format !== 'registry-protobuf') {
      expect(await others.decode(value)).toMatchObject({ id: 'a' });
    }
  },
);

/** The message `grow.Order` with these fields, as one generation of a function has it. */
function orderType(fields: string): DescMessage {
  const proto = `syntax = "proto3"; package grow; message Order { ${fields} }`;
  const set = fromBinary(FileDescriptorSetSchema, compileProtos({ 'grow/order.proto': proto }));
  return createFileRegistry(set).getMessage('grow.Order') as DescMessage;
}

it.each<SchemaFormat>(['avro', 'json-schema', 'registry-protobuf'])(
  'a subject of the kind %s that is BACKWARD grows by a compatible version, and takes no other',
  async (format) => {
    const topic = `t-${randomUUID()}`;
    const subject = `${topic}-value`;
    const versions = async () => (await fetch(`${registry.url}/subjects/${subject}/versions`)).json();
    const prepare = async (type: DescMessage) => {
      const output = { topic, format, types: [type], strategy: 'TopicNameStrategy', subject: undefined } as const;
      const outputs = [{ ...output, version: undefined }];
      const register = { outputs: true, inputs: undefined };
      const { reports, writers } = await prepareSchemas({ client, readers: new Map(), inputs: [], outputs, register });
      return { report: reports[0] as SubjectReport, writer: writers.get(topic) };
    };
    const first = await prepare(orderType('string id = 1;'));
    expect(first.report).toMatchObject({ state: 'registered', version: 1, faults: [] });
    const level = await fetch(`${registry.url}/config/${subject}`, {
      method: 'PUT',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ compatibility: 'BACKWARD' }),
    });
    expect(level.status).toBe(200);

    const grown = orderType('string id = 1; string note = 2;');
    const second = await prepare(grown);
    expect(second.report).toMatchObject({ state: 'registered', version: 2, faults: [] });
    expect(second.report.id).not.toBe(first.report.id);
    const bytes = toBinary(grown, create(grown, { id: 'a', note: 'n' } as never));
    const value = Buffer.from(second.writer?.write('grow.Order', bytes) ?? []);
    expect(value.readUInt32BE(1)).toBe(second.report.id);

    const changed = await prepare(orderType('bool id = 1; string note = 2;'));
    expect(changed.report).toMatchObject({ state: 'incompatible', version: 2, id: second.report.id });
    expect(changed.report.faults.join()).toContain('the schema that would fit is not compatible with the latest one: ');
    expect(await versions()).toEqual([1, 2]);
  },
);

/** What `shop.Added` is in each kind, with a type of a subject of its own, `item`. */
const REFERRING: Readonly<
  Record<SchemaFormat, { readonly name: string; readonly item: string; readonly whole: string }>
> = {
  avro: {
    name: 'shop.Item',
    item: JSON.stringify({
      type: 'record',
      name: 'Item',
      namespace: 'shop',
      fields: [
        { name: 'name', type: 'string', default: '' },
        { name: 'count', type: 'int', default: 0 },
      ],
    }),
    whole: JSON.stringify({
      type: 'record',
      name: 'Added',
      namespace: 'shop',
      fields: [
        { name: 'item', type: ['null', 'shop.Item'], default: null },
        { name: 'at_ms', type: 'long', default: 0 },
      ],
    }),
  },
  'json-schema': {
    name: 'item.json',
    item: JSON.stringify({
      type: 'object',
      properties: { name: { $ref: '#/definitions/text' }, Count: { type: 'integer' } },
      definitions: { text: { type: 'string' } },
    }),
    whole: JSON.stringify({
      title: 'shop.Added',
      type: 'object',
      properties: { item: { $ref: 'item.json' }, at_ms: { type: 'integer' } },
    }),
  },
  'registry-protobuf': {
    name: 'item.proto',
    item: 'syntax = "proto3"; package shop; message Item { string name = 1; int32 count = 2; }',
    whole: 'syntax = "proto3"; package shop; import "item.proto"; message Added { Item item = 1; int64 at_ms = 2; }',
  },
};

it.each<SchemaFormat>(['avro', 'json-schema', 'registry-protobuf'])(
  'a schema of the kind %s that was registered by hand, with what it refers to, is written and read',
  async (format) => {
    const topic = `t-${randomUUID()}`;
    const { name: named, item: text, whole } = REFERRING[format];
    const { type } = OUTPUT_KINDS[format];
    const types = [shopType('Added')];
    await client.register(`${topic}-item`, { type, text, references: [] });
    const references = [{ name: named, subject: `${topic}-item`, version: 1 }];
    const id = await client.register(`${topic}-value`, { type, text: whole, references });
    const prepare = async () => {
      const readers = createReaders([{ topic, types, only: types[0] }]);
      const subjects = { topic, types, strategy: 'TopicNameStrategy', subject: undefined } as const;
      const outputs = [{ ...subjects, format, version: undefined }];
      const register = { outputs: true, inputs: undefined };
      return { readers, ...(await prepareSchemas({ client, readers, inputs: [subjects], outputs, register })) };
    };
    const { reports, writers } = await prepare();
    expect(reports.map(({ state, id: used }) => [state, used])).toEqual([
      ['fits', id],
      ['fits', id],
    ]);
    const [added] = types as [DescMessage];
    const bytes = toBinary(added, create(added, { item: { name: 'a', count: 2 }, atMs: 2n ** 50n } as never));
    const value = Buffer.from(writers.get(topic)?.write('shop.Added', bytes) ?? []);
    expect(value.readUInt32BE(1)).toBe(id);
    if (format === 'avro') expect(await others.decode(value)).toMatchObject({ item: { 'shop.Item': { count: 2 } } });

    // As a record of an id that nobody has asked for is read.
    const fresh = createReaders([{ topic, types, only: undefined }]);
    const inputs = createRegistryInputs(fresh, client, (attempt) => attempt());
    await inputs.awaits({ topic, partition: 0, offset: 0n, timestamp: 0, key: null, value, headers: {} });
    expect(Buffer.from(fresh.get(topic)?.read(value).value ?? []).toString('hex')).toBe(
      Buffer.from(bytes).toString('hex'),
    );

    // The registry says that it has lost what is referred to.
    for (const permanent of ['', '?permanent=true'])
      await fetch(`${registry.url}/subjects/${topic}-item${permanent}`, { method: 'DELETE' });
    const lost = await prepare();
    expect(lost.reports.map(({ state }) => state)).toEqual(['misfit', 'misfit']);
    for (const { faults } of lost.reports)
      expect(faults).toEqual([
        `the message: schema ${id} (${type}) that refers to "${named}", version 1 of the subject "${topic}-item", which the registry does not have; expected everything that it refers to in the registry, too`,
      ]);
  },
);

it('a function that has grown is checked, pushed and started by the command line and the runtime, and one that clashes is refused', async (t) => {
  const topic = await createTopic(t, { partitions: 1 });
  const [orders, subject] = [await createTopic(t, { partitions: 1 }), `${topic}-value`];
  const [folder, database] = [await temporaryFolder(t), await createDatabase(t)];
  const service = 'grow.Desk';
  const deployment = deploymentName(t);
  /** The function with these fields, in the place of the one before, and the configuration with it. */
  let before: ScriptedFunction | undefined;
  const become = async (fields: string) => {
    before?.kill();
    const proto = `syntax = "proto3"; package grow; service Desk { rpc Take(Order) returns (Order); } message Order { ${fields} }`;
    const fn: ScriptedFunction = await startScriptedFunction(t, {
      descriptor: compileProtos({ 'grow/order.proto': proto }),
      components: [{ kind: 'action', service }],
      onAction: ({ input }) => ({ reply: { payload: fn.pack('grow.Order', input) } }),
    });
    before = fn;
    const config = {
      'deployment.name': deployment,
      'kafka.brokers': inject('brokers'),
      'postgres.url': database,
      'function.url': fn.url,
      'registry.urls': [registry.url],
      'topics.subscriptions': [{ topic: orders, service, method: 'Take', format: 'json' }],
      'topics.destinations': { replies: [{ service, method: 'Take', topic, format: 'avro' }] },
    };
    await writeFile(path.join(folder, 'stateferry.json'), JSON.stringify(nested(config)));
    return config;
  };
  const stateferry = async (...argv: string[]) => {
    const said: string[] = [];
    const out = { write: (text: string) => said.push(text) };
    const context = { env: {}, cwd: folder, version: '0', signal: AbortSignal.any([]), out, err: out };
    const code = await runCli({ argv: [...argv, '--config', 'stateferry.json'], ...context, commands: { schemas } });
    return { code, said: said.join('') };
  };
  const row = (version: string, state: string) => new RegExp(`${subject} +${version} +[-0-9]+ +${state}\\n`);

  await become('string id = 1;');
  expect(await stateferry('schemas', 'check')).toEqual({ code: 1, said: expect.stringMatching(row('-', 'missing')) });
  expect(await stateferry('schemas', 'push')).toEqual({ code: 0, said: expect.stringMatching(row('1', 'registered')) });
  expect(await stateferry('schemas', 'check')).toEqual({ code: 0, said: expect.stringMatching(row('1', 'fits')) });
  await fetch(`${registry.url}/config/${subject}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ compatibility: 'BACKWARD' }),
  });

  const second = await become('string id = 1; string note = 2;');
  const misfit = await stateferry('schemas', 'check');
  expect(misfit).toEqual({ code: 1, said: expect.stringMatching(row('1', 'misfit')) });
  expect(misfit.said).toContain(`"${topic}", subject "${subject}": note: `);
  expect(await startRuntime(t, second).failure).toMatchObject({
    code: 'SCHEMA_MISFIT',
    message: expect.stringMatching(/version 1:\n {4}- note: .*\n.*stateferry schemas push/s),
  });
  expect(await stateferry('schemas', 'push')).toEqual({ code: 0, said: expect.stringMatching(row('2', 'registered')) });

  const clashing = await become('bool id = 1; string note = 2;');
  const refused = await stateferry('schemas', 'push');
  expect(refused).toEqual({ code: 1, said: expect.stringMatching(row('2', 'incompatible')) });
  expect(refused.said).toContain('the schema that would fit is not compatible with the latest one: ');
  expect(await startRuntime(t, { ...clashing, 'registry.register': true }).failure).toMatchObject({
    code: 'SCHEMA_MISFIT',
    message: expect.stringContaining('the schema that would fit is not compatible with the latest one: '),
  });

  const third = await become('string id = 1; string note = 2; int32 count = 3;');
  const runtime = startRuntime(t, { ...third, 'registry.register': true });
  await runtime.ready();
  const { id } = await runtime.logged('A schema fits', { subject, version: 3, state: 'registered' });
  await produce(orders, [{ key: 'a', value: JSON.stringify({ id: 'a', note: 'n', count: 7 }) }]);
  const [record] = await readCommitted(topic, { count: 1 });
  expect(record?.value?.readUInt32BE(1)).toBe(id);
  expect(await others.decode(record?.value ?? Buffer.alloc(0))).toMatchObject({ id: 'a', note: 'n', count: 7 });
  expect(await (await fetch(`${registry.url}/subjects/${subject}/versions`)).json()).toEqual([1, 2, 3]);
  await runtime.stop();
});

/** Options as a file has them. */
function nested(options: Readonly<Record<string, unknown>>): object {
  const maps: Record<string, Record<string, unknown>> = {};
  for (const [option, value] of Object.entries(options)) {
    const [map = '', key = ''] = option.split('.');
    maps[map] = { ...maps[map], [key]: value };
  }
  return maps;
}

/** As an independent client reads them, by key. */
async function itemsOf(
  records: readonly ReadRecord[],
  itemOf: (record: ReadRecord, fields: Record<string, unknown>) => Item,
): Promise<Map<string, Item[]>> {
  const items = new Map<string, Item[]>();
  for (const record of records) {
    const decoded = (await others.decode(record.value ?? Buffer.alloc(0))) as Record<string, unknown>;
    // A union of records has its name before it.
    const fields = (decoded['flights.Alert'] as Record<string, unknown> | undefined) ?? decoded;
    const camel = Object.fromEntries(
      Object.entries(fields).map(([key, value]) => [
        key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase()),
        value,
      ]),
    );
    const key = String(record.key);
    items.set(key, [...(items.get(key) ?? []), itemOf(record, camel)]);
  }
  return items;
}

function sizeOf(items: ReadonlyMap<string, readonly Item[]>): number {
  return [...items.values()].reduce((sum, list) => sum + list.length, 0);
}
