import { z } from 'zod';
import { fields } from './routes.ts';

const TEXT = 'printable characters, at least one';
const text = (what: string) =>
  z
    .string({ error: TEXT })
    .regex(/^[ -~]{1,4096}$/, { error: TEXT })
    .optional()
    .describe(what);

export const registryAuthFields = fields({
  user: text('The user, or the key of an API key.'),
  password: text('Its password, or the secret of the API key.'),
  passwordFile: text('A file that holds it; read again for every request.'),
  token: text('A bearer token, instead of user and password.'),
  tokenFile: text('A file that holds it; read again for every request.'),
});

/** Fields that are never shown. */
export const REGISTRY_SECRETS = ['password', 'token'] as const;

export const registryAuthSchema = registryAuthFields.superRefine((auth, context) => {
  const refuse = (name: keyof typeof auth, message: string) =>
    context.addIssue({ code: 'custom', path: [name], message });
  const hasPassword = auth.password !== undefined || auth.passwordFile !== undefined;
  const hasToken = auth.token !== undefined || auth.tokenFile !== undefined;
  if (auth.password !== undefined && auth.passwordFile !== undefined)
    refuse('passwordFile', 'either password or passwordFile');
  if (auth.token !== undefined && auth.tokenFile !== undefined) refuse('tokenFile', 'either token or tokenFile');
  if (hasToken && (auth.user !== undefined || hasPassword)) refuse('user', 'either a user with a password or a token');
  else if (auth.user !== undefined && !hasPassword) refuse('password', 'password or passwordFile, as there is a user');
  else if (auth.user === undefined && hasPassword) refuse('user', 'a user, as there is a password');
});

/** Who a process is for the schema registry. */
export type RegistryAuthConfig = z.output<typeof registryAuthSchema>;
