import type { Logger } from 'pino';
import { messageOf } from '../errors.ts';
import type { Chunk } from '../model/chunk.ts';
import type { Signals } from '../observe/signals.ts';
import type { PacedLoop } from '../paced.ts';
import type { Transactor } from '../topics/transactor.ts';
import { createEmission, type Emission, type JournaledChunk } from './emission.ts';
import { createJournaling, type JournalingOptions } from './journaling.ts';
import type { OpeningSteps } from './opening.ts';
import type { Shard } from './shard.ts';

export interface IncarnationOptions extends Omit<JournalingOptions, 'intervalMs' | 'onUnknown'> {
  readonly transactionalId: string;
  readonly journalIntervalMs: number;
  readonly emitIntervalMs: number;
  /** `onLost`: as `createTransactor` of topics has it. */
  readonly createTransactor: (transactionalId: string, onLost: (error: Error) => void) => Transactor;
  /** The steps of opening for one transactional id. */
  readonly opening: (transactionalId: string) => OpeningSteps;
  /** The chunk is in the journal, and on its way to Kafka. */
  readonly onJournaled: (shard: Shard, chunk: Chunk, ms: number) => void;
  readonly onEmitted: (chunks: readonly JournaledChunk[]) => void;
  /** Nobody knows whether chunks were written. */
  readonly onJournalUnknown: (error: unknown) => void;
  /** Fenced, or nobody knows whether a transaction was committed. */
  readonly onEmitUnknown: (reason: string, error: unknown) => void;
  readonly signals: Pick<Signals, 'transactionCommitted'>;
  readonly log: Logger;
}

/** What one transactional id lives for: from its InitProducerId until it is fenced or something about it is unknown. */
export interface Incarnation {
  readonly transactionalId: string;
  readonly emission: Emission;
  readonly journaling: PacedLoop;
  readonly opening: OpeningSteps;
  /** Nothing more is begun, and nothing more is heard of it. Never rejects. */
  end(): Promise<void>;
}

/** @throws what the transactor's opening throws: then there is nothing that has to be ended. */
export async function beginIncarnation(options: IncarnationOptions): Promise<Incarnation> {
  const { transactionalId, onEmitUnknown, onJournaled, signals, log } = options;
  let isLive = false;
  const transactor = options.createTransactor(transactionalId, (error) => {
    if (isLive) onEmitUnknown('a producer lost a broker', error);
  });
  try {
    // Before the id is anywhere to be read, or a later InitProducerId of ours would undo a successor's fence.
    await transactor.open();
  } catch (error) {
    await transactor.close().catch(() => undefined);
    throw error;
  }
  isLive = true;
  const emission = createEmission({
    intervalMs: options.emitIntervalMs,
    transactor,
    onEmitted: options.onEmitted,
    onUnknown: (error) => onEmitUnknown('a transaction failed or its outcome is unknown', error),
    onTransaction: (measured) => signals.transactionCommitted(measured),
  });
  const journaling = createJournaling({
    ...options,
    intervalMs: options.journalIntervalMs,
    onJournaled(shard, chunk, ms) {
      emission.push({ shard, number: chunk.number, positions: chunk.to, outputs: chunk.outputs });
      onJournaled(shard, chunk, ms);
    },
    onUnknown: options.onJournalUnknown,
  });
  return {
    transactionalId,
    emission,
    journaling,
    opening: options.opening(transactionalId),
    async end() {
      isLive = false;
      emission.stop();
      journaling.stop();
      await transactor.close().catch((error) => log.debug({ error: messageOf(error) }, 'Closing a producer failed'));
    },
  };
}
