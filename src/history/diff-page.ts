import type { Counts, Difference, DiffReport } from './difference.ts';

const KINDS = ['same', 'changed', 'missing', 'added'] as const;
const STYLE = `
  :root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
  body { max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
  table { border-collapse: collapse; margin: 1rem 0; }
  th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
  th:first-child, td:first-child { text-align: left; }
  .sides { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; }
  pre { margin: 0; padding: .5rem; overflow: auto; border-radius: .3rem; background: color-mix(in srgb, currentColor 7%, transparent); }
  mark { background: #ffd75e; color: #000; border-radius: .2rem; }
  article { margin: 1.2rem 0; }
  .none { opacity: .5; }
`;

/** The report as one HTML page that needs nothing besides itself. */
export function diffPage(report: DiffReport): string {
  const title = `${report.deployment}: generation ${report.generation}`;
  const verdict = report.same ? 'Nothing differs.' : `${report.entities.toLocaleString('en')} entities differ.`;
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>${text(title)}</title><style>${STYLE}</style></head>
<body>
<h1>${text(title)}</h1>
<p>${text(verdict)} Mode: ${text(report.mode)}.</p>
${tableOf('What', report.counts)}
${tableOf('Topic', report.topics)}
${tableOf('Component', report.components)}
${report.notes.map((note) => `<p>Note: ${text(note)}</p>`).join('\n')}
${sectionOf('Where entities first part', report.firsts)}
${sectionOf('Samples', report.samples)}
</body>
</html>
`;
}

function tableOf(name: string, groups: Readonly<Record<string, Counts>>): string {
  const rows = Object.entries(groups);
  if (rows.length === 0) return '';
  const cells = (counts: Counts) => KINDS.map((kind) => `<td>${counts[kind].toLocaleString('en')}</td>`).join('');
  return `<table><thead><tr><th>${name}</th>${KINDS.map((kind) => `<th>${kind}</th>`).join('')}</tr></thead><tbody>
${rows.map(([group, counts]) => `<tr><td>${text(group)}</td>${cells(counts)}</tr>`).join('\n')}
</tbody></table>`;
}

function sectionOf(title: string, differences: readonly Difference[]): string {
  if (differences.length === 0) return '';
  return `<h2>${title}</h2>\n${differences.map(article).join('\n')}`;
}

function article({ what, kind, commandId, entity, name, before, after, fields }: Difference): string {
  const whose = entity === undefined ? '' : ` of ${entity.entityType} <b>${text(entity.entityId)}</b>`;
  const cause = commandId === undefined ? '' : `<br>command <code>${text(commandId)}</code>`;
  const changed = new Set(fields.map((field) => field.split(/[.[]/)[0] ?? field));
  return `<article><p>${kind} ${what.slice(0, -1)} ${text(name)}${whose}${cause}</p>
<div class="sides">${sideOf(before, changed)}${sideOf(after, changed)}</div></article>`;
}

/** JSON, with the lines of the fields marked that differ. */
function sideOf(side: unknown, changed: ReadonlySet<string>): string {
  if (side === undefined) return '<pre class="none">nothing</pre>';
  const lines = JSON.stringify(side, null, 2).split('\n');
  let within = false;
  const marked = lines.map((line) => {
    const field = /^ {2}"((?:[^"\\\\]|\\\\.)*)":/.exec(line)?.[1];
    if (field !== undefined) within = changed.has(field);
    else if (/^\S/.test(line)) within = false;
    return within ? `<mark>${text(line)}</mark>` : text(line);
  });
  return `<pre>${marked.join('\n')}</pre>`;
}

function text(value: string): string {
  return value.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}
