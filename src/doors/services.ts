import type { Component } from '../model/component.ts';
import type { Descriptors } from '../protocol/descriptors.ts';
import type { Asker } from './calls.ts';

/** What the function offers at the doors now; another object for each version of it. */
export interface Services {
  readonly components: ReadonlyMap<string, Component>;
  readonly descriptors: Descriptors;
  /** Throws the CallFailure of a caller that may not read all this, by reflection or as OpenAPI; absent: everybody may. */
  readonly mustBeTold?: (asker: Asker) => void;
}
