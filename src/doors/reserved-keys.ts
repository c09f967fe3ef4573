import { OWN_PREFIX } from '../codec/header-names.ts';

/** What the runtime and its SDKs keep for themselves: who calls, what its token claims, the status of an answer. */
const RESERVED_PREFIXES: readonly string[] = ['_kalix-', OWN_PREFIX];

/** Is this metadata key (lower case) one that no caller may set, and that no caller is shown? */
export function isReservedKey(key: string): boolean {
  return RESERVED_PREFIXES.some((prefix) => key.startsWith(prefix));
}
