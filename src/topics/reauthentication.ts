import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/** A connection of kafkajs 2.2.4, as far as it is used here. */
interface Connection {
  /** When it was let in, by `process.hrtime`; null: it was not. */
  readonly authenticatedAt: [number, number] | null;
  /** How long the broker lets it stay, in ms; 0: for ever. A Long. */
  readonly sessionLifetime: { toString(): string };
  isAuthenticated(): boolean;
}

const { prototype } = require('kafkajs/src/network/connection') as { prototype: Connection };

/** Before a session ends, who has it says again who it is, so long before and no more of its life than this share. */
const BEFORE_MS = 10_000;
const SHARE = 0.2;
/** A broker takes no second authentication within a second of the first (KIP-368), and hangs up on whoever tries. */
const MIN_MS = 1_100;

/**
 * Has connections say who they are again when their session is about to end. kafkajs does so with every request from 10 s before
 * the end on, which brokers refuse: a token that is not renewed so early would cost its connections, and one that lives for less
 * could not be used at all.
 */
export function installReauthentication(): void {
  prototype.isAuthenticated = function isAuthenticated(this: Connection): boolean {
    if (this.authenticatedAt === null) return false;
    const lifetimeMs = Number(this.sessionLifetime.toString());
    if (lifetimeMs === 0) return true;
    const [seconds, nanos] = process.hrtime(this.authenticatedAt);
    const ageMs = seconds * 1_000 + nanos / 1_000_000;
    return ageMs < Math.max(MIN_MS, lifetimeMs - Math.min(BEFORE_MS, lifetimeMs * SHARE));
  };
}
