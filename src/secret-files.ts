import { readFileSync } from 'node:fs';
import { messageOf } from './errors.ts';

/** A secret that the configuration holds or names the file of, and where it does. */
export interface NamedSecret {
  readonly where: string;
  readonly value: string | undefined;
  readonly file: string | undefined;
}

/**
 * The secret as it is at each time it is asked for. `faults` gets a line where its file cannot be read now or is empty.
 * What it returns throws, with a sentence that has nothing of the secret, where the file cannot be read then.
 */
export function secretSource(named: NamedSecret, faults: string[]): () => string {
  const { value } = named;
  if (value !== undefined) return () => value;
  try {
    readSecretNow(named);
  } catch (error) {
    faults.push(messageOf(error));
  }
  return () => readSecretNow(named);
}

/**
 * The same, for what may well be asked for while its file is written: what cannot be read then is what it was before, and
 * `onBroken` gets the reason, once for each. What it returns never throws.
 */
export function keptSecret(named: NamedSecret, faults: string[], onBroken: (reason: string) => void): () => string {
  const before = faults.length;
  const read = secretSource(named, faults);
  let current = faults.length > before ? '' : read();
  let told = '';
  return () => {
    try {
      current = read();
      told = '';
    } catch (error) {
      const reason = messageOf(error);
      if (reason !== told) onBroken(reason);
      told = reason;
    }
    return current;
  };
}

/** The text of the file without the spaces around it: secrets are mounted with a newline at their end. @throws Error */
export function readSecretNow({ where, file = '' }: NamedSecret): string {
  let text: string;
  try {
    text = readFileSync(file, 'utf8').trim();
  } catch (error) {
    throw new Error(`${where}: found no file that can be read (${messageOf(error)}), expected the path of one`);
  }
  if (text === '') throw new Error(`${where}: found ${file} empty, expected a secret in it`);
  return text;
}
