import { messageOf, StateferryError } from '../errors.ts';

/** What `attempt` answers; when it fails, a failure with this code that says what is not there. */
export async function reachable(
  code: 'KAFKA_UNAVAILABLE' | 'POSTGRES_UNAVAILABLE',
  what: string,
  attempt: () => Promise<unknown>,
): Promise<void> {
  try {
    await attempt();
  } catch (cause) {
    throw new StateferryError(code, `${what}: ${messageOf(cause)}`, { cause });
  }
}
