import kafkajs, { type Producer } from 'kafkajs';
import { asBuffer } from '../../src/bytes.ts';
import type { EngineOptions } from '../../src/engine/engine.ts';
import type { OutputRecord } from '../../src/model/record.ts';
import { createKafka } from '../../src/topics/client.ts';

/** An engine whose answers to callers at the doors go out as soon as their command is decided, and outside of any transaction. */
export function answerEarly(parts: EngineOptions, brokers: readonly string[]): EngineOptions {
  const { decide } = parts.entities;
  let producer: Promise<Producer> | undefined;
  async function send(answers: readonly OutputRecord[]): Promise<void> {
    producer ??= connect(brokers);
    const messages = answers.map(({ key, value, partition }) => ({
      key: key && asBuffer(key),
      value: value && asBuffer(value),
      partition,
    }));
    await (await producer).send({ topic: parts.answerTopic, messages });
  }
  return {
    ...parts,
    entities: {
      ...parts.entities,
      decide(command, position, effect) {
        const decision = decide(command, position, effect);
        const isAnswer = ({ topic }: OutputRecord): boolean => topic === parts.answerTopic;
        const answers = decision.outputs.filter(isAnswer);
        if (answers.length > 0) void send(answers).catch(() => undefined);
        return { ...decision, outputs: decision.outputs.filter((output) => !isAnswer(output)) };
      },
    },
  };
}

async function connect(brokers: readonly string[]): Promise<Producer> {
  const kafka = createKafka({
    brokers,
    clientId: 'early',
    connectionTimeoutMs: 3_000,
    requestTimeoutMs: 8_000,
    logCreator: () => () => undefined,
  });
  const producer = kafka.producer({
    createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
    allowAutoTopicCreation: false,
  });
  await producer.connect();
  return producer;
}
