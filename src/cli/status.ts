import { readFileSync } from 'node:fs';
import { type Command, InvalidArgumentError } from 'commander';
import type { Config } from '../config/config.ts';
import { configInvalid } from '../config/load.ts';
import { messageOf, StateferryError } from '../errors.ts';
import type { ShardPlace } from '../observe/places.ts';
import { describeHalt, type Status, type Totals } from '../observe/status.ts';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext } from './context.ts';
import { configWithoutStores } from './local-request.ts';
import { formatTable } from './table.ts';

const TIMEOUT_MS = 5_000;

/** `stateferry status`: ask a running process where it stands. */
export function statusCommand(program: Command, context: CommandContext): void {
  const command = program
    .command('status')
    .summary('show where a running process stands: shards, positions, lag')
    .description(
      'Ask a running process for its state, its function and its shards with their epochs, owners, positions and lag, ' +
        'and for where all shards of the deployment are and why. ' +
        'The process is the one on this machine, at http.host and http.port of the configuration, or the one at --url.',
    )
    .option('--url <url>', 'address of the process, for example http://10.0.0.7:9090', httpUrl)
    .option('--json', 'print what the process answers, as JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry status
  $ stateferry status --url http://10.0.0.7:9090 --json`,
    );
  addConfigFlags(command, 'not listed').action(async (options: { url?: string; json?: true }) => {
    const { http } = configWithoutStores((assumed) => loadConfigOf(command, context, assumed));
    const base = options.url ?? localUrl(http);
    const ask: Ask = { signal: context.signal, token: tokenOf(http) };
    const status = await fetchStatus(base, ask);
    const places = await fetchPlaces(base, ask);
    context.out.write(
      options.json
        ? `${JSON.stringify({ ...status, places }, null, 2)}\n`
        : `${formatStatus(status)}\n${formatPlaces(places)}`,
    );
    context.exitWith(0);
  });
}

function httpUrl(text: string): string {
  if (URL.canParse(text) && /^https?:$/.test(new URL(text).protocol)) return text;
  throw new InvalidArgumentError('It is not an address such as http://10.0.0.7:9090.');
}

/** How a process is asked. */
interface Ask {
  readonly signal: AbortSignal;
  /** Undefined: there is none to show. */
  readonly token: string | undefined;
}

function initOf({ signal, token }: Ask): RequestInit {
  return {
    signal: AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]),
    ...(token !== undefined && { headers: { authorization: `Bearer ${token}` } }),
  };
}

/** @throws StateferryError CONFIG_INVALID for a file that cannot be read, or is empty. */
function tokenOf({ token, tokenFile }: Config['http']): string | undefined {
  if (token !== '' || tokenFile === '') return token || undefined;
  let text: string;
  try {
    text = readFileSync(tokenFile, 'utf8').trim();
  } catch (error) {
    throw configInvalid([
      `http.tokenFile: found no file that can be read (${messageOf(error)}), expected the path of one`,
    ]);
  }
  if (text === '') throw configInvalid([`http.tokenFile: found ${tokenFile} empty, expected a token in it`]);
  return text;
}

