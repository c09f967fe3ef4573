import { randomUUID } from 'node:crypto';
import { describe, expect, inject, it } from 'vitest';
import { topics } from '../../src/commands/topics.ts';
import { loadConfig } from '../../src/config/load.ts';
import { freePorts } from '../../src/local/ports.ts';
import { createTopics } from '../../src/topics/ensure.ts';
import { startFunction } from '../support/function-process.ts';
import { withAdmin } from '../support/kafka.ts';
import { fileScope, type Scope } from '../support/scope.ts';

const { url } = await startFunction(fileScope(), { source: 'trouble' });

/** A deployment of the trouble function with topics of its own. */
function createDeployment(t: Scope, functionUrl = `http://${url}`) {
  const name = `topics-${randomUUID()}`;
  const subscription = (topic: string, service: string, method: string) => ({
    topic: `${name}-${topic}`,
    service: `trouble.${service}`,
    method,
  });
  const { config } = loadConfig({
    argvFlags: {},
    env: {},
    cwd: '/',
    readFile: () => undefined,
    assumed: {
      'deployment.name': name,
      'kafka.brokers': inject('brokers'),
      'postgres.url': 'postgres://nobody/needs-it',
      'function.url': functionUrl,
      'http.port': 0,
      'topics.subscriptions': [subscription('adds', 'LedgerService', 'Add'), subscription('puts', 'BoxService', 'Put')],
      'topics.destinations': {
        replies: [{ service: 'trouble.LedgerService', method: 'Add', topic: `${name}-out` }],
        events: [{ entityType: 'ledgers', topic: `${name}-out` }],
      },
    },
  });
  const names = ['adds', 'puts', 'out', 'commands', 'answers', 'dead-letters'].map((topic) => `${name}-${topic}`);
  t.onTestFinished(() =>
    withAdmin(async (admin) => {
      const existing = new Set(await admin.listTopics());
      await admin.deleteTopics({ topics: names.filter((topic) => existing.has(topic)) });
    }),
  );
  return {
    name,
    async make(topic: string, partitions: number) {
      await withAdmin((admin) => createTopics(admin, [{ topic: `${name}-${topic}`, numPartitions: partitions }]));
    },
    /** The rows as words, the deployment's name left out of them. */
    async topics(options: { create: boolean; partitions?: number }) {
      let out = '';
      const write = (text: string) => {
        out += text;
      };
      const signal = new AbortController().signal;
      const code = await topics(config, options, { signal, out: { write }, err: { write: () => undefined } });
      const [, ...lines] = out.replaceAll(`${name}-`, '').trim().split('\n');
      const rows = lines.filter((line) => line.includes('  ')).map((line) => line.split(/ {2,}/));
      return { code, rows, notes: lines.filter((line) => !line.includes('  ')) };
    },
  };
}

describe('topics', () => {
  it('names every topic of the deployment with its role, and 1 as the exit code while some are missing', async (t) => {
    expect(await createDeployment(t).topics({ create: false })).toEqual({
      code: 1,
      rows: [
        ['adds', 'input', '-', 'missing'],
        ['puts', 'input', '-', 'missing'],
        ['out', 'replies, events', '-', 'missing'],
        ['commands', 'commands', '-', 'missing'],
        ['answers', 'answers', '-', 'missing'],
        ['dead-letters', 'dead letters', '-', 'missing'],
      ],
      notes: [
        'Missing: "adds", "puts", "out". `stateferry topics --create` creates them.',
        'Created by `stateferry run` when it starts: "commands", "answers", "dead-letters".',
      ],
    });
  });

  it('creates them, and finds nothing to do after that', async (t) => {
    const deployment = createDeployment(t);
    const created = await deployment.topics({ create: true, partitions: 3 });
    expect(created.code).toBe(0);
    expect(created.rows.map(([topic, , partitions, state]) => [topic, partitions, state])).toEqual(
      ['adds', 'puts', 'out', 'commands', 'answers', 'dead-letters'].map((topic) => [topic, '3', 'created']),
    );
    const again = await deployment.topics({ create: true });
    expect(again.code).toBe(0);
    expect(new Set(again.rows.map(([, , , state]) => state))).toEqual(new Set(['present']));
  });

  it('gives an input topic as many partitions as the others have, 8 where there is none', async (t) => {
    const beside = createDeployment(t);
    await beside.make('puts', 5);
    expect((await beside.topics({ create: true })).rows[0]).toEqual(['adds', 'input', '5', 'created']);
    expect((await createDeployment(t).topics({ create: true })).rows[0]).toEqual(['adds', 'input', '8', 'created']);
  });

  it('refuses a number of partitions that does not fit, and creates nothing', async (t) => {
    const deployment = createDeployment(t);
    await deployment.make('puts', 5);
    await expect(deployment.topics({ create: true, partitions: 4 })).rejects.toMatchObject({
      code: 'TOPIC_PARTITIONS',
      message: expect.stringContaining('has 5 partitions, and --partitions asks for 4'),
    });
    const { rows } = await deployment.topics({ create: false });
    expect(rows.map(([, , , state]) => state)).toEqual([
      'missing',
      'present',
      'missing',
      'missing',
      'missing',
      'missing',
    ]);
  });

  it('shows input topics that do not fit together, and the exit code is 1', async (t) => {
    const deployment = createDeployment(t);
    for (const [topic, partitions] of [
      ['adds', 4],
      ['puts', 2],
      ['out', 7],
      ['commands', 4],
    ] as const) {
      await deployment.make(topic, partitions);
    }
    const { code, rows, notes } = await deployment.topics({ create: false });
    expect(code).toBe(1);
    expect(rows.map(([topic, , , state]) => [topic, state])).toEqual([
      ['adds', 'present'],
      ['puts', 'misfit'],
      ['out', 'present'],
      ['commands', 'present'],
      ['answers', 'missing'],
      ['dead-letters', 'missing'],
    ]);
    expect(notes[0]).toContain('"puts" differ');
  });

  it('says that the function does not answer, and where', { timeout: 30_000 }, async (t) => {
    const [port] = await freePorts(1);
    await expect(createDeployment(t, `http://127.0.0.1:${port}`).topics({ create: true })).rejects.toMatchObject({
      code: 'FUNCTION_UNAVAILABLE',
      message: expect.stringContaining(`no function answered at http://127.0.0.1:${port} within 10 s`),
    });
  });
});
