import { OPTION_NAMES } from './options.ts';
import { suggest } from './suggest.ts';

/** `; did you mean …?` for the option that a wrong name is nearest to, by its whole name or by its last part. */
export function didYouMean(name: string): string {
  const leaf = name.slice(name.lastIndexOf('.') + 1);
  const meant =
    suggest(name, OPTION_NAMES) ??
    OPTION_NAMES.find((option) => option.toLowerCase().endsWith(`.${leaf.toLowerCase()}`));
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}
