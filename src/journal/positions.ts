import type { Positions } from '../model/record.ts';

/**
 * Positions as they stand in jsonb: offsets as decimal strings, since JSON numbers do not hold every 64-bit offset in
 * every reader. Keys are sorted, so equal positions are equal text.
 */
export function positionsToJson(positions: Positions): string {
  const topics = Object.keys(positions).sort();
  return `{${topics.map((topic) => `${JSON.stringify(topic)}:"${positions[topic]}"`).join(',')}}`;
}

export function positionsFromJson(json: Readonly<Record<string, string>> | null): Positions {
  const positions: Record<string, bigint> = {};
  for (const [topic, offset] of Object.entries(json ?? {})) positions[topic] = BigInt(offset);
  return positions;
}
