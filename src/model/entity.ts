/** An entity: the namespace of its type in the journal, and its id. */
export interface EntityKey {
  readonly entityType: string;
  readonly entityId: string;
}
