import type { CheckResult, Finding } from './findings.ts';
import type { Report } from './verify.ts';

/** One line a check. */
export function summaryLines({ checks }: Pick<Report, 'checks'>): string {
  const width = widthOf(checks);
  return checks.map((result) => lineOf(result, width)).join('');
}

/** The report for a person: a line a check, how far it reached, and every finding that is told. */
export function formatReport(report: Report): string {
  const width = widthOf(report.checks);
  const indent = ' '.repeat('FAULT'.length + width + 4);
  const lines = [`Deployment ${report.deployment}, judged as of ${report.at}\n\n`];
  for (const result of report.checks) {
    lines.push(lineOf(result, width));
    for (const sentence of result.reach) lines.push(`${indent}- ${sentence}\n`);
    for (const finding of result.findings) lines.push(`${indent}! ${sentenceOf(finding)}\n`);
    if (result.more > 0) lines.push(`${indent}! and ${result.more} more\n`);
  }
  lines.push(`\n${conclusionOf(report)}\n`);
  return lines.join('');
}

/** Every finding that is told, a line each. */
export function formatFindings({ checks }: Pick<Report, 'checks'>): string[] {
  return checks.flatMap(({ check, findings, more }) => [
    ...findings.map((finding) => `${check}: ${sentenceOf(finding)}`),
    ...(more > 0 ? [`${check}: and ${more} more`] : []),
  ]);
}

/** A finding in one line. */
export function sentenceOf({ what, where, found, expected }: Finding): string {
  return `${what}: ${where}: found ${found}; expected ${expected}`;
}

function lineOf({ check, held, summary }: CheckResult, width: number): string {
  return `${held ? 'held ' : 'FAULT'}  ${check.padEnd(width)}  ${summary}\n`;
}

function widthOf(checks: readonly CheckResult[]): number {
  return Math.max(...checks.map(({ check }) => check.length));
}

function conclusionOf({ checks, held }: Report): string {
  if (held) return 'Everything holds, as far as it could be judged.';
  const total = checks.reduce((sum, { findings, more }) => sum + findings.length + more, 0);
  return total === 1 ? 'One thing does not hold.' : `${total} things do not hold.`;
}
