import { type Admin, Kafka, logLevel } from 'kafkajs';
import { installAbortedFilter } from '../../src/topics/aborted-records.ts';
import { installBatchEnds } from '../../src/topics/batch-ends.ts';

/** A silent client of the harness itself, which goes past all proxies and waits for a broker that is away. */
export function harnessClient(brokers: readonly string[], retries = 1_000): Kafka {
  installBatchEnds();
  installAbortedFilter();
  return new Kafka({
    clientId: 'harness',
    brokers: [...brokers],
    logLevel: logLevel.NOTHING,
    connectionTimeout: 2_000,
    requestTimeout: 6_000,
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries },
  });
}

/** Runs `use` with a connected admin client of the harness. */
export async function withAdminOf<T>(brokers: readonly string[], use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = harnessClient(brokers, 40).admin();
  await admin.connect();
  try {
    return await use(admin);
  } finally {
    await admin.disconnect();
  }
}
