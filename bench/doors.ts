/** `npm run bench:doors`: argv in; a table and the exit code out, 1 when an answer was wrong, however late. */
import { setTimeout as delay } from 'node:timers/promises';
import * as grpc from '@grpc/grpc-js';
import { freePorts } from '../src/local/ports.ts';
import { runBenchmark, tabled } from './benchmark.ts';
import { METHOD, SERVICE, totalOf } from './counter.ts';
import { ownsShards, startEngine } from './engine-process.ts';
import { startCounter } from './functions.ts';
import type { Ground } from './ground.ts';
import { type Latencies, latencies } from './latencies.ts';
import { whole, withCommonOptions } from './options.ts';
import { align, machine, number } from './report.ts';
import { openScene, type Scene } from './scene.ts';

/** A door's p50, in small transactions of the same run. */
const MOST_TRANSACTIONS = 4;
const TRANSACTIONS = 300;
/** Between two transactions: the markers of the one before are written by then. */
const TRANSACTION_PAUSE_MS = 30;

interface DoorsOptions {
  readonly rate: number;
  readonly seconds: number;
  readonly warmUp: number;
  readonly entities: number;
  readonly partitions: number;
  readonly json?: string;
  readonly set: readonly string[];
  readonly brokers: string[] | undefined;
  readonly databaseUrl: string | undefined;
}

interface Results {
  readonly transaction: Latencies;
  readonly grpc: Latencies;
  readonly http: Latencies;
  readonly problems: readonly string[];
}

function readDoors(argv: readonly string[]): DoorsOptions {
  return withCommonOptions('bench:doors')
    .description(
      'How long a caller at a door waits for an entity, beside one small Kafka transaction. See bench/README.md.',
    )
    .option('--rate <n>', 'calls a second', whole, 100)
    .option('--seconds <n>', 'how long, at each door', whole, 20)
    .option('--warm-up <n>', 'seconds of calls at each door before either is measured', whole, 15)
    .option('--entities <n>', 'entities that are called in turn', whole, 1_000)
    .option('--partitions <n>', 'shards', whole, 8)
    .parse([...argv], { from: 'user' })
    .opts<DoorsOptions>();
}

