import { readFileSync } from 'node:fs';
import { TOKEN, TOKEN_EXPECTED } from './config/access.ts';
import type { Config } from './config/config.ts';
import { type Access, createAccess } from './doors/access/access.ts';
import { type BearerKey, readBearerKey } from './doors/access/bearer-keys.ts';
import { createBearers } from './doors/access/bearers.ts';
import { createCallers, type KnownService } from './doors/access/caller.ts';
import { messageOf, StateferryError } from './errors.ts';
import type { Discovered } from './functions/discovery.ts';

/** Who may call, by the configuration and by what each version of the function says. */
export type AccessOf = (found: Pick<Discovered, 'access' | 'dialect'>) => Access;

/**
 * Reads the tokens and keys that the configuration names, in files too; a file is read once, here. `selfToken` is what the
 * function itself sends.
 * @throws StateferryError CONFIG_INVALID with a line for every file and key that cannot be used, and never with a secret
 */
export function readDoorAccess(
  { withoutAcl, services, jwtKeys }: Pick<Config['doors'], 'withoutAcl' | 'services' | 'jwtKeys'>,
  selfToken?: string,
): AccessOf {
  const faults: string[] = [];
  const identify = createCallers({
    services: knownServices(services, faults),
    ...(selfToken !== undefined && { selfToken }),
  });
  const bearers = createBearers(bearerKeys(jwtKeys, faults));
  if (faults.length > 0) {
    const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`;
    const listed = faults.map((fault) => `  - ${fault}`).join('\n');
    throw new StateferryError('CONFIG_INVALID', `the configuration of the doors has ${count}:\n${listed}`);
  }
  return ({ access, dialect }) =>
    createAccess({ rules: access, withoutAcl, identify, bearers, callerKeys: dialect.callerKeys });
}

function knownServices(services: Config['doors']['services'], faults: string[]): KnownService[] {
  const known: KnownService[] = [];
  for (const [index, { name, token: given, tokenFile }] of services.entries()) {
    const where = `doors.services[${index}]`;
    const token = given ?? readSecret(tokenFile, `${where}.tokenFile`, faults);
    if (token === undefined) continue;
    const same = known.find((other) => other.token === token);
    if (!TOKEN.test(token)) {
      faults.push(
        `${where}.tokenFile: found a text in ${tokenFile} that is not shown here, expected ${TOKEN_EXPECTED}`,
      );
    } else if (same !== undefined) {
      faults.push(`${where}: found the token of ${same.name}, expected another one: it tells who calls`);
    } else {
      known.push({ name, token });
    }
  }
  return known;
}

function bearerKeys(keys: Config['doors']['jwtKeys'], faults: string[]): BearerKey[] {
  const read: BearerKey[] = [];
  for (const [index, { id, issuer, algorithm, key: given, keyFile }] of keys.entries()) {
    const where = `doors.jwtKeys[${index}]${given === undefined ? '.keyFile' : '.key'}`;
    const text = given?.trim() ?? readSecret(keyFile, where, faults);
    if (text === undefined) continue;
    try {
      read.push({ id, algorithm, key: readBearerKey(text, algorithm), ...(issuer !== undefined && { issuer }) });
    } catch (error) {
      faults.push(`${where}: ${messageOf(error)}`);
    }
  }
  return read;
}

/** The text of a file without the spaces around it: secrets are mounted with a newline at their end. */
function readSecret(file: string | undefined, where: string, faults: string[]): string | undefined {
  try {
    return readFileSync(file ?? '', 'utf8').trim();
  } catch (error) {
    faults.push(`${where}: found no file that can be read (${messageOf(error)}), expected the path of one`);
    return undefined;
  }
}
