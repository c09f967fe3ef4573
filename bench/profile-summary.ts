/** What V8's profiler writes: a tree of calls, and which of its nodes each sample fell on. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: CallFrame;
    readonly children?: readonly number[];
  }[];
  readonly samples: readonly number[];
  /** µs before each sample. */
  readonly timeDeltas: readonly number[];
}

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  readonly lineNumber: number;
}

const FUNCTIONS_SHOWN = 40;
const FILES_SHOWN = 40;

interface Row {
  readonly name: string;
  ms: number;
}

/**
 * Where the time went, idle time left out: by package and by file on whose behalf it was spent (what Node and V8 do is put
 * down to the nearest caller outside of them), and self time by file and by function.
 */
export function summarize(profile: CpuProfile): string {
  const packages = new Map<string, Row>();
  const owners = new Map<string, Row>();
  const files = new Map<string, Row>();
  const functions = new Map<string, Row>();
  const frames = new Map(profile.nodes.map((node) => [node.id, node.callFrame]));
  const ownerOf = ownersOf(profile);
  let busy = 0;
  let idle = 0;
  profile.samples.forEach((id, i) => {
    const frame = frames.get(id);
    const ms = (profile.timeDeltas[i] ?? 0) / 1_000;
    if (frame === undefined) return;
    if (frame.functionName === '(idle)') {
      idle += ms;
      return;
    }
    busy += ms;
    const file = fileOf(frame);
    const owner = ownerOf.get(id) ?? file;
    add(packages, packageOf(owner), ms);
    add(owners, owner, ms);
    add(files, file, ms);
    add(functions, `${frame.functionName || '(anonymous)'}  ${file}:${frame.lineNumber + 1}`, ms);
  });
  const table = (title: string, rows: Map<string, Row>, shown: number): string => {
    const sorted = [...rows.values()].sort((a, b) => b.ms - a.ms).slice(0, shown);
    const lines = sorted.map(
      ({ name, ms }) => `${((ms / busy) * 100).toFixed(1).padStart(6)} %${ms.toFixed(0).padStart(8)} ms  ${name}`,
    );
    return [title, ...lines, ''].join('\n');
  };
  return [
    `busy ${busy.toFixed(0)} ms, idle ${idle.toFixed(0)} ms; shares are of the busy time\n`,
    table('By package on whose behalf', packages, Number.POSITIVE_INFINITY),
    table('By file on whose behalf', owners, FILES_SHOWN),
    table('By file, self time', files, FILES_SHOWN),
    table('By function, self time', functions, FUNCTIONS_SHOWN),
  ].join('\n');
}

/** The file that each node of the tree works for: its own, or its caller's where it is Node's or V8's. */
function ownersOf({ nodes }: CpuProfile): Map<number, string> {
  const parents = new Map<number, number>();
  for (const { id, children = [] } of nodes) for (const child of children) parents.set(child, id);
  const owners = new Map<number, string>();
  // A node stands before its children.
  for (const { id, callFrame } of nodes) {
    const file = fileOf(callFrame);
    const above = owners.get(parents.get(id) ?? Number.NaN);
    const isForeign = !file.startsWith('node:') && !file.startsWith('(');
    owners.set(id, isForeign || above === undefined || above === '(root)' ? file : above);
  }
  return owners;
}

function add(rows: Map<string, Row>, name: string, ms: number): void {
  const row = rows.get(name);
  if (row === undefined) rows.set(name, { name, ms });
  else row.ms += ms;
}

/** A path below the last node_modules, or below our own sources; node:…; or, in brackets, what V8 does itself. */
function fileOf({ url, functionName }: CallFrame): string {
  if (url === '') return functionName.startsWith('(') ? functionName : '(native)';
  if (url.startsWith('node:')) return url;
  return /.*\/node_modules\/([^.].*)$/.exec(url)?.[1] ?? /\/((?:src|bench)\/.*)$/.exec(url)?.[1] ?? url;
}

/** Of a file: its package, its room in our sources, or the part of Node. */
function packageOf(file: string): string {
  const folders = file.split('/');
  if (file.startsWith('(')) return file;
  if (file.startsWith('node:')) return folders.length > 1 ? `${folders[0]}/${folders[1]}` : file;
  return file.startsWith('@') || file.startsWith('src/') ? `${folders[0]}/${folders[1]}` : (folders[0] as string);
}
