import { z } from 'zod';
import { fields } from './routes.ts';

const filePath = (what: string) =>
  z.string({ error: 'the path of a file' }).min(1, { error: 'the path of a file' }).optional().describe(what);

const CLIENTS = ['required', 'optional'] as const;
const PORT_EXPECTED = 'a port, 0 to 65535';

const serverTlsFields = (whose: string) => ({
  certificateFile: filePath(`The certificate of ${whose} in PEM, with those between it and its CA behind it.`),
  keyFile: filePath('Its private key in PEM, without a pass phrase.'),
  clientCaFile: filePath('CAs in PEM that certificates of clients must be of; without it none is asked for.'),
  clientCertificates: z
    .enum(CLIENTS, { error: `one of ${CLIENTS.join(', ')}` })
    .optional()
    .describe(
      'Whether a client must have a certificate, or may; `required` where there is a `clientCaFile`. A bad one is always refused.',
    ),
});

export const httpTlsFields = fields(serverTlsFields('the server'));

export const doorTlsFields = fields({
  ...serverTlsFields('the doors'),
  plainPort: z
    .number({ error: PORT_EXPECTED })
    .int({ error: PORT_EXPECTED })
    .min(0, { error: PORT_EXPECTED })
    .max(65_535, { error: PORT_EXPECTED })
    .optional()
    .describe(
      'A port of 127.0.0.1 where the doors speak clear text besides, for the function on this host; 0 takes any free one.',
    ),
});

const serverName = (whose: string) =>
  z
    .string({ error: 'a host name' })
    .regex(/^[A-Za-z0-9.-]{1,253}$/, { error: 'a host name' })
    .optional()
    .describe(`The name that ${whose} certificate must have, where it is not the one that it is reached by.`);

/** The map of files of a client of `whose`; whether it speaks TLS at all is said by the map itself. */
const clientTlsFields = (whose: string) =>
  fields({
    enabled: z
      .boolean({ error: 'true or false' })
      .optional()
      .describe(
        'Whether TLS is spoken; `true` where anything else is set here. By itself it does for a server whose CA is a public one.',
      ),
    caFile: filePath(`CAs in PEM that ${whose} certificate must be of; without it those that Node.js knows.`),
    certificateFile: filePath('A certificate in PEM that is shown to the server (mTLS).'),
    keyFile: filePath('Its private key in PEM, without a pass phrase.'),
    serverName: serverName(whose),
  });

export const kafkaTlsFields = clientTlsFields('each broker’s');

export const postgresTlsFields = clientTlsFields('Postgres’');

export const functionTlsFields = fields({
  caFile: filePath('CAs in PEM that the function’s certificate must be of; without it those that Node.js knows.'),
  certificateFile: filePath('A certificate in PEM that is shown to the function.'),
  keyFile: filePath('Its private key in PEM, without a pass phrase.'),
  serverName: z
    .string({ error: 'a host name' })
    .regex(/^[A-Za-z0-9.-]{1,253}$/, { error: 'a host name' })
    .optional()
    .describe('The name that the function’s certificate must have, where it is not the one in `function.url`.'),
});

export const registryTlsFields = fields({
  caFile: filePath('CAs in PEM that the registry’s certificate must be of; without it those that Node.js knows.'),
  certificateFile: filePath('A certificate in PEM that is shown to the registry.'),
  keyFile: filePath('Its private key in PEM, without a pass phrase.'),
});

type Entry = Readonly<Record<string, unknown>>;

/** `name` alone says nothing: it is refused where `other` is not set. */
const needs =
  (name: string, other: string) =>
  (entry: Entry, context: z.RefinementCtx): void => {
    if (entry[name] === undefined || entry[other] !== undefined) return;
    context.addIssue({ code: 'custom', path: [other], message: `the path of a file, as there is ${name}` });
  };

export const doorTlsSchema = doorTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'))
  .superRefine(needs('clientCaFile', 'certificateFile'))
  .superRefine(needs('clientCertificates', 'clientCaFile'))
  .superRefine(needs('plainPort', 'certificateFile'));

export const functionTlsSchema = functionTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'));

export const registryTlsSchema = registryTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'));

export const kafkaTlsSchema = kafkaTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'));

export const postgresTlsSchema = postgresTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'));

/** Whom a client of a server trusts and what it shows. */
export type ClientTlsConfig = z.output<typeof kafkaTlsSchema>;

/** Whether a client with this map speaks TLS. */
export function speaksTls({ enabled, ...files }: ClientTlsConfig): boolean {
  return enabled ?? Object.keys(files).length > 0;
}

export const httpTlsSchema = httpTlsFields
  .superRefine(needs('certificateFile', 'keyFile'))
  .superRefine(needs('keyFile', 'certificateFile'))
  .superRefine(needs('clientCaFile', 'certificateFile'))
  .superRefine(needs('clientCertificates', 'clientCaFile'));

/** TLS at a server; without a `certificateFile` it speaks clear text. */
export type ServerTlsConfig = z.output<typeof httpTlsSchema>;

/** TLS at the doors; without a `certificateFile` they speak clear text. */
export type DoorTlsConfig = z.output<typeof doorTlsSchema>;
/** TLS to the schema registry, where a URL of it begins with https. */
export type RegistryTlsConfig = z.output<typeof registryTlsSchema>;
/** TLS to the function, where its URL begins with https. */
export type FunctionTlsConfig = z.output<typeof functionTlsSchema>;
