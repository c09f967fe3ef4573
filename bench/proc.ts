import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

/** What a process, or a family of them, has used so far; NaN where the platform does not tell. */
export interface Meter {
  cpuMs(): number;
}

const onLinux = process.platform === 'linux';
const UNKNOWN: Meter = { cpuMs: () => Number.NaN };

/** Time that the kernel counts in one clock tick, in ms. */
const tickMs = onLinux ? 1_000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' })) : Number.NaN;
const pageBytes = onLinux ? Number(execFileSync('getconf', ['PAGESIZE'], { encoding: 'utf8' })) : Number.NaN;

/** One process with all its threads, user and system time. */
export function processMeter(pid: number | undefined): Meter {
  if (!onLinux || pid === undefined) return UNKNOWN;
  return { cpuMs: () => own(stat(pid)) * tickMs };
}

/** A server whose connections are processes: itself, its children, and those of them that have ended. */
export function familyMeter(pid: number | undefined): Meter {
  if (!onLinux || pid === undefined) return UNKNOWN;
  return {
    cpuMs() {
      const parent = stat(pid);
      let ticks = own(parent) + field(parent, CUTIME) + field(parent, CSTIME);
      for (const name of readdirSync('/proc')) {
        if (!/^\d+$/.test(name)) continue;
        const other = stat(Number(name));
        if (field(other, PPID) === pid) ticks += own(other);
      }
      return ticks * tickMs;
    },
  };
}

/** This process. */
export function ownMeter(): Meter {
  return {
    cpuMs() {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1_000;
    },
  };
}

/** Resident memory of a process in bytes; NaN where the platform does not tell, or the process has gone. */
export function residentBytes(pid: number): number {
  if (!onLinux) return Number.NaN;
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * pageBytes;
  } catch (error) {
    if (isGone(error)) return Number.NaN;
    throw error;
  }
}

// Positions in /proc/PID/stat behind the command's name, which may hold spaces; see proc_pid_stat(5).
const PPID = 1;
const UTIME = 11;
const STIME = 12;
const CUTIME = 13;
const CSTIME = 14;

/** The fields behind the name; none for a process that has gone, so that its times are NaN. */
function stat(pid: number): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

function field(fields: readonly string[], at: number): number {
  return Number(fields[at]);
}

function own(fields: readonly string[]): number {
  return field(fields, UTIME) + field(fields, STIME);
}

function isGone(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOENT' || code === 'ESRCH';
}
