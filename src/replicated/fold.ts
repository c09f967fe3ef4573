import type { ReplicatedData, ReplicatedDelta } from '../model/replicated.ts';
import { merge } from './merge.ts';

/** What changes make, one after the other, of nothing; undefined: there are none. @throws Error as `merge` does. */
export function fold(deltas: Iterable<ReplicatedDelta>): ReplicatedData | undefined {
  let data: ReplicatedData | undefined;
  for (const delta of deltas) data = merge(data, delta).data;
  return data;
}