/** How the process that listens as configured is reached from this machine. */
function localUrl({ host, port, tls }: Config['http']): string {
  if (port === 0) {
    throw new StateferryError(
      'STATUS_UNREACHABLE',
      'http.port is 0, so the process listens on a port that it found free: take the port from its log and give it with --url.',
    );
  }
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const scheme = tls.certificateFile === undefined ? 'http' : 'https';
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`;
}

/** @throws StateferryError STATUS_UNREACHABLE when nothing answers there, or something else does. */
async function fetchStatus(base: string, ask: Ask): Promise<Status> {
  const url = new URL('/status', base);
  let answer: unknown;
  let code: number;
  try {
    const response = await fetch(url, initOf(ask));
    code = response.status;
    if (code === 401) {
      const what = ask.token === undefined ? 'a token, and none is configured' : 'another token';
      throw new Error(`the process wants ${what}: set http.token or http.tokenFile as it has it`);
    }
    answer = JSON.parse(await response.text());
  } catch (error) {
    throw unreachable(url, error instanceof SyntaxError ? 'what answers is not Stateferry' : reasonOf(error), error);
  }
  if (isStatus(answer)) return answer;
  throw unreachable(url, `what answers is not Stateferry (HTTP ${code})`);
}

/** Where all shards are, or why the process cannot tell. */
type Places = { readonly shards: readonly ShardPlace[] } | { readonly error: string };

async function fetchPlaces(base: string, ask: Ask): Promise<Places> {
  try {
    const response = await fetch(new URL('/shards', base), initOf(ask));
    const answer: unknown = JSON.parse(await response.text());
    const { shards, error } = (answer ?? {}) as { shards?: unknown; error?: unknown };
    if (Array.isArray(shards)) return { shards };
    return { error: typeof error === 'string' ? error : `HTTP ${response.status}` };
  } catch (error) {
    return { error: error instanceof SyntaxError ? 'it does not know of them' : reasonOf(error) };
  }
}

function unreachable(url: URL, reason: string, cause?: unknown): StateferryError {
  return new StateferryError(
    'STATUS_UNREACHABLE',
    `no status from ${url.href}: ${reason}. Is the process running, and are http.host and http.port, or --url, those that its log names?`,
    { cause },
  );
}

/** fetch says "fetch failed" and keeps the reason in `cause`. */
function reasonOf(error: unknown): string {
  return messageOf(error instanceof TypeError && error.cause !== undefined ? error.cause : error);
}

/** Tells Stateferry from whatever else may listen there. */
function isStatus(value: unknown): value is Status {
  const status = value as Partial<Status> | null;
  return typeof status === 'object' && typeof status?.deployment === 'string' && Array.isArray(status.shards);
}

const NUMBERS = new Set([
  'SHARD',
  'EPOCH',
  'APPLIED',
  'COMMITTED',
  'END',
  'LAG',
  'IN FLIGHT',
  'ENTITIES',
  'POSITION',
  'BEHIND',
]);

/** The status for a person: a line each for process and function, a row for each topic of each shard, the totals. */
export function formatStatus(status: Status): string {
  const head = [
    'SHARD',
    'STATE',
    'EPOCH',
    'OWNER',
    'TOPIC',
    'APPLIED',
    'COMMITTED',
    'END',
    'LAG',
    'IN FLIGHT',
    'ENTITIES',
  ];
  const rows = status.shards.flatMap((shard) => {
    const own = [String(shard.shard), shard.state, String(shard.epoch), shard.owner];
    const load = [String(shard.inFlight.records), String(shard.activeEntities)];
    const positions = Object.entries(shard.positions);
    if (positions.length === 0) return [[...own, '', '', '', '', '', ...load]];
    return positions.map(([topic, at], index) => [
      ...(index === 0 ? own : ['', '', '', '']),
      topic,
      at.applied,
      at.committed,
      at.end ?? '?',
      at.lag === null ? '?' : String(at.lag),
      ...(index === 0 ? load : []),
    ]);
  });
  const table = rows.length === 0 ? 'This process owns no shard.\n' : formatTable(head, rows, NUMBERS);
  return [
    `Deployment ${status.deployment}, process ${status.processId}: ${status.state}\n`,
    `Function at ${status.function.url}: ${describeFunction(status.function)}\n`,
    `Doors: ${describeDoors(status.doors)}\n\n`,
    `${table}\n`,
    ...describeHalts(status.shards),
    ...formatFeeds(status.shards),
    `Since it started: ${describeTotals(status.totals)}\n`,
  ].join('');
}

/** Who is subscribed to events and values, and how far they are: a row for each shard. */
function formatFeeds(shards: Status['shards']): string[] {
  const rows = shards.flatMap(({ shard, feeds }) =>
    feeds.map(({ name, source, entityType, state, position, behind }) => [
      name,
      `${source === 'value' ? 'values' : 'events'} of ${entityType}`,
      String(shard),
      state === 'live' ? 'live' : 'catching up',
      position === null ? '' : String(position),
      behind === null ? '?' : String(behind),
    ]),
  );
  if (rows.length === 0) return [];
  return [`${formatTable(['FEED', 'OF', 'SHARD', 'STATE', 'POSITION', 'BEHIND'], rows, NUMBERS)}\n`];
}

/** Where all shards of the deployment are, for a person: a row for each. */
export function formatPlaces(places: Places): string {
  if ('error' in places) return `Where the shards of the deployment are, it cannot tell: ${places.error}\n`;
  const rows = places.shards.map(({ shard, epoch, owners, member, reason }) => [
    String(shard),
    String(epoch),
    owners.join(', '),
    member === null ? '' : `${member.id} at ${member.host}`,
    reason,
  ]);
  if (rows.length === 0) return 'Nothing is known yet of where the shards of the deployment are.\n';
  return formatTable(['SHARD', 'EPOCH', 'OWNERS', 'GROUP MEMBER', 'WHY'], rows, NUMBERS);
}

function describeDoors(doors: Status['doors']): string {
  if (doors === null) return 'not enabled';
  return doors.address === null ? 'not open yet' : `open at ${doors.address}`;
}

function describeFunction({ up, serviceName, dialect, components }: Status['function']): string {
  const named = [serviceName, dialect ?? ''].filter((text) => text !== '').join(', ');
  const listed = components.map(({ kind, service }) => `${service} (${kind})`).join(', ');
  return [up ? 'up' : 'down', named, listed].filter((text) => text !== '').join('; ');
}

/** What a person has to deal with, a line for each. */
function describeHalts(shards: Status['shards']): string[] {
  const lines: string[] = [];
  for (const { shard, halt, pausedEntities, schemaAwaitedSince } of shards) {
    if (halt !== null) lines.push(`Shard ${shard} is halted before ${describeHalt(halt)}\n`);
    if (schemaAwaitedSince !== null) {
      const since = new Date(schemaAwaitedSince).toISOString();
      lines.push(`Shard ${shard} has waited since ${since} for the schema registry to tell the schema of a record\n`);
    }
    if (pausedEntities > 0)
      lines.push(`Shard ${shard} has ${pausedEntities} paused entities (stateferry entity list)\n`);
  }
  return lines.length === 0 ? [] : [...lines, '\n'];
}

function describeTotals(totals: Totals): string {
  return (Object.entries(totals) as [keyof Totals, number][])
    .map(([name, count]) => `${count} ${name === 'deadLetters' ? 'dead letters' : name}`)
    .join(', ');
}
