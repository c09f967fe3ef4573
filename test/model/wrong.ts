/** Ways to get the protocol wrong, each of which the model has to find out. */
export type Wrong =
  | 'no epoch check at the journal'
  | 'no position check at the journal'
  | 'journal asked again after a lost answer'
  | 'no fence'
  | 'fence of the newest owner only'
  | 'offsets before the fence'
  | 'fence before the epoch'
  | 'outbox not emitted again'
  | 'own id initialised after it joined the owners'
  | 'owner forgotten at an unclean release'
  | 'id kept after an unknown outcome'
  | 'id kept for a shard given up uncleanly'
  | 'offsets of one topic only';
