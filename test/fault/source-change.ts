import type { SourceChange } from './mutations.ts';

/** The text with the change made. Throws where what is to be changed is not there exactly once: the sources moved on. */
export function changed(text: string, { module, from, to }: SourceChange): string {
  const parts = text.split(from);
  if (parts.length !== 2) {
    throw new Error(`${module} has ${parts.length - 1} times, and not once, what is to be broken: ${from}`);
  }
  return parts.join(to);
}
