import type { Signals } from '../observe/signals.ts';
import type { Consumption } from '../topics/consumption.ts';
import type { Shard } from './shard.ts';

export interface GateOptions {
  /** Those that are open. */
  readonly shards: () => Iterable<Shard>;
  readonly consumer: () => Pick<Consumption, 'seek' | 'pause' | 'resume'> | undefined;
  readonly signals: Pick<Signals, 'schemaAwaited'>;
}

/** What the open shards take in, and when: stops and starts the consumer, shard by shard. */
export interface Gate {
  /** Takes nothing from the input topics any more, or takes it again: what entities send each other goes on. */
  hold(held: boolean): void;
  /** Points the consumer at what the shard has not accepted yet. */
  follow(shard: Shard): void;
  /** Stops and starts the consumption of a shard, by the room that it has and by what it waits for. */
  regulate(shard: Shard): void;
  /** Nothing more comes in before it is settled; then all of it is fetched again. `settled` never rejects. */
  standUntil(shard: Shard, settled: Promise<void>): void;
}

export function createGate({ shards, consumer, signals }: GateOptions): Gate {
  let isHeld = false;

  function follow(shard: Shard): void {
    for (const [topic, offset] of shard.next) consumer()?.seek(topic, shard.number, offset);
    if (!shard.paused) consumer()?.resume(shard.number);
  }

  function regulate(shard: Shard): void {
    if (shard.state !== 'running') return;
    const full = shard.paused ? !shard.hasRoom() : shard.isFull();
    const stands = full || shard.unknownToGroup || shard.halts.size > 0 || shard.awaits > 0;
    const gated = isHeld || shard.control.isGated(performance.now());
    const opens = shard.gated && !gated;
    shard.gated = gated;
    if (stands !== shard.paused) {
      shard.paused = stands;
      if (stands) consumer()?.pause(shard.number);
      else consumer()?.resume(shard.number);
    }
    if (opens) follow(shard);
  }

  return {
    hold(held) {
      isHeld = held;
      for (const shard of shards()) regulate(shard);
    },
    follow,
    regulate,
    standUntil(shard, settled) {
      if (shard.awaits++ === 0) {
        shard.awaitsSince = Date.now();
        signals.schemaAwaited(shard.number);
      }
      void settled.then(() => {
        if (--shard.awaits === 0) shard.awaitsSince = undefined;
        if (shard.state !== 'running' || shard.awaits > 0) return;
        follow(shard);
        regulate(shard);
      });
    },
  };
}