/** One record and one offset in each, nothing else going on. */
async function measureTransaction(ground: Ground, scene: Scene): Promise<Latencies> {
  const producer = ground.kafka.producer({
    transactionalId: `${scene.id}-alone`,
    idempotent: true,
    maxInFlightRequests: 1,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  const took = new Float64Array(TRANSACTIONS);
  // The first ones open connections and warm the client up.
  for (let i = -TRANSACTIONS / 3; i < TRANSACTIONS; i++) {
    const start = performance.now();
    const transaction = await producer.transaction();
    await transaction.send({ topic: scene.input, messages: [{ key: `${i}`, value: '1', partition: 0 }] });
    await transaction.sendOffsets({
      consumerGroupId: `${scene.id}-alone`,
      topics: [{ topic: scene.input, partitions: [{ partition: 0, offset: `${i + TRANSACTIONS}` }] }],
    });
    await transaction.commit();
    if (i >= 0) took[i] = performance.now() - start;
    await delay(TRANSACTION_PAUSE_MS);
  }
  await producer.disconnect();
  return latencies(took);
}

/** Calls one counter after the other at a steady pace, for so many seconds; `call` answers the counter's total. */
async function measureCalls(
  { rate, seconds }: { readonly rate: number; readonly seconds: number },
  expected: Int32Array,
  problems: string[],
  call: (counter: number) => Promise<number>,
): Promise<Latencies> {
  const total = rate * seconds;
  const took = new Float64Array(total);
  const calls: Promise<void>[] = [];
  const start = performance.now();
  for (let n = 0; n < total; ) {
    const due = Math.min(total, Math.floor(((performance.now() - start) * rate) / 1_000) + 1);
    for (; n < due; n++) {
      const counter = n % expected.length;
      const wanted = (expected[counter] as number) + 1;
      expected[counter] = wanted;
      const begun = performance.now();
      const at = n;
      calls.push(
        call(counter).then(
          (answer) => {
            took[at] = performance.now() - begun;
            if (answer !== wanted) problems.push(`counter ${counter} answered ${answer}, and it should be ${wanted}`);
          },
          (error: Error) => void problems.push(`counter ${counter}: ${error.message}`),
        ),
      );
    }
    await delay(2);
  }
  await Promise.all(calls);
  return latencies(took);
}

async function measure(ground: Ground, options: DoorsOptions): Promise<Results> {
  const say = (what: string): void => void process.stderr.write(`measuring ${what}\n`);
  const { entities, partitions } = options;
  const scene = await openScene(ground, { name: 'doors', entities, partitions });
  say('one small Kafka transaction');
  const transaction = await measureTransaction(ground, scene);
  const fn = await startCounter(ground, 'lean');
  const [port = 0] = await freePorts(1);
  const engine = await startEngine(ground, {
    deployment: scene.id,
    label: 'doors',
    schema: scene.id.replaceAll('-', '_'),
    input: scene.input,
    output: scene.output,
    shards: partitions,
    maxStreams: Math.max(entities, 10_000),
    functionUrl: fn.url,
    // What was sent to the topic in is none of the counters'.
    settings: ['doors.enabled=true', `doors.port=${port}`, 'kafka.start=latest', ...options.set],
    nodeFlags: [],
    profile: undefined,
    ready: (status) => ownsShards(status, partitions) && status.doors?.address != null,
  });
  const problems: string[] = [];
  const expected = new Int32Array(entities);
  const { keys, increments } = scene.counters;

  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const same = (bytes: Buffer): Buffer => bytes;
  const callByGrpc = (counter: number): Promise<number> =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(`/${SERVICE}/${METHOD}`, same, same, increments[counter] as Buffer, (error, answer) =>
        answer === undefined ? reject(error ?? new Error('no answer')) : resolve(totalOf(answer)),
      );
    });
  const callByHttp = async (counter: number): Promise<number> => {
    const response = await fetch(`http://127.0.0.1:${port}/${SERVICE}/${METHOD}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ counter_id: (keys[counter] as Buffer).toString(), amount: 1 }),
    });
    const answer = (await response.json()) as { total?: number };
    return answer.total ?? 0;
  };
  // Neither door is to be measured with an engine that the other one has warmed up.
  const { rate, seconds, warmUp } = options;
  say(`nothing: both doors are called for ${warmUp} s each`);
  for (const call of [callByGrpc, callByHttp]) {
    await measureCalls({ rate, seconds: warmUp }, expected, problems, call);
  }
  say('the gRPC door');
  const byGrpc = await measureCalls({ rate, seconds }, expected, problems, callByGrpc);
  say('the HTTP door');
  const byHttp = await measureCalls({ rate, seconds }, expected, problems, callByHttp);
  client.close();
  await engine.stop('SIGTERM');
  await fn.stop('SIGKILL');
  await scene.close();
  return { transaction, grpc: byGrpc, http: byHttp, problems: problems.slice(0, 10) };
}

function table(options: DoorsOptions, { transaction, grpc: byGrpc, http, problems }: Results): string {
  const row = (name: string, { p50, p99, max }: Latencies): string[] => {
    const times = p50 / transaction.p50;
    const verdict = name.includes('door')
      ? `${number(times, 1)}${times <= MOST_TRANSACTIONS ? ' met' : ' NOT MET'}`
      : '';
    return [name, number(p50, 1), number(p99, 1), number(max, 1), verdict];
  };
  const rows = [
    ['ms', 'p50', 'p99', 'longest', `in transactions (<= ${MOST_TRANSACTIONS})`],
    row('one small Kafka transaction', transaction),
    row('an entity at the gRPC door', byGrpc),
    row('an entity at the HTTP door', http),
  ];
  const wrong = problems.length === 0 ? 'Every answer was right.' : `Answers were WRONG:\n  ${problems.join('\n  ')}`;
  return `${options.rate} calls/s, ${options.entities} entities, after ${options.warmUp} s of the same at each door\n${machine()}\n\n${align(rows)}\n\n${wrong}\n`;
}

await runBenchmark(async () => tabled(readDoors(process.argv.slice(2)), { measure, table }));
