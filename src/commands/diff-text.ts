import { formatTable } from '../cli/table.ts';
import type { Counts, Difference, DiffReport } from '../history/difference.ts';

const HEAD = ['same', 'changed', 'missing', 'added'] as const;
const SHOWN_FIRSTS = 10;

/** The report for people: what differs, by kind, and some of it side by side. */
export function formatDiff(report: DiffReport): string {
  const { generation, mode, same, entities, notes } = report;
  const lines: string[] = [];
  const title = same ? 'Nothing differs' : `${entities.toLocaleString('en')} entities differ`;
  lines.push(`Generation ${generation} (${mode}): ${title}.`, '');
  lines.push(counted('', report.counts), '');
  if (!same) {
    const groups = { ...onlyDifferent(report.topics), ...onlyDifferent(report.components) };
    if (Object.keys(groups).length > 0) lines.push(counted('', groups), '');
    lines.push('Where entities first part:');
    for (const first of report.firsts.slice(0, SHOWN_FIRSTS)) lines.push(...described(first));
    const more = entities - Math.min(report.firsts.length, SHOWN_FIRSTS);
    if (more > 0) lines.push(`  … and ${more.toLocaleString('en')} more (--json or --html shows more)`);
    lines.push('', 'Samples:');
    for (const sample of report.samples) lines.push(...described(sample));
  }
  for (const note of notes) lines.push(`note: ${note}`);
  return `${lines.join('\n').trimEnd()}\n`;
}

function counted(name: string, groups: Readonly<Record<string, Counts>>): string {
  return formatTable(
    [name, ...HEAD],
    Object.entries(groups).map(([group, counts]) => [group, ...HEAD.map((kind) => counts[kind].toLocaleString('en'))]),
    new Set(HEAD),
  ).trimEnd();
}

function onlyDifferent(groups: Readonly<Record<string, Counts>>): Record<string, Counts> {
  return Object.fromEntries(
    Object.entries(groups).filter(([, { changed, missing, added }]) => changed + missing + added > 0),
  );
}

function described({ what, kind, commandId, entity, name, before, after, fields }: Difference): string[] {
  const whose = entity === undefined ? '' : ` of ${entity.entityType} ${entity.entityId}`;
  const cause = commandId === undefined ? '' : `, command ${commandId}`;
  const lines = [`  ${kind} ${what.slice(0, -1)} ${name}${whose}${cause}`];
  if (before !== undefined) lines.push(`    - ${JSON.stringify(before)}`);
  if (after !== undefined) lines.push(`    + ${JSON.stringify(after)}`);
  if (fields.length > 0 && fields[0] !== '$') lines.push(`      differs in ${fields.join(', ')}`);
  return lines;
}
