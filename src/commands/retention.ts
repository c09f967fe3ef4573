import type { Io, RetentionRequest } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { StateferryError } from '../errors.ts';
import type { Removal } from '../journal/retention.ts';
import { applyRetention, forecastRetention, type RetentionForecast, type RetentionReport } from '../retention.ts';
import { createProgress } from './inspect/progress.ts';
import { type Journal, withJournal } from './with-journal.ts';

/** All rows that a rule is for are counted. */
const STATEMENT_TIMEOUT_MS = 3_600_000;
const STOPPED = 1;

/** What went of one rule's rows. */
interface Gone extends Removal {
  readonly kind: string;
  /** Of events; else empty. */
  readonly entityType: string;
}

/** `stateferry journal retention`: tells what the rules let go, and removes it unless it is only asked. 1: it was stopped before. */
export async function retention(config: Config, request: RetentionRequest, io: Io): Promise<number> {
  const { dryRun, json } = request;
  const rules = config.journal.retention;
  const progress = createProgress(io.err);
  const gone = new Map<string, Gone>();
  try {
    return await withJournal(
      config,
      async ({ pool, generation }) => {
        progress.now('looking what may go');
        const report = await forecast(pool, generation, rules, io.signal);
        io.signal.throwIfAborted();
        if (dryRun) {
          io.out.write(json ? `${JSON.stringify({ dryRun, ...report }, null, 2)}\n` : textOf(report, 'WOULD GO'));
          return 0;
        }
        const isFree = await applyRetention(pool, {
          generation,
          rules,
          signal: io.signal,
          onRemoved({ kind, entityType }, { rows, bytes }) {
            const sum = gone.get(`${kind} ${entityType}`) ?? { kind, entityType, rows: 0, bytes: 0 };
            gone.set(`${kind} ${entityType}`, { ...sum, rows: sum.rows + rows, bytes: sum.bytes + bytes });
            const all = [...gone.values()].reduce((total, one) => total + one.rows, 0);
            progress.now(`removing, ${all.toLocaleString('en')} rows so far`);
          },
        });
        if (!isFree) {
          throw new StateferryError(
            'OPERATION_REFUSED',
            'another process is removing what retention lets go at the moment: nothing was done here. --dry-run tells what is left.',
          );
        }
        const forecasts = report.forecasts.map((one) => {
          const { rows = 0, bytes = 0 } = gone.get(`${one.kind} ${one.entityType}`) ?? {};
          return { ...one, removable: { rows, bytes } };
        });
        const { removed } = await forecast(pool, generation, [], io.signal);
        const done = { forecasts, removed };
        io.out.write(json ? `${JSON.stringify({ dryRun, ...done }, null, 2)}\n` : textOf(done, 'GONE'));
        return 0;
      },
      dryRun ? STATEMENT_TIMEOUT_MS : config.postgres.statementTimeoutMs,
    );
  } catch (error) {
    if (!io.signal.aborted) throw error;
    io.err.write(stoppedLine([...gone.values()]));
    return STOPPED;
  } finally {
    progress.end();
  }
}

function stoppedLine(gone: readonly Gone[]): string {
  const sums = gone.map(
    ({ kind, entityType, rows }) =>
      `${rows.toLocaleString('en')} ${entityType === '' ? kind : `${kind} of ${entityType}`}`,
  );
  return `Stopped: ${sums.join(', ') || 'nothing'} removed. The same command goes on there.\n`;
}

/** What is counted when the signal is aborted is cancelled. */
async function forecast(
  pool: Journal['pool'],
  generation: number,
  rules: Config['journal']['retention'],
  signal: AbortSignal,
): Promise<RetentionReport> {
  const client = await pool.connect();
  let cancelled: Promise<unknown> = Promise.resolve();
  try {
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
    signal.throwIfAborted();
    const cancel = () => {
      // Where it cannot be cancelled, it comes to its end.
      cancelled = pool.query('select pg_cancel_backend($1)', [rows[0]?.pid]).catch(() => undefined);
    };
    signal.addEventListener('abort', cancel, { once: true });
    try {
      return await forecastRetention(client, generation, rules);
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  } finally {
    await cancelled;
    client.release();
  }
}

function textOf({ forecasts, removed }: RetentionReport, head: string): string {
  const lines: string[] = [];
  if (forecasts.length === 0) lines.push('journal.retention lets nothing go: everything is kept.\n');
  else {
    lines.push(
      formatTable(
        ['WHAT', 'COMPONENT', head, 'BYTES'],
        forecasts.map(({ kind, entityType, removable: { rows, bytes } }) => [
          kind,
          entityType,
          rows.toLocaleString('en'),
          bytes.toLocaleString('en'),
        ]),
        new Set([head, 'BYTES']),
      ),
    );
    for (const one of forecasts) lines.push(...heldBackLines(one));
  }
  for (const { kind, entityType, shard, through, rows, at } of removed) {
    const what = kind === 'events' ? `events of ${entityType}` : kind;
    const place = kind === 'events' ? `event ${through} of shard ${shard}` : `chunk ${through} of shard ${shard}`;
    lines.push(`Removed so far: ${rows.toLocaleString('en')} ${what} up to ${place}, last ${at.toISOString()}\n`);
  }
  return lines.join('');
}

function heldBackLines({ kind, entityType, heldBack }: RetentionForecast): string[] {
  return heldBack.map(
    ({ why, rows, bytes }) =>
      `Kept, ${kind}${entityType === '' ? '' : ` of ${entityType}`}: ${rows.toLocaleString('en')} (${bytes.toLocaleString('en')} bytes), since ${why}\n`,
  );
}
