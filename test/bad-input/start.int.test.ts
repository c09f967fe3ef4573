import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { Server as GrpcServer, ServerCredentials } from '@grpc/grpc-js';
import pg from 'pg';
import { beforeAll, describe, expect, inject, it } from 'vitest';
import type { Assumed } from '../../src/config/load.ts';
import { claimDeployment } from '../../src/journal/deployment.ts';
import { migrate } from '../../src/journal/migrate.ts';
import { createPool } from '../../src/journal/pool.ts';
import { freePorts } from '../../src/local/ports.ts';
import { createForward } from '../support/forward.ts';
import { createTopic, produce } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import { fileScope, type Scope } from '../support/scope.ts';
import { replyWith, type Script, type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';
import { COMPONENTS, ORDERS, replyAll, subscribeAll } from './orders.ts';

const SCHEMA = 'stateferry';
const NOBODY = 'postgres://nobody:nothing@127.0.0.1:1/nowhere';

const file = fileScope();
let input: string;
let replies: string;
beforeAll(async () => {
  [input, replies] = await Promise.all([createTopic(file, { partitions: 1 }), createTopic(file, { partitions: 1 })]);
});

/** A function that does what it should. */
async function startGood(t: Scope, script: Partial<Script> = {}): Promise<ScriptedFunction> {
  const fn = await startScriptedFunction(t, {
    descriptor: ORDERS,
    components: COMPONENTS,
    onCommand: ({ id }) => ({ reply: { command_id: id, ...replyWith(fn.pack('orders.Done', { text: 'done' })) } }),
    ...script,
  });
  return fn;
}

async function start(t: Scope, config: Assumed, options?: Parameters<typeof startRuntime>[2]): Promise<RunningRuntime> {
  const given: Assumed = {
    'deployment.name': deploymentName(t),
    'topics.subscriptions': subscribeAll(input),
    'topics.destinations': replyAll(replies),
    ...('postgres.url' in config ? {} : { 'postgres.url': await createDatabase(t) }),
    ...config,
  };
  return startRuntime(t, given, options);
}

const portUrl = (port: number) => `http://127.0.0.1:${port}`;
const freePort = async () => (await freePorts(1))[0] as number;

describe.concurrent('a function', () => {
  it('that is not up is waited for, which is said', async (t) => {
    const port = await freePort();
    const runtime = await start(t, { 'function.url': portUrl(port) });

    const line = await runtime.logged('Waiting for the function', { level: 'warn' });
    expect(line).toMatchObject({ url: portUrl(port), reason: expect.stringMatching(/does not answer.*ECONNREFUSED/) });
    expect(runtime.status().function.up).toBe(false);

    await startGood(t, { port });
    await runtime.ready();
  });

  it.for<[string, () => Server]>([
    ['a web server', () => createHttpServer((_request, response) => response.end('<html></html>'))],
    ['a server of some other protocol', () => createServer((socket) => socket.end('220 mail.example ESMTP\r\n'))],
    ['a server that resets every connection', () => createServer((socket) => void socket.resetAndDestroy())],
    ['a server that says nothing', () => createServer((socket) => void socket.resume())],
  ])('in whose place there is %s is waited for, which is said', async ([, serve], t) => {
    const port = await freePort();
    const sockets = new Set<Socket>();
    const server = serve();
    server.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    });
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
    const stop = async (): Promise<void> => {
      if (!server.listening) return;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    };
    t.onTestFinished(stop);
    const runtime = await start(t, { 'function.url': portUrl(port) });

    const line = await runtime.logged('Waiting for the function', { level: 'warn' });
    expect(line.reason).toMatch(/^the function does not answer \([A-Z_]+: .+\)$/);

    await stop();
    await startGood(t, { port });
    await runtime.ready();
  });

  it('in whose place there is another gRPC server is refused', async (t) => {
    const server = new GrpcServer();
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    t.onTestFinished(async () => server.forceShutdown());
    const runtime = await start(t, { 'function.url': portUrl(port) });

    expect(await runtime.failure).toMatchObject({
      code: 'FUNCTION_PROTOCOL',
      message: expect.stringMatching(
        /answers gRPC, but none of the discovery services kalix\.protocol\.Discovery\/Discover/,
      ),
    });
  });

  it.for<[string, Partial<Script>, string, RegExp]>([
    [
      'speaks another protocol version',
      { serviceInfo: { protocol_major_version: 2, protocol_minor_version: 0 } },
      'FUNCTION_PROTOCOL',
      /speaks kalix 2\.0, and this runtime speaks 1\.1/,
    ],
    [
      'tells no protocol version',
      { serviceInfo: { protocol_major_version: 0 } },
      'FUNCTION_PROTOCOL',
      /speaks kalix 0\.1/,
    ],
    ['has no components', { components: [] }, 'FUNCTION_SPEC', /"scripted" lists no components/],
    [
      'names a service that its descriptor lacks',
      { components: [{ kind: 'value', service: 'orders.Absent' }] },
      'FUNCTION_SPEC',
      /announces the service orders\.Absent.*orders\.BoxService, orders\.DeskService, orders\.OrderService/,
    ],
    [
      'has a component of a type that nobody knows',
      { components: [{ kind: 'value', type: 'kalix.component.Dream', service: 'orders.BoxService' }] },
      'FUNCTION_SPEC',
      /orders\.BoxService has the component type "kalix\.component\.Dream"/,
    ],
    [
      'has a descriptor that is none',
      { descriptor: Buffer.from('nonsense') },
      'FUNCTION_SPEC',
      /not a google\.protobuf\.FileDescriptorSet/,
    ],
    ['has no descriptor', { descriptor: Buffer.alloc(0) }, 'FUNCTION_SPEC', /announces the service/],
  ])('that %s is refused, and told why', async ([, script, code, sentence], t) => {
    const fn = await startGood(t, script);
    const runtime = await start(t, { 'function.url': fn.url });

    expect(await runtime.failure).toMatchObject({ code, message: expect.stringMatching(sentence) });
    expect(fn.reports).toEqual([{ code, message: expect.stringMatching(sentence) }]);
    expect(runtime.log.filter(({ msg }) => msg.includes('assigned'))).toEqual([]);
  });

  it('that routes do not fit is refused with every fault', async (t) => {
    const fn = await startGood(t);
    const runtime = await start(t, {
      'function.url': fn.url,
      'topics.subscriptions': [
        { topic: input, service: 'orders.OrderService', method: 'Plaec' },
        { topic: input, service: 'orders.Nobody', method: 'Place' },
      ],
    });

    expect(await runtime.failure).toMatchObject({
      code: 'FUNCTION_SPEC',
      message: expect.stringMatching(
        /OrderService\/Plaec, and the function has Place, Note\n.*orders\.Nobody\/Place, and the function has orders\./,
      ),
    });
  });

  it('that comes back as one that cannot be run stops the process, which says why', async (t) => {
    const fn = await startGood(t);
    const runtime = await start(t, { 'function.url': fn.url });
    await runtime.ready();

    fn.kill();
    await startGood(t, { port: fn.port, components: [] });
    // Nothing is sent to a function that nothing calls: a command finds out.
    await produce(input, [{ key: 'k', value: Buffer.alloc(0), headers: { ce_type: 'orders.Order' } }]);

    expect(await runtime.failure).toMatchObject({ code: 'FUNCTION_SPEC' });
  });
});

