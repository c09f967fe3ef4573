import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { TOKEN, TOKEN_EXPECTED } from './config/access.ts';
import type { Config } from './config/config.ts';
import { type Access, createAccess } from './doors/access/access.ts';
import { type BearerKey, readBearerKey } from './doors/access/bearer-keys.ts';
import { createBearers } from './doors/access/bearers.ts';
import { createCallers, type KnownService } from './doors/access/caller.ts';
import { messageOf } from './errors.ts';
import type { Discovered } from './functions/discovery.ts';

const SELF_TOKEN_BYTES = 32;

/** Who may call, by the configuration and by what each version of the function says. */
export type AccessOf = (found: Pick<Discovered, 'access' | 'dialect'>) => Access;

/**
 * Reads the tokens and keys that the configuration names, in files too; a file is read once, here. `selfToken` is what the
 * function itself sends. `faults` gets a line for every file and key that cannot be used, and never a secret.
 */
export function readDoorAccess(
  { withoutAcl, services, jwtKeys }: Pick<Config['doors'], 'withoutAcl' | 'services' | 'jwtKeys'>,
  faults: string[],
  selfToken?: string,
): AccessOf {
  const identify = createCallers({
    services: knownServices(services, faults, selfToken),
    ...(selfToken !== undefined && { selfToken }),
  });
  const bearers = createBearers(bearerKeys(jwtKeys, faults));
  return ({ access, dialect }) =>
    createAccess({ rules: access, withoutAcl, identify, bearers, callerKeys: dialect.callerKeys });
}

/** What the function proves to be itself with: the same in all processes where a file holds it, else made anew. */
export function readSelfToken({ selfTokenFile }: Pick<Config['doors'], 'selfTokenFile'>, faults: string[]): string {
  if (selfTokenFile === '') return randomBytes(SELF_TOKEN_BYTES).toString('base64url');
  const where = 'doors.selfTokenFile';
  const token = readSecret(selfTokenFile, where, faults);
  if (token !== undefined && !TOKEN.test(token)) faults.push(notAToken(where, selfTokenFile));
  return token ?? '';
}

function knownServices(
  services: Config['doors']['services'],
  faults: string[],
  selfToken: string | undefined,
): KnownService[] {
  const known: KnownService[] = [];
  for (const [index, { name, token: given, tokenFile, certificateName }] of services.entries()) {
    const where = `doors.services[${index}]`;
    if (given === undefined && tokenFile === undefined) {
      known.push({ name, certificateName });
      continue;
    }
    const token = given ?? readSecret(tokenFile, `${where}.tokenFile`, faults);
    if (token === undefined) continue;
    const same = known.find((other) => other.token === token);
    if (!TOKEN.test(token)) {
      faults.push(notAToken(`${where}.tokenFile`, tokenFile));
    } else if (token === selfToken) {
      faults.push(`${where}: found the token of the function itself (doors.selfTokenFile), expected another one`);
    } else if (same !== undefined) {
      faults.push(`${where}: found the token of ${same.name}, expected another one: it tells who calls`);
    } else {
      known.push({ name, token, certificateName });
    }
  }
  return known;
}

function notAToken(where: string, file: string | undefined): string {
  return `${where}: found a text in ${file} that is not shown here, expected ${TOKEN_EXPECTED}`;
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
