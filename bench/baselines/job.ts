import { Kafka, logLevel } from 'kafkajs';

/** What a baseline's process is told, by its environment. */
export interface Job {
  readonly kafka: Kafka;
  readonly databaseUrl: string;
  readonly input: string;
  readonly output: string;
  readonly group: string;
  /** Of either topic. */
  readonly partitions: number;
}

export type JobVariables = Record<'BROKERS' | 'DATABASE_URL' | 'INPUT' | 'OUTPUT' | 'GROUP' | 'PARTITIONS', string>;

export function readJob(): Job {
  const { BROKERS, DATABASE_URL, INPUT, OUTPUT, GROUP, PARTITIONS } = process.env as JobVariables;
  return {
    kafka: new Kafka({ clientId: GROUP, brokers: BROKERS.split(','), logLevel: logLevel.NOTHING }),
    databaseUrl: DATABASE_URL,
    input: INPUT,
    output: OUTPUT,
    group: GROUP,
    partitions: Number(PARTITIONS),
  };
}
