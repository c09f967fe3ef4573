import { createRequire } from 'node:module';
import kafkajs, { type AuthenticationProviderArgs, type Authenticator, type Mechanism } from 'kafkajs';
import { messageOf } from '../errors.ts';

const require = createRequire(import.meta.url);
const { KafkaJSNonRetriableError } = kafkajs;

/** How a client says who it is. Secrets are asked for at every authentication, as their files may have changed. */
export type Sasl =
  | {
      readonly mechanism: 'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512';
      readonly username: string;
      readonly password: () => string;
    }
  | { readonly mechanism: 'OAUTHBEARER'; readonly token: () => Promise<string> };

/** kafkajs' own authentication for a user with a password. */
type ByPassword = (user: { username: string; password: string }) => (args: AuthenticationProviderArgs) => Authenticator;

const BY_PASSWORD: Readonly<Record<'PLAIN' | 'SCRAM-SHA-256' | 'SCRAM-SHA-512', ByPassword>> = {
  PLAIN: require('kafkajs/src/broker/saslAuthenticator/plain') as ByPassword,
  'SCRAM-SHA-256': require('kafkajs/src/broker/saslAuthenticator/scram256') as ByPassword,
  'SCRAM-SHA-512': require('kafkajs/src/broker/saslAuthenticator/scram512') as ByPassword,
};
const oauthRequest = require('kafkajs/src/protocol/sasl/oauthBearer') as {
  request: (sasl: object, token: { value: string }) => Promise<{ encode(): Promise<Buffer> }>;
};

/** Bytes that can stand in the message of OAUTHBEARER without ending it (RFC 7628, 3.1). */
const TOKEN = /^[\x21-\x7e]+$/;
/** Of the answer's bytes, kafkajs puts the length before them. */
const LENGTH_BYTES = 4;

/**
 * The mechanism as kafkajs takes it. A refusal is not tried again by kafkajs, and says what to check; a connection that is
 * lost meanwhile is tried again like any other.
 */
export function mechanismOf(sasl: Sasl): Mechanism {
  return {
    mechanism: sasl.mechanism,
    authenticationProvider: (args) => ({
      async authenticate() {
        let lost: unknown;
        const watched: AuthenticationProviderArgs = {
          ...args,
          // Whoever waits for the connection says it.
          logger: { ...args.logger, error: args.logger.debug },
          async saslAuthenticate(exchange) {
            try {
              return await args.saslAuthenticate(exchange);
            } catch (error) {
              if (isLoss(error)) lost = error;
              throw error;
            }
          },
        };
        try {
          if (sasl.mechanism === 'OAUTHBEARER') await showToken(await sasl.token(), watched);
          else {
            const user = { username: sasl.username, password: sasl.password() };
            await BY_PASSWORD[sasl.mechanism](user)(watched).authenticate();
          }
        } catch (error) {
          if (lost !== undefined) throw lost;
          throw new KafkaJSNonRetriableError(
            `the broker ${args.host}:${args.port} did not let this client in by ${sasl.mechanism}` +
              `${sasl.mechanism === 'OAUTHBEARER' ? '' : ` as ${JSON.stringify(sasl.username)}`}: ${messageOf(error)}. ` +
              `Check kafka.sasl, and ${sasl.mechanism === 'OAUTHBEARER' ? 'what the broker takes for a token' : 'what the broker has for that user'}.`,
          );
        }
      },
    }),
  };
}

/** kafkajs' own way takes a refusal for consent: the broker's answer to a bad token is no error but a text (RFC 7628, 3.2.2). */
async function showToken(value: string, { saslAuthenticate }: AuthenticationProviderArgs): Promise<void> {
  if (!TOKEN.test(value)) throw new Error('the token has characters that no token has');
  await saslAuthenticate({
    request: await oauthRequest.request({}, { value }),
    response: {
      decode: async (bytes: Buffer) => bytes.subarray(LENGTH_BYTES).toString('utf8'),
      parse: async (refusal: string) => {
        if (refusal !== '') throw new Error(`the token is refused: ${refusal}`);
      },
    },
  } as unknown as Parameters<AuthenticationProviderArgs['saslAuthenticate']>[0]);
}

function isLoss(error: unknown): boolean {
  return (
    error instanceof Error &&
    ['KafkaJSConnectionError', 'KafkaJSConnectionClosedError', 'KafkaJSRequestTimeoutError'].includes(error.name)
  );
}