describe.concurrent('Kafka and Postgres', () => {
  it('are waited for when they are not reachable at the start, which is said of each', async (t) => {
    const fn = await startGood(t);
    const [kafkaPort, postgresPort] = (await freePorts(2)) as [number, number];
    const url = new URL(await createDatabase(t));
    const kafka = createForward(t, { port: kafkaPort, to: inject('brokers')[0] as string });
    const postgres = createForward(t, { port: postgresPort, to: url.host });
    url.host = `127.0.0.1:${postgresPort}`;
    const runtime = await start(t, {
      'function.url': fn.url,
      'kafka.brokers': [`127.0.0.1:${kafkaPort}`],
      'postgres.url': url.href,
    });

    const noKafka = await runtime.logged('Waiting for Kafka', { level: 'warn', code: 'KAFKA_UNAVAILABLE' });
    const noPostgres = await runtime.logged('Waiting for Postgres', { level: 'warn', code: 'POSTGRES_UNAVAILABLE' });
    expect([noKafka.reason, noPostgres.reason]).toEqual([
      expect.stringContaining('ECONNREFUSED'),
      expect.stringContaining('ECONNREFUSED'),
    ]);

    await kafka.open();
    await postgres.open();
    await runtime.ready();
  });

  it('that go away while the function is waited for are waited for', async (t) => {
    const [port, postgresPort] = (await freePorts(2)) as [number, number];
    const url = new URL(await createDatabase(t));
    const postgres = createForward(t, { port: postgresPort, to: url.host });
    await postgres.open();
    url.host = `127.0.0.1:${postgresPort}`;
    const runtime = await start(t, { 'function.url': portUrl(port), 'postgres.url': url.href });
    await runtime.logged('Waiting for the function');

    await postgres.close();
    await startGood(t, { port });
    await runtime.logged('Waiting for Postgres', { code: 'POSTGRES_UNAVAILABLE' });
    await postgres.open();
    await runtime.ready();
  });

  it('a group that cannot be joined is tried again, with longer and longer pauses', async (t) => {
    const fn = await startGood(t);
    const attempts: number[] = [];
    const runtime = await start(
      t,
      { 'function.url': fn.url },
      {
        replace: (parts) => ({
          ...parts,
          createConsumer(handlers) {
            const consumer = parts.createConsumer(handlers);
            return {
              ...consumer,
              async start() {
                attempts.push(performance.now());
                if (attempts.length <= 3) throw new Error('an accident on the way to the group');
                await consumer.start();
              },
            };
          },
        }),
      },
    );
    await runtime.ready();

    const pauses = attempts.slice(1).map((at, i) => Math.round(at - (attempts[i] as number)));
    // Timers may be a moment early.
    expect(pauses).toEqual([200, 400, 800].map((ms) => expect.toSatisfy((pause: number) => pause >= ms - 5)));
    expect(await runtime.logged('Rebuilding all shards', { code: 'KAFKA_UNAVAILABLE' })).toMatchObject({
      error: 'the group could not be joined: an accident on the way to the group',
    });
  });

  it('a database that is not there, or a wrong password, is said, and never the password', async (t) => {
    const url = new URL(await createDatabase(t));
    const missing = new URL(url);
    missing.pathname = '/absent_database';
    const [absent, denied] = [
      await start(t, { 'postgres.url': missing.href }),
      await start(t, { 'postgres.url': NOBODY }),
    ];

    expect((await absent.logged('Waiting for Postgres')).reason).toMatch(/"absent_database" does not exist/);
    await denied.logged('Waiting for Postgres');
    expect(JSON.stringify(denied.log)).not.toContain('nothing@');
  });
});

