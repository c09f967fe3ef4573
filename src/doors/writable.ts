/** A stream that tells by events when it takes more. */
interface Telling {
  on(event: (typeof EVENTS)[number], listener: () => void): unknown;
  off(event: (typeof EVENTS)[number], listener: () => void): unknown;
}

/** Resolves when a gRPC stream takes more, or is over: closed, or cancelled by the one at its other end. */
export function untilWritable(stream: Telling): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      for (const event of EVENTS) stream.off(event, done);
      resolve();
    };
    for (const event of EVENTS) stream.on(event, done);
  });
}

const EVENTS = ['drain', 'close', 'cancelled'] as const;
