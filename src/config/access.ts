import { z } from 'zod';
import { distinct, fields } from './routes.ts';

/** A token that is guessed is worth nothing: no shorter one is taken. */
export const TOKEN_CHARACTERS = 16;
/** RFC 6750, 2.1: what may stand behind `Bearer`. */
export const TOKEN = new RegExp(`^(?=.{${TOKEN_CHARACTERS},}$)[A-Za-z0-9._~+/-]+=*$`);
export const TOKEN_EXPECTED = `a token: ${TOKEN_CHARACTERS} or more of A-Z a-z 0-9 . _ ~ + / -, with = at its end only`;

const ALGORITHMS = [
  'HS256',
  'HS384',
  'HS512',
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;

const NAME_EXPECTED = 'a name: up to 253 of A-Z a-z 0-9 . _ -, with a letter or digit first';
const CERTIFICATE_EXPECTED = 'a name as certificates have it, for example shop.internal';
const text = (expected: string) => z.string({ error: expected }).min(1, { error: expected });
const filePath = () => text('the path of a file');

/** Secrets of these entries; the rest of an entry may be shown. */
export const SERVICE_SECRETS = ['token'] as const;
export const JWT_KEY_SECRETS = ['key'] as const;

export const doorServiceFields = fields({
  name: z
    .string({ error: NAME_EXPECTED })
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,252}$/, { error: NAME_EXPECTED })
    .describe('What ACLs call the service.'),
  token: z
    .string({ error: TOKEN_EXPECTED })
    .regex(TOKEN, { error: TOKEN_EXPECTED })
    .optional()
    .describe('What it sends: `authorization: Bearer <token>`.'),
  tokenFile: filePath().optional().describe('A file that holds the token, in the place of `token`.'),
  certificateName: z
    .string({ error: CERTIFICATE_EXPECTED })
    .regex(/^[A-Za-z0-9*._-]{1,253}$/, { error: CERTIFICATE_EXPECTED })
    .optional()
    .describe(
      'The name in its client certificate: a DNS name of it or, of one that has no DNS names, its common name. It needs `doors.tls.clientCaFile`.',
    ),
});

export const jwtKeyFields = fields({
  id: text('the id of the key').describe('The `kid` of tokens that name their key.'),
  issuer: text('the issuer as tokens have it in iss')
    .optional()
    .describe('Tokens of this issuer, and no others, are verified with the keys that have it here.'),
  algorithm: z
    .enum(ALGORITHMS, { error: `one of ${ALGORITHMS.join(', ')}` })
    .describe('How tokens are signed; no other signature counts.'),
  key: text('the text of a key')
    .optional()
    .describe(
      'For HS*: the secret, or `base64:` and its bytes; for all others the public key or a certificate, in PEM.',
    ),
  keyFile: filePath().optional().describe('A file that holds the key, in the place of `key`.'),
});

/** A secret or the file that holds it, and not both; none of them where `instead` is there. */
const oneOf =
  <K extends string>(secret: K, file: string, instead?: string) =>
  (entry: { readonly [key: string]: unknown }, context: z.RefinementCtx): void => {
    const has = (name: string | undefined): boolean => name !== undefined && entry[name] !== undefined;
    if (has(secret) && has(file)) {
      context.addIssue({ code: 'custom', path: [file], message: `either ${secret} or ${file}` });
    }
    if (!has(secret) && !has(file) && !has(instead)) {
      const names = [secret, file, ...(instead === undefined ? [] : [instead])].join(', or ');
      context.addIssue({ code: 'custom', path: [secret], message: names });
    }
  };

export const doorServiceSchema = doorServiceFields.superRefine(oneOf('token', 'tokenFile', 'certificateName'));
export const jwtKeySchema = jwtKeyFields.superRefine(oneOf('key', 'keyFile'));

/** A service that the doors know, by its token or by its certificate. */
export type DoorService = z.output<typeof doorServiceSchema>;
/** A key that bearer tokens are verified with. */
export type JwtKey = z.output<typeof jwtKeySchema>;

export const doorServicesSchema = distinct(doorServiceSchema, ({ name }) => name, 'a name').superRefine(
  (services, context) => {
    const whose = new Map<string, string>();
    for (const [index, { name, certificateName }] of services.entries()) {
      if (certificateName === undefined) continue;
      const other = whose.get(certificateName.toLowerCase());
      if (other === undefined) whose.set(certificateName.toLowerCase(), name);
      else {
        const message = `another name than that of ${other}: it tells who calls`;
        context.addIssue({ code: 'custom', path: [index, 'certificateName'], message });
      }
    }
  },
);
export const jwtKeysSchema = distinct(jwtKeySchema, ({ id }) => id, 'an id');
