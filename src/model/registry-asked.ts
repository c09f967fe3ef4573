/** What a registry is asked for: a schema by its id, a version of a subject, whether a schema is compatible, to register one. */
export type RegistryRequest = 'schema' | 'version' | 'compatibility' | 'register';

/**
 * What came of it: `ok`; `unknown`, it has no such thing; `refused`, it does not take the schema; `denied`, it does not let us in;
 * `failed`, no answer, or none of a registry.
 */
export type RegistryOutcome = 'ok' | 'unknown' | 'refused' | 'denied' | 'failed';

/** One request to one address of the schema registry. */
export interface RegistryAsked {
  readonly request: RegistryRequest;
  readonly outcome: RegistryOutcome;
  /** From the request to its whole answer, or to when none could come any more. */
  readonly ms: number;
}
