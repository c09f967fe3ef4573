import type { ByAirport, Item } from './expected.ts';

/** How what came out differs from what had to. All zero, and no examples: it does not. */
export interface Difference {
  /** Did not come out, or not as often as it had to. */
  readonly lost: number;
  /** Came out more often than it had to. */
  readonly duplicated: number;
  /** Came out with other contents. */
  readonly wrong: number;
  /** Came out and had not to. */
  readonly unexpected: number;
  /** Came out at another place of its airport's order. */
  readonly misplaced: number;
  /** A sentence for the first few of each kind. */
  readonly examples: readonly string[];
}

type Kind = Exclude<keyof Difference, 'examples'>;

const EXAMPLES_A_KIND = 3;

/** Compares, airport by airport, what came out with what had to. Pure. */
export function compare(expected: ByAirport, seen: ByAirport): Difference {
  const counts: Record<Kind, number> = { lost: 0, duplicated: 0, wrong: 0, unexpected: 0, misplaced: 0 };
  const examples: string[] = [];
  const told = new Map<Kind, number>();
  const count = (kind: Kind, by: number, example: string): void => {
    counts[kind] += by;
    const before = told.get(kind) ?? 0;
    told.set(kind, before + 1);
    if (before < EXAMPLES_A_KIND) examples.push(`${kind}: ${example}`);
  };
  for (const airport of new Set([...expected.keys(), ...seen.keys()])) {
    compareAirport(airport, expected.get(airport) ?? [], seen.get(airport) ?? [], count);
  }
  return { ...counts, examples };
}

export function isEqual(difference: Difference): boolean {
  const { lost, duplicated, wrong, unexpected, misplaced } = difference;
  return lost + duplicated + wrong + unexpected + misplaced === 0;
}

function compareAirport(
  airport: string,
  expected: readonly Item[],
  seen: readonly Item[],
  count: (kind: Kind, by: number, example: string) => void,
): void {
  const same = ({ id, text }: Item, index: number) => id === seen[index]?.id && text === seen[index]?.text;
  if (expected.length === seen.length && expected.every(same)) return;
  const wanted = byId(expected);
  const got = byId(seen);
  for (const [id, items] of wanted) {
    const found = got.get(id) ?? [];
    const missing = items.length - found.length;
    if (missing > 0) count('lost', missing, `${airport} ${id}`);
    if (missing < 0) count('duplicated', -missing, `${airport} ${id} is there ${found.length} times`);
    const texts = new Set(items.map(({ text }) => text));
    const wrong = found.filter(({ text }) => !texts.has(text));
    const first = wrong[0];
    if (first !== undefined) count('wrong', wrong.length, `${airport} ${id}: ${first.text}, not ${items[0]?.text}`);
  }
  for (const [id, items] of got) {
    if (!wanted.has(id)) count('unexpected', items.length, `${airport} ${id}`);
  }
  // The order of what is there as often as it has to be: a loss or a duplicate alone misplaces nothing.
  const idsOf = (items: readonly Item[]) =>
    items.map(({ id }) => id).filter((id) => wanted.get(id)?.length === got.get(id)?.length);
  const asSeen = idsOf(seen);
  const misplaced = idsOf(expected).filter((id, index) => id !== asSeen[index]);
  if (misplaced.length > 0) count('misplaced', misplaced.length, `${airport} from ${misplaced[0]} on`);
}

function byId(items: readonly Item[]): Map<string, Item[]> {
  const map = new Map<string, Item[]>();
  for (const item of items) {
    const same = map.get(item.id);
    if (same === undefined) map.set(item.id, [item]);
    else same.push(item);
  }
  return map;
}
