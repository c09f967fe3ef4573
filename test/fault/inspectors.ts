import type { Inspector } from './proxy.ts';

/** An answer that is to be lost on its way back, once. */
export interface KafkaLoss {
  readonly apiKey: number;
  /** The connection is reset, or the client waits for ever. */
  readonly after: 'reset' | 'silence';
}

/** Orders for the inspectors of one proxy: the first connection that meets one takes it. */
export interface Losses<T> {
  pending: T | undefined;
  /** How many were carried out. */
  done: number;
}

/**
 * Follows requests and answers of the Kafka protocol (4 bytes of length, then: api key and version of a request,
 * correlation id of either), and loses the answer that is asked for. The broker has done by then what it was asked.
 */
export function kafkaInspector(losses: Losses<KafkaLoss>): (cut: () => void) => Inspector {
  return (cut) => {
    const requests = frames();
    const answers = frames();
    /** Correlation ids of requests whose answers are lost. */
    const doomed = new Map<number, KafkaLoss['after']>();
    return {
      up(bytes) {
        for (const frame of requests(bytes)) {
          const loss = losses.pending;
          if (loss === undefined || frame.length < 12 || frame.readInt16BE(4) !== loss.apiKey) continue;
          losses.pending = undefined;
          doomed.set(frame.readInt32BE(8), loss.after);
        }
      },
      down(bytes) {
        const kept: Buffer[] = [];
        for (const frame of answers(bytes)) {
          const after = frame.length < 8 ? undefined : doomed.get(frame.readInt32BE(4));
          if (after === undefined) {
            kept.push(frame);
            continue;
          }
          doomed.delete(frame.readInt32BE(4));
          losses.done++;
          if (after === 'reset') cut();
        }
        return Buffer.concat(kept);
      },
    };
  };
}

/** Cuts a stream into frames of 4 bytes of length and what they announce. */
function frames(): (bytes: Buffer) => Buffer[] {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    const whole: Buffer[] = [];
    while (rest.length >= 4) {
      const end = 4 + rest.readInt32BE(0);
      if (rest.length < end) break;
      whole.push(rest.subarray(0, end));
      rest = rest.subarray(end);
    }
    return whole;
  };
}

/** The name of the prepared statement that journals chunks (src/journal/append.ts). */
const APPEND = Buffer.from('append-chunks');

/** Loses the answer to a journaling statement: Postgres has committed it by then, and the connection breaks. */
export function postgresInspector(losses: Losses<'append'>): (cut: () => void) => Inspector {
  return (cut) => {
    let doomed = false;
    return {
      up(bytes) {
        if (losses.pending === undefined || !bytes.includes(APPEND)) return;
        losses.pending = undefined;
        doomed = true;
      },
      down(bytes) {
        if (!doomed) return bytes;
        // The first bytes may be the answer to its parsing: ReadyForQuery, the end of everything, is 'Z' and 5 bytes.
        const ready = bytes.length >= 6 && bytes.readUInt8(bytes.length - 6) === 0x5a;
        if (ready) {
          doomed = false;
          losses.done++;
          cut();
        }
        return Buffer.alloc(0);
      },
    };
  };
}
