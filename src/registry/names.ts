/** What names are compared by where they differ: `totalDelay`, `total_delay` and `TotalDelay` are one. */
const folded = (name: string): string => name.replaceAll('_', '').toLowerCase();

/**
 * Of `candidates`, the one that `name` means: the one of exactly that name (of several spellings, any), else the only one
 * that differs in case and underscores alone. Undefined: none, or more than one.
 */
export function matching<T>(
  name: string,
  candidates: readonly T[],
  spellings: (candidate: T) => readonly string[],
): T | undefined {
  const exact = candidates.find((candidate) => spellings(candidate).includes(name));
  if (exact !== undefined) return exact;
  const wanted = folded(name);
  const alike = candidates.filter((candidate) => spellings(candidate).some((spelling) => folded(spelling) === wanted));
  return alike.length === 1 ? alike[0] : undefined;
}

/** The last part of a full name. */
export function simpleName(fullName: string): string {
  return fullName.slice(fullName.lastIndexOf('.') + 1);
}

/** Of message types, the one that a schema of this name is about: by full name, else the only one of that last part. */
export function typeNamed<T extends { readonly typeName: string }>(name: string, types: readonly T[]): T | undefined {
  const exact = types.find(({ typeName }) => typeName === name);
  if (exact !== undefined) return exact;
  const alike = types.filter(({ typeName }) => simpleName(typeName) === simpleName(name));
  return alike.length === 1 ? alike[0] : undefined;
}

/** The value names of an enum without the prefix that proto style asks for: `STATUS_ACTIVE` of `Status` is `ACTIVE`, too. */
export function enumSpellings(enumName: string, valueName: string): readonly string[] {
  const prefix = `${enumName.replace(/([a-z0-9])([A-Z])/g, '$1_$2').toUpperCase()}_`;
  return valueName.startsWith(prefix) ? [valueName, valueName.slice(prefix.length)] : [valueName];
}
