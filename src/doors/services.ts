import type { Component } from '../model/component.ts';
import type { Descriptors } from '../protocol/descriptors.ts';

/** What the function offers at the doors now; another object for each version of it. */
export interface Services {
  readonly components: ReadonlyMap<string, Component>;
  readonly descriptors: Descriptors;
}
