import type { Message } from 'kafkajs';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { decodeOutbox, encodeOutbox } from '../../src/codec/outbox.ts';
import type { OutputRecord } from '../../src/model/record.ts';
import { startFunction } from '../support/function-process.ts';
import { createClient, produce, type ReadRecord, readCommitted, withAdmin } from '../support/kafka.ts';
import { fileScope } from '../support/scope.ts';
import { startRuntime } from '../support/start-runtime.ts';
import { command, createOffice, faultsOf, type Office, workOn } from './office.ts';

/*
 * One deployment that has worked and stopped. What a case does to its journal is undone after it; what a case does to
 * its topics stays, and only its own faults are looked at.
 */
const file = fileScope();
const fn = await startFunction(file, { source: 'trouble' });
const TABLES = ['event', 'outbox', 'shard', 'snapshot', 'value'] as const;
let office: Office;

beforeAll(async () => {
  office = await createOffice(file, fn);
  const runtime = startRuntime(file, office.config);
  await runtime.ready();
  await workOn(office, 6);
  await office.atRest();
  await runtime.stop();
  await office.query('create schema whole');
  for (const table of TABLES) await office.query(`create table whole.${table} as select * from ${table}`);
});

/** Every fault, a line each; of ids that are random, the first word. */
async function faults(options: Parameters<Office['verify']>[0] = {}): Promise<string[]> {
  const report = await office.verify(options);
  expect(report.held).toBe(report.checks.every(({ findings }) => findings.length === 0));
  return faultsOf(report).map((fault) => fault.replace(/-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, ''));
}

interface OutboxRow {
  readonly shard: number;
  readonly chunk: number;
  readonly outputs: readonly OutputRecord[];
}

async function outbox(): Promise<OutboxRow[]> {
  const rows = await office.query<{ shard: number; chunk: string; records: Buffer }>(
    'select shard, chunk, records from outbox order by shard, chunk',
  );
  return rows.map(({ shard, chunk, records }) => ({ shard, chunk: Number(chunk), outputs: decodeOutbox(records) }));
}

function rewrite({ shard, chunk }: OutboxRow, outputs: readonly OutputRecord[]) {
  const records = Buffer.from(encodeOutbox(outputs));
  return office.query('update outbox set records = $3 where shard = $1 and chunk = $2', [shard, chunk, records]);
}

it('nothing is found before there is any damage', async () => {
  expect(await faults()).toEqual([]);
});

