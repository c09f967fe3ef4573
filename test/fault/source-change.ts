import type { SourceChange } from './mutations.ts';

/** The text with the changes made. Throws where what is to be changed is not there exactly once: the sources moved on. */
export function changed(text: string, { module, places }: SourceChange): string {
  return places.reduce((before, { from, to }) => {
    const parts = before.split(from);
    if (parts.length !== 2) {
      throw new Error(`${module} has ${parts.length - 1} times, and not once, what is to be broken: ${from}`);
    }
    return parts.join(to);
  }, text);
}
