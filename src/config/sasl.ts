import { z } from 'zod';
import { fields } from './routes.ts';

const MECHANISMS = ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'] as const;
const LOOPBACK_HOST = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])$/;

const text = (what: string, doc: string) =>
  z.string({ error: what }).min(1, { error: what }).max(4_096, { error: what }).optional().describe(doc);

const URL_EXPECTED = 'an https URL without a user, or http for an endpoint on this host';

/** Never shown. */
export const SASL_SECRETS = ['password', 'clientSecret'] as const;

export const kafkaSaslFields = fields({
  mechanism: z
    .enum(MECHANISMS, { error: `one of ${MECHANISMS.join(', ')}` })
    .optional()
    .describe('How this client says who it is; without it, it does not.'),
  username: text('a user name', 'For PLAIN and SCRAM.'),
  password: text('a password', 'Its password.'),
  passwordFile: text(
    'the path of a file',
    'A file that holds the password, in the place of `password`; read again at every authentication.',
  ),
  tokenFile: text(
    'the path of a file',
    'For OAUTHBEARER: a file that holds the token, read again at every authentication.',
  ),
  tokenUrl: z
    .string({ error: URL_EXPECTED })
    .refine(isTokenUrl, { error: URL_EXPECTED })
    .optional()
    .describe('For OAUTHBEARER: where tokens are to be had by client credentials, in the place of `tokenFile`.'),
  clientId: text('a client id', 'Who asks there.'),
  clientSecret: text('a secret', 'And its secret.'),
  clientSecretFile: text(
    'the path of a file',
    'A file that holds it, in the place of `clientSecret`; read again at every request.',
  ),
  scope: text('scopes, with spaces between them', 'What is asked for there; without it what the endpoint gives.'),
  caFile: text(
    'the path of a file',
    'CAs in PEM that the certificate of `tokenUrl` must be of; without it those that Node.js knows.',
  ),
  allowClearText: z
    .boolean({ error: 'true or false' })
    .optional()
    .describe(
      'PLAIN and OAUTHBEARER show their secret to everybody on the way where there is no TLS. `true`: do so all the same.',
    ),
});

type Given = z.output<typeof kafkaSaslFields>;
type Field = keyof Given;

const BY_PASSWORD: readonly Field[] = ['username', 'password', 'passwordFile'];
const BY_TOKEN: readonly Field[] = [
  'tokenFile',
  'tokenUrl',
  'clientId',
  'clientSecret',
  'clientSecretFile',
  'scope',
  'caFile',
];
const OF_ENDPOINT: readonly Field[] = BY_TOKEN.filter((field) => field !== 'tokenFile');

export const kafkaSaslSchema = kafkaSaslFields.superRefine((given, context) => {
  const fault = (field: Field, message: string): void => context.addIssue({ code: 'custom', path: [field], message });
  const has = (field: Field): boolean => given[field] !== undefined;
  const exactlyOne = (a: Field, b: Field): void => {
    if (has(a) && has(b)) fault(b, `either ${a} or ${b}`);
    if (!has(a) && !has(b)) fault(a, `${a} or ${b}`);
  };
  const none = (fields: readonly Field[], why: string): void => {
    for (const field of fields) if (has(field)) fault(field, `nothing, ${why}`);
  };
  const { mechanism } = given;
  if (mechanism === undefined) {
    if (Object.keys(given).length > 0) fault('mechanism', `one of ${MECHANISMS.join(', ')}`);
    return;
  }
  if (mechanism !== 'OAUTHBEARER') {
    if (!has('username')) fault('username', `a user name, as ${mechanism} wants one`);
    exactlyOne('password', 'passwordFile');
    none(BY_TOKEN, `as the mechanism is ${mechanism}`);
    return;
  }
  none(BY_PASSWORD, 'as the mechanism is OAUTHBEARER');
  exactlyOne('tokenFile', 'tokenUrl');
  if (has('tokenUrl')) {
    if (!has('clientId')) fault('clientId', 'a client id, as there is a tokenUrl');
    exactlyOne('clientSecret', 'clientSecretFile');
  } else none(OF_ENDPOINT, 'as there is no tokenUrl');
});

/** Who this process is for the brokers. Without a `mechanism` it does not say. */
export type KafkaSaslConfig = z.output<typeof kafkaSaslSchema>;

function isTokenUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const url = new URL(value);
  if (url.username !== '' || url.password !== '' || url.hash !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK_HOST.test(url.hostname));
}

/** Whether this mechanism shows its secret to whoever reads along. */
export function showsSecret({ mechanism }: KafkaSaslConfig): boolean {
  return mechanism === 'PLAIN' || mechanism === 'OAUTHBEARER';
}

/** Whether host:port is on this host. */
export function isLoopback(address: string): boolean {
  return LOOPBACK_HOST.test(address.slice(0, address.lastIndexOf(':')));
}
