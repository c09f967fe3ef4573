import { StateferryError } from '../errors.ts';

/**
 * The topic that an annotation names, or another text of it: every `${NAME}` in it replaced by the variable's value.
 * `where` is the method, for the sentence, and `what` the text. Throws FUNCTION_SPEC for a variable that is not among `variables`, and for a `${` that is not closed.
 */
export function fillIn(
  template: string,
  variables: ReadonlyMap<string, string>,
  where: string,
  what = 'topic',
): string {
  const filled = template.replace(/\$\{([^}]*)\}/g, (_, name: string) => {
    const value = variables.get(name);
    if (value !== undefined) return value;
    throw new StateferryError(
      'FUNCTION_SPEC',
      `The ${what} "${template}" of ${where} needs the variable ${name}, and the function did not tell it in discovery. ` +
        `Set it in the environment that the function runs in; where its SDK does not pass that on, write the ${what} out.`,
    );
  });
  if (!filled.includes('${')) return filled;
  throw new StateferryError(
    'FUNCTION_SPEC',
    `The ${what} "${template}" of ${where} has a \${ that no } closes. Write a variable as \${NAME}.`,
  );
}
