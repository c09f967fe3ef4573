import { expect, it } from 'vitest';
import { gather } from '../../src/verify/findings.ts';
import { formatFindings, formatReport, summaryLines } from '../../src/verify/report.ts';
import type { Report } from '../../src/verify/verify.ts';

const finding = (where: string) => ({ what: 'an output is doubled', where, found: 'one more', expected: 'one' });

function report(faults: number): Report {
  const inputs = gather('inputs');
  const outputs = gather('outputs');
  for (let n = 0; n < faults; n++) outputs.find(finding(`out/0/${n}`));
  const checks = [
    inputs.result({ compared: '7 records', claim: 'each was applied once', counts: { records: 7 } }),
    outputs.result({ compared: '9 outputs', claim: 'each is there', counts: {}, reach: ['3 are older: not judged'] }),
  ];
  return { deployment: 'd', at: '2026-01-02T03:04:05.678Z', held: faults === 0, positions: [], checks };
}

it('a report has a line a check, and says how far each reached', () => {
  expect(formatReport(report(0))).toBe(
    `Deployment d, judged as of 2026-01-02T03:04:05.678Z

held   inputs   7 records: each was applied once
held   outputs  9 outputs: each is there
                - 3 are older: not judged

Everything holds, as far as it could be judged.
`,
  );
});

it('a fault takes the place of the claim, and is named', () => {
  const text = formatReport(report(1));
  expect(text).toContain('FAULT  outputs  9 outputs: 1 fault\n');
  expect(text).toContain('! an output is doubled: out/0/0: found one more; expected one\n');
  expect(text).not.toContain('each is there');
  expect(text).toContain('One thing does not hold.\n');
});

it('tells at most 20 faults of a check, and counts the others', () => {
  const given = report(25);
  expect(given.checks[1]).toMatchObject({ held: false, more: 5 });
  expect(given.checks[1]?.findings).toHaveLength(20);
  expect(formatReport(given)).toContain('! and 5 more\n');
  expect(formatReport(given)).toContain('25 things do not hold.\n');
  expect(formatFindings(given).at(-1)).toBe('outputs: and 5 more');
});

it('in short it is one line a check', () => {
  expect(summaryLines(report(0)).split('\n')).toHaveLength(3);
});
