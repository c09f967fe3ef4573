import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const SRC = path.resolve(import.meta.dirname, '../../src');

/** What each room may import, besides itself and the files at the root of src that everybody may use. */
const ARROWS: Readonly<Record<string, readonly string[]>> = {
  model: [],
  replicated: ['model'],
  observe: ['model'],
  config: ['observe/mask.ts'],
  protocol: ['model'],
  topics: ['model'],
  journal: ['model'],
  codec: ['model', 'protocol', 'topics/partition.ts'],
  registry: ['model', 'codec/exact-integers.ts', 'codec/well-formed.ts'],
  http2: [],
  functions: ['model', 'protocol', 'http2'],
  engine: ['model', 'replicated', 'codec', 'functions', 'journal', 'topics', 'protocol', 'observe'],
  history: ['model', 'codec', 'engine', 'inspect/payloads.ts', 'journal', 'protocol', 'topics', 'verify/identity.ts'],
  doors: ['model', 'codec', 'functions', 'protocol', 'topics'],
  verify: ['model', 'replicated', 'codec', 'journal', 'topics', 'protocol', 'functions'],
  archive: [],
  inspect: ['model', 'replicated', 'codec', 'journal', 'topics/partition.ts', 'protocol', 'verify/identity.ts'],
  local: [],
  cli: ['config', 'observe'],
  commands: [
    'archive',
    'cli',
    'codec',
    'config',
    'engine',
    'functions',
    'history',
    'inspect',
    'local',
    'observe',
    'protocol',
    'replicated',
    'topics',
    'verify',
    'journal',
    'model',
    'deployment-plan.ts',
    'emit-differences.ts',
    'function-link.ts',
    'kafka-connection.ts',
    'least-privilege.ts',
    'live-generation.ts',
    'named-files.ts',
    'postgres-connection.ts',
    'promote.ts',
    'reprocess.ts',
    'retention.ts',
    'runtime.ts',
    'schemas.ts',
    'registry',
  ],
  demo: ['cli', 'config', 'commands', 'history/difference.ts', 'local', 'observe', 'promote.ts', 'topics', 'verify'],
};
const EVERYBODY = new Set([
  'errors.ts',
  'abort.ts',
  'bytes.ts',
  'package-path.ts',
  'paced.ts',
  'secure.ts',
  'writing.ts',
  'server-tls.ts',
  'version.ts',
]);

interface Import {
  readonly file: string;
  readonly target: string;
}

const imports: Import[] = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) =>
    [...readFileSync(path.join(SRC, file), 'utf8').matchAll(/from '(\.[^']+)'/g)].map(([, target]) => ({
      file,
      target: path.join(path.dirname(file), target as string),
    })),
  );

const roomOf = (file: string) => (file.includes(path.sep) ? (file.split(path.sep)[0] as string) : undefined);

describe('the rooms', () => {
  it('are all named here', () => {
    const rooms = new Set(imports.map(({ file }) => roomOf(file)).filter((room) => room !== undefined));
    expect([...rooms].filter((room) => !(room in ARROWS))).toEqual([]);
  });

  it('import only what the arrows allow', () => {
    const wrong = imports.filter(({ file, target }) => {
      const room = roomOf(file);
      if (room === undefined || roomOf(target) === room || EVERYBODY.has(target)) return false;
      return !ARROWS[room]?.some((allowed) => target === allowed || target.startsWith(`${allowed}/`));
    });
    expect(wrong).toEqual([]);
  });

  it('keep the embedded stack out of everything but the commands that start it', () => {
    const users = imports.filter(({ file, target }) => roomOf(target) === 'local' && roomOf(file) !== 'local');
    expect(new Set(users.map(({ file }) => roomOf(file)))).toEqual(new Set(['commands', 'demo']));
  });

  it('have no cycles', () => {
    const graph = new Map<string, string[]>();
    for (const { file, target } of imports) graph.set(file, [...(graph.get(file) ?? []), target]);
    const done = new Set<string>();
    const cycles: string[][] = [];
    const walk = (file: string, trail: readonly string[]): void => {
      if (trail.includes(file)) {
        cycles.push([...trail.slice(trail.indexOf(file)), file]);
        return;
      }
      if (done.has(file)) return;
      for (const target of graph.get(file) ?? []) walk(target, [...trail, file]);
      done.add(file);
    };
    for (const file of graph.keys()) walk(file, []);
    expect(cycles).toEqual([]);
  });
});