describe('in the journal, it finds and names', () => {
  afterEach(async () => {
    for (const table of TABLES) {
      await office.query(`truncate ${table}`);
      await office.query(`insert into ${table} select * from whole.${table}`);
    }
  });

  it('a deleted event', async () => {
    await office.query("delete from event where entity_id = 'l1' and seq = 3");
    expect(await faults()).toEqual(
      expect.arrayContaining([
        'sequences: the event sequence has a gap: ledgers "l1": found after event 2, event 4; expected event 3',
        expect.stringMatching(/^sequences: the shard's sequence has a gap: shard \d/),
      ]),
    );
  });

  it('a feed that is further than its shard', async () => {
    await office.query(
      "insert into feed values (1, 'watch', 'event-sourced', 'ledgers', 0, 'catching-up', 100000, 0, ''), (1, 'watch', 'value', 'boxes', 0, 'live', 1, 0, '')",
    );
    expect(await faults()).toEqual([
      expect.stringMatching(
        /^sequences: a feed is further than its shard: feed "watch" of ledgers, shard 0: found event 100000; expected at most event \d+/,
      ),
    ]);
    await office.query('delete from feed');
  });

  it('a deleted last event', async () => {
    await office.query(
      'delete from event e where shard_seq = (select max(shard_seq) from event o where o.shard = e.shard) and shard = 2',
    );
    expect(await faults()).toEqual([
      expect.stringMatching(/^sequences: the shard's last events are missing: shard 2: found event \d+ as the last/),
    ]);
  });

  it('an event that another one was put in the place of', async () => {
    await office.query(
      "update event set seq = 1003 where entity_id = 'l1' and seq = (select max(seq) from event where entity_id = 'l1')",
    );
    expect(await faults()).toContainEqual(
      expect.stringMatching(
        /^sequences: the event sequence has a gap: ledgers "l1": found after event \d+, event 1003/,
      ),
    );
  });

  it('a flipped byte in an event', async () => {
    await office.query(
      "update event set payload = set_byte(payload, 1, get_byte(payload, 1) # 1) where entity_id = 'l3' and seq = 2",
    );
    const [fault, ...others] = await faults();
    expect(fault).toMatch(
      /^outputs: an output is not what the journal has: added\/\d\/\d+: found other bytes of event ledgers\/\d\/\d+\/event-1; expected what event \d+ of shard \d is$/,
    );
    // The snapshot was made with the event as it was.
    expect(others).toEqual([
      expect.stringMatching(/^replay: the snapshot is not what the events make: ledgers "l3", snapshot of event \d+/),
    ]);
  });

  it('a flipped byte in a snapshot', async () => {
    await office.query(
      "update snapshot set payload = set_byte(payload, 1, get_byte(payload, 1) # 1) where entity_id = 'l4'",
    );
    const found = await faults();
    expect(found).toEqual([
      expect.stringMatching(
        /^replay: the snapshot is not what the events make: ledgers "l4", snapshot of event \d+: found from the snapshot \{"balance":\d+,"changes":\d+\}; expected from all events/,
      ),
    ]);
    expect(await faults({ probes: ['trouble.LedgerService/Get'] })).toHaveLength(2);
  });

  it('a snapshot of an event that never was', async () => {
    await office.query("update snapshot set seq = 900 where entity_id = 'l4'");
    expect(await faults()).toContainEqual(
      expect.stringMatching(
        /^sequences: a snapshot is of an event that is not there: ledgers "l4": found a snapshot of event 900/,
      ),
    );
  });

  it('a flipped byte in a row of the outbox', async () => {
    const row = (await outbox()).find(({ outputs }) => outputs.length > 0) as OutboxRow;
    const [first, ...others] = row.outputs;
    const value = Buffer.from(first?.value ?? '');
    value[3] = (value[3] ?? 0) ^ 1;
    await rewrite(row, [{ ...(first as OutputRecord), value }, ...others]);
    expect(await faults()).toEqual([
      expect.stringMatching(
        new RegExp(
          `^outputs: an output is not what the outbox has: .*; expected what chunk ${row.chunk} of shard ${row.shard} has$`,
        ),
      ),
    ]);
  });

  it('a row of the outbox that cannot be read', async () => {
    const row = (await outbox()).find(({ outputs }) => outputs.length > 0) as OutboxRow;
    await office.query("update outbox set records = '\\xffff' where shard = $1 and chunk = $2", [row.shard, row.chunk]);
    expect(await faults()).toContainEqual(
      expect.stringContaining(`a row of the outbox cannot be read: shard ${row.shard}, chunk ${row.chunk}`),
    );
  });

  it('a missing row of the outbox', async () => {
    await office.query('delete from outbox where shard = 2 and chunk = 2');
    expect(await faults()).toContain(
      'inputs: a row of the outbox is missing: shard 2: found after chunk 1, chunk 3; expected chunk 2',
    );
  });

  it('missing newest rows of the outbox, and a chunk that goes back', async () => {
    await office.query(
      'delete from outbox o where shard = 2 and chunk = (select chunk from shard s where s.shard = 2)',
    );
    await office.query(
      'update outbox set positions = jsonb_build_object($1::text, 0::text) where shard = 0 and chunk = 3',
      [office.topics.ledgers],
    );
    const found = await faults();
    expect(found).toContainEqual(expect.stringMatching(/^inputs: the newest rows of the outbox are missing: shard 2/));
    expect(found).toContainEqual(expect.stringMatching(/^inputs: a position goes back: shard 0, chunk 3, "ledgers"/));
  });

  it('an output that is in the outbox twice, and one that is none', async () => {
    const rows = (await outbox()).filter(({ outputs }) => outputs.length > 0);
    const [one, other] = rows as [OutboxRow, OutboxRow];
    await rewrite(one, [...one.outputs, one.outputs[0] as OutputRecord]);
    await rewrite(other, [{ ...(other.outputs[0] as OutputRecord), headers: [] }, ...other.outputs.slice(1)]);
    const found = await faults();
    expect(found).toContainEqual(
      expect.stringContaining(`an output is in the journal twice: shard ${one.shard}, chunk ${one.chunk}, output`),
    );
    expect(found).toContainEqual(
      expect.stringContaining(
        `an output in the outbox names no command: shard ${other.shard}, chunk ${other.chunk}, output 1`,
      ),
    );
  });

  it('an event in another shard than its entity, and a shard that says it has fewer events', async () => {
    await office.query("update event set shard = (shard + 1) % 3, shard_seq = 9999 where entity_id = 'l1' and seq = 1");
    await office.query('update shard set shard_seq = 1 where shard = 2');
    const found = await faults();
    expect(found).toContainEqual(
      expect.stringMatching(
        /^sequences: an event was written by a shard that the entity does not belong to: ledgers "l1", event 1/,
      ),
    );
    expect(found).toContainEqual(
      expect.stringMatching(/^sequences: the shard has events beyond its last one: shard 2/),
    );
  });

  it('a snapshot that the function does not take', async () => {
    await office.query("update snapshot set type_url = 'type.googleapis.com/trouble.Nothing' where entity_id = 'l4'");
    expect(await faults()).toEqual([
      expect.stringMatching(/^replay: the function does not take the snapshot: ledgers "l4", snapshot of event \d+/),
    ]);
  });

  it('a value of a record that is not applied', async () => {
    await office.query("update value set command_id = $1 where entity_id = 'b1'", [`${office.topics.boxes}/0/99999`]);
    expect(await faults()).toContainEqual(
      expect.stringMatching(/^sequences: a value of a record that is not applied: boxes "b1"/),
    );
  });

  it('an output that was journaled and never published', async () => {
    const row = (await outbox()).findLast(({ outputs }) =>
      outputs.some(({ topic }) => topic === office.topics.replies),
    );
    const of = row?.outputs.find(({ topic }) => topic === office.topics.replies) as OutputRecord;
    const origin = `${office.topics.ledgers}/0/0#7`;
    const lost = {
      ...of,
      headers: of.headers.map(([name, value]) =>
        name === 'ce_id'
          ? ([name, `${origin}/reply`] as const)
          : name === 'stateferry-origin'
            ? ([name, origin] as const)
            : ([name, value] as const),
      ),
    };
    await rewrite(row as OutboxRow, [...(row as OutboxRow).outputs, lost]);
    expect(await faults()).toEqual([
      expect.stringMatching(
        /^outputs: an output was never published: .*: found no reply ledgers\/0\/0#7\/reply in "replies" partition \d/,
      ),
    ]);
  });

  it('an event that was never published, beyond what the outbox keeps', async () => {
    await office.query('delete from outbox where chunk < (select chunk from shard s where s.shard = outbox.shard)');
    await office.query(
      `insert into event select generation, entity_type, entity_id, seq + 1, shard, s.shard_seq + 1, e.epoch, type_url, payload, $1
       from event e join shard s using (generation, shard) where entity_id = 'l2' order by seq desc limit 1`,
      [`${office.topics.ledgers}/0/0#9`],
    );
    await office.query(
      "update shard set shard_seq = shard_seq + 1 where shard = (select shard from event where entity_id = 'l2' limit 1)",
    );
    expect(await faults()).toEqual([
      expect.stringMatching(
        /^outputs: an event was never published: ledgers "l2", event \d+: found no event ledgers\/0\/0#9\/event-1 in "added"/,
      ),
    ]);
  });

  it('outputs of one key that are the other way round', async () => {
    const row = (await outbox()).find(({ outputs }) => pairOf(outputs) !== undefined) as OutboxRow;
    const [one, other] = pairOf(row.outputs) as [number, number];
    const outputs = [...row.outputs];
    [outputs[one], outputs[other]] = [outputs[other] as OutputRecord, outputs[one] as OutputRecord];
    await rewrite(row, outputs);
    expect(await faults()).toContainEqual(
      expect.stringMatching(/^outputs: an output is out of order: replies\/\d\/\d+/),
    );

    function pairOf(list: readonly OutputRecord[]): [number, number] | undefined {
      for (const [at, { topic, key }] of list.entries()) {
        const next = list.findIndex(
          (output, n) =>
            n > at &&
            output.topic === topic &&
            Buffer.compare(output.key ?? Buffer.alloc(0), key ?? Buffer.alloc(0)) === 0,
        );
        if (topic === office.topics.replies && next > at) return [at, next];
      }
      return undefined;
    }
  });

  it('an epoch that goes down', async () => {
    await office.query('update shard set epoch = 5');
    await office.query("update event set epoch = 4 where entity_id = 'l1' and seq = 2");
    expect(await faults()).toContain(
      'sequences: an epoch goes down: ledgers "l1", event 3: found epoch 1 after epoch 4; expected at least 4',
    );
  });

  it('an epoch that its shard never had', async () => {
    await office.query(
      "update event set epoch = 4 where entity_id = 'l1' and seq = (select max(seq) from event where entity_id = 'l1')",
    );
    expect(await faults()).toContainEqual(expect.stringContaining('an event has an epoch that its shard never had'));
  });

  it('an entity that two shards have written', async () => {
    await office.query("update value set shard = (shard + 1) % 3 where entity_id = 'b1'");
    expect(await faults()).toEqual([
      expect.stringMatching(/^sequences: a value was written by an owner that there never was: boxes "b1"/),
    ]);
  });

  it('an event of a record that is not applied', async () => {
    await office.query("update event set command_id = $1 where entity_id = 'l1' and seq = 1", [
      `${office.topics.ledgers}/0/99999`,
    ]);
    expect(await faults()).toContainEqual(
      expect.stringMatching(
        /^sequences: an event of a record that is not applied: shard \d.*: found command ledgers\/0\/99999; expected an offset below \d+/,
      ),
    );
  });

  it('records that were applied more often, or less often, than they are there', async () => {
    await office.query('update shard set records = records + 1 where shard = 0');
    await office.query('update outbox set inputs = inputs - 1 where shard = 1 and chunk = 1');
    expect(await faults()).toEqual([
      expect.stringMatching(/^inputs: offsets were skipped: shard 1, chunk 1: /),
      expect.stringMatching(/^inputs: records were applied more than once: shard 0: /),
    ]);
  });

  it('a position that was moved by hand, beyond the end or back', async () => {
    await office.query(
      'update shard set applied = applied || jsonb_build_object($1::text, ((applied->>$1)::bigint + 5)::text) where shard = 0',
      [office.topics.ledgers],
    );
    await office.query(
      'update shard set applied = applied || jsonb_build_object($1::text, ((applied->>$1)::bigint - 1)::text) where shard = 2',
      [office.topics.ledgers],
    );
    expect(await faults()).toEqual(
      expect.arrayContaining([
        expect.stringMatching(/^inputs: more is applied than there is: "ledgers" partition 0/),
        expect.stringMatching(/^inputs: offsets were passed over: "ledgers" partition 0/),
        expect.stringMatching(/^inputs: more is committed than applied: "ledgers" partition 2/),
        expect.stringMatching(/^inputs: applied has gone back: "ledgers" partition 2/),
      ]),
    );
  });
});

describe('on the topics, it finds and names', () => {
  /** What a record of the topic looked like when it was written. */
  function messageOf({ key, value, headers, partition }: ReadRecord): Message {
    return { key, value, headers, partition };
  }
  async function oneOf(topic: string): Promise<ReadRecord> {
    const [record] = await readCommitted(topic, 'end');
    return record as ReadRecord;
  }

  it.each(['replies', 'added', 'contents'] as const)('a doubled output, in %s', async (name) => {
    const record = await oneOf(office.topics[name]);
    const [{ baseOffset } = {}] = await produce(office.topics[name], [messageOf(record)]);
    expect(await faults()).toContainEqual(
      expect.stringContaining(`outputs: an output is doubled: ${name}/${record.partition}/${baseOffset}: found`),
    );
  });

  it('a doubled command', async () => {
    const record = await oneOf(office.commands);
    const [{ baseOffset } = {}] = await produce(office.commands, [messageOf(record)]);
    const text = (await faults()).join('\n');
    expect(text).toContain(`-commands/${record.partition}/${baseOffset}: found command`);
    expect(text).toContain('again');
  });

  it('a doubled output and a doubled dead letter that the outbox does not keep any more', async () => {
    await office.query('delete from outbox where chunk < (select chunk from shard s where s.shard = outbox.shard)');
    const letter = await oneOf(office.deadLetters);
    await produce(office.deadLetters, [messageOf(letter)]);
    const found = await faults();
    expect(found).toContainEqual(expect.stringMatching(/^outputs: an output is doubled: replies/));
    expect(found).toContainEqual(expect.stringMatching(/^outputs: an output is doubled: d-dead-letters/));
    await office.query('insert into outbox select * from whole.outbox on conflict do nothing');
  });

  it('a copy of an output with a flipped byte', async () => {
    const record = await oneOf(office.topics.replies);
    const value = Buffer.from(record.value ?? '');
    value[3] = (value[3] ?? 0) ^ 1;
    const [{ baseOffset } = {}] = await produce(office.topics.replies, [{ ...messageOf(record), value }]);
    expect(await faults()).toContainEqual(
      expect.stringMatching(
        new RegExp(`an output is doubled: replies/${record.partition}/${baseOffset}: found .* again, with other bytes`),
      ),
    );
  });

  it('a record that names no command', async () => {
    const [{ partition, baseOffset } = { partition: -1 }] = await produce(office.topics.added, [
      { key: 'l1', value: '{}' },
    ]);
    const where = `added/${partition}/${baseOffset}`;
    expect(await faults()).toContainEqual(
      expect.stringContaining(`an output that nothing explains: ${where}: found a record that names no command`),
    );
    const shared = await faults({ shared: [office.topics.added] });
    expect(shared.filter((fault) => fault.includes(where))).toEqual([]);
  });

  it('a record that names a command which never led to it, whether the outbox keeps that or not', async () => {
    const record = (await readCommitted(office.topics.added, 'end')).find(
      ({ key }) => String(key) === 'l2',
    ) as ReadRecord;
    const origin = record.headers['stateferry-origin'] ?? '';
    const headers = { ...record.headers, ce_id: `${origin}/event-9` };
    const [{ baseOffset } = {}] = await produce(office.topics.added, [{ ...messageOf(record), headers }]);
    const told = `an output that nothing explains: added/${record.partition}/${baseOffset}: found event`;
    expect(await faults()).toContainEqual(expect.stringContaining(told));

    const beyond = `${office.topics.ledgers}/0/88888`;
    const reply = await oneOf(office.topics.replies);
    await produce(office.topics.replies, [
      { ...messageOf(reply), headers: { ...reply.headers, ce_id: `${beyond}/reply`, 'stateferry-origin': beyond } },
    ]);
    await office.query('delete from outbox');
    expect(await faults()).toContainEqual(
      expect.stringMatching(/an output that nothing explains: replies.*88888\/reply; expected an offset below/),
    );
    await office.query('insert into outbox select * from whole.outbox');
  });

  it('a transaction that hangs', async () => {
    const producer = createClient().producer({
      transactionalId: 'hangs',
      maxInFlightRequests: 1,
      idempotent: true,
      transactionTimeout: 120_000,
    });
    await producer.connect();
    const transaction = await producer.transaction();
    try {
      await transaction.send({ topic: office.topics.replies, messages: [{ partition: 1, value: 'x' }] });
      expect(await faults({ patienceMs: 1_000 })).toContainEqual(
        expect.stringMatching(
          /^transactions: a transaction hangs: "replies" partition 1: found the last stable offset stays at \d+/,
        ),
      );
    } finally {
      await transaction.abort();
      await producer.disconnect();
    }
    expect((await faults({ patienceMs: 1_000 })).filter((fault) => fault.startsWith('transactions'))).toEqual([]);
  });
});

it('it finds and names committed offsets that are gone', async () => {
  await withAdmin((admin) => admin.deleteGroups([office.config['deployment.name'] as string]));
  expect(await faults()).toContainEqual(
    expect.stringMatching(/^inputs: the committed offset is gone: "ledgers" partition \d: found none in the group/),
  );
});

it('it finds and names an offset that was skipped', async (t) => {
  const other = await createOffice(t, fn);
  const first = startRuntime(t, other.config);
  await first.ready();
  await workOn(other, 2);
  await other.atRest();
  await first.stop();
  // Passed over by journal and group alike, as a fault in both would do it.
  const topic = other.topics.ledgers;
  const [{ baseOffset = '' } = {}] = await produce(topic, [command('Add', 'skipped', { id: 'skipped', amount: 1 }, 1)]);
  const next = String(Number(baseOffset) + 1);
  await other.query(
    'update shard set applied = applied || jsonb_build_object($1::text, $2::text), released = released || jsonb_build_object($1::text, $2::text) where shard = 1',
    [topic, next],
  );
  await withAdmin((admin) =>
    admin.setOffsets({
      groupId: other.config['deployment.name'] as string,
      topic,
      partitions: [{ partition: 1, offset: next }],
    }),
  );
  expect(faultsOf(await other.verify()).join()).toContain('offsets were passed over');
  const second = startRuntime(t, other.config);
  await second.ready();
  await workOn(other, 2);
  await other.atRest();
  const found = faultsOf(await other.verify());
  const skipped = `${topic}/1/${baseOffset}`;
  expect(found).toEqual([
    expect.stringMatching(
      new RegExp(
        `^inputs: offsets were skipped: shard 1, chunk \\d+: found \\d+ records applied; .*without a trace: .*${skipped}`,
      ),
    ),
    expect.stringMatching(new RegExp(`^inputs: offsets were skipped: shard 1: .*without a trace: .*${skipped}`)),
  ]);
});