describe.concurrent('a journal', () => {
  const admin = async <T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> => {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    try {
      return await work(client);
    } finally {
      await client.end();
    }
  };
  async function claimed(t: Scope, name: string, shards: number): Promise<string> {
    const url = await createDatabase(t);
    await migrate({ url, schema: SCHEMA });
    const pool = createPool({
      url,
      schema: SCHEMA,
      size: 1,
      statementTimeoutMs: 5_000,
      applicationName: '',
      onIdleError: () => undefined,
    });
    await claimDeployment(pool, name, shards);
    await pool.end();
    return url;
  }

  it('of another deployment is refused, and left as it is', async (t) => {
    const name = deploymentName(t);
    const url = await claimed(t, 'somebody-else', 1);
    const fn = await startGood(t);
    const runtime = await start(t, { 'function.url': fn.url, 'postgres.url': url, 'deployment.name': name });

    expect(await runtime.failure).toMatchObject({
      code: 'JOURNAL_FOREIGN',
      message: expect.stringContaining(
        `belongs to deployment "somebody-else", and this process runs deployment "${name}"`,
      ),
    });
    expect(
      await admin(url, async (client) => (await client.query('select name from stateferry.deployment')).rows),
    ).toEqual([{ name: 'somebody-else' }]);
  });

  it('that was made for another number of partitions is refused', async (t) => {
    const name = deploymentName(t);
    const url = await claimed(t, name, 8);
    const fn = await startGood(t);
    const runtime = await start(t, { 'function.url': fn.url, 'postgres.url': url, 'deployment.name': name });

    expect(await runtime.failure).toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringMatching(/have 1 partitions now, and this journal was made with 8/),
    });
  });

  it('that a newer version wrote is refused, with what is not known of it', async (t) => {
    const url = await createDatabase(t);
    await migrate({ url, schema: SCHEMA });
    await admin(url, (client) =>
      client.query(`insert into stateferry.migration (name, run_on) values ('9999_from_the_future', now())`),
    );
    const runtime = await start(t, { 'postgres.url': url });

    expect(await runtime.failure).toMatchObject({
      code: 'JOURNAL_NEWER',
      message: expect.stringMatching(/9999_from_the_future/),
    });
  });

  /** A role without any rights. To be made before the database that it uses: then it is dropped after that. */
  async function createRole(t: Scope): Promise<{ role: string; as(url: string): string }> {
    const role = `role_${randomBytes(8).toString('hex')}`;
    const password = 'secret';
    const server = inject('databaseUrl');
    await admin(server, (client) => client.query(`create role ${role} login password '${password}'`));
    t.onTestFinished(async () => {
      await admin(server, (client) => client.query(`drop role ${role}`));
    });
    return { role, as: (url) => Object.assign(new URL(url), { username: role, password }).href };
  }

  it('that the role may not create is refused with what to grant; where the schema was made for it, it runs', async (t) => {
    const { role, as } = await createRole(t);
    const url = await createDatabase(t);
    const fn = await startGood(t);

    const refused = await start(t, { 'function.url': fn.url, 'postgres.url': as(url) });
    expect(await refused.failure).toMatchObject({
      code: 'JOURNAL_DENIED',
      message: expect.stringMatching(/permission denied for database.*own the schema.*grant it CREATE on the database/),
    });

    await admin(url, (client) => client.query(`create schema ${SCHEMA} authorization ${role}`));
    const runtime = await start(t, { 'function.url': fn.url, 'postgres.url': as(url) });
    await runtime.ready();
  });

  it('that the role may not write is refused with what to grant', async (t) => {
    const { role, as } = await createRole(t);
    const url = await createDatabase(t);
    await migrate({ url, schema: SCHEMA });
    await admin(url, async (client) => {
      await client.query(`grant usage on schema ${SCHEMA} to ${role}`);
      await client.query(`grant select on all tables in schema ${SCHEMA} to ${role}`);
    });
    const fn = await startGood(t);
    const runtime = await start(t, { 'function.url': fn.url, 'postgres.url': as(url) });

    expect(await runtime.failure).toMatchObject({
      code: 'JOURNAL_DENIED',
      message: expect.stringMatching(/permission denied for table deployment/),
    });
  });
});
