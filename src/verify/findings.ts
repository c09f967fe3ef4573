/** Findings of one check that are told in full; the others are counted. */
const TOLD = 20;

/** Something that does not hold. */
export interface Finding {
  readonly what: string;
  /** Topic, partition and offset, or entity and sequence. */
  readonly where: string;
  readonly found: string;
  readonly expected: string;
}

/** What one check came to. */
export interface CheckResult {
  readonly check: string;
  readonly held: boolean;
  /** One line: what was compared, with counts, and whether it holds. */
  readonly summary: string;
  readonly counts: Readonly<Record<string, number>>;
  /** How far it reached: sentences on what could not be judged. */
  readonly reach: readonly string[];
  readonly findings: readonly Finding[];
  /** Findings beyond those that are told. */
  readonly more: number;
}

/** Gathers what a check finds. */
export interface Gathering {
  find(finding: Finding): void;
  readonly total: number;
  result(told: {
    /** What was held against what, with counts. */
    readonly compared: string;
    /** What is so, where nothing was found. */
    readonly claim: string;
    readonly counts: Readonly<Record<string, number>>;
    readonly reach?: readonly string[];
  }): CheckResult;
}

export function gather(check: string): Gathering {
  const findings: Finding[] = [];
  let total = 0;
  return {
    find(finding) {
      total++;
      if (findings.length < TOLD) findings.push(finding);
    },
    get total() {
      return total;
    },
    result: ({ compared, claim, counts, reach = [] }) => ({
      check,
      held: total === 0,
      summary: `${compared}: ${total === 0 ? claim : `${number(total)} ${total === 1 ? 'fault' : 'faults'}`}`,
      counts,
      reach,
      findings,
      more: total - findings.length,
    }),
  };
}

/** 12345 → 12,345 */
export function number(value: number | bigint): string {
  return value.toLocaleString('en');
}
