import { create, toBinary } from '@bufbuild/protobuf';
import { expect, it } from 'vitest';
import { StateferryError } from '../../src/errors.ts';
import { createFramedValues } from '../../src/registry/framed-values.ts';
import { derive, planWriting } from '../../src/registry/kinds.ts';
import type { LoadedSchema } from '../../src/registry/schema.ts';
import { createFramedOutputs } from '../../src/verify/framed-outputs.ts';
import { schemaOf, shopRegistry, shopType } from '../registry/messages.ts';

const type = shopType('Added');
const bytesOf = (count: number) => toBinary(type, create(type, { item: { name: 'a', count }, atMs: 2n } as never));
const payloadOf = (count: number) => ({ typeUrl: 'type.googleapis.com/shop.Added', value: bytesOf(count) });
/** It holds less than the message: counts are floats. */
const NARROW = schemaOf('AVRO', {
  type: 'record',
  name: 'Added',
  namespace: 'shop',
  fields: [{ name: 'at_ms', type: 'long' }],
});
const WIDE = schemaOf('AVRO', derive('AVRO', [type]));

function outputsWith(schema: () => Promise<LoadedSchema | undefined>) {
  const values = createFramedValues({ schema }, [{ topic: 'out', types: [type] }]);
  return createFramedOutputs(values, { registry: shopRegistry, files: [] });
}
const written = (schema: LoadedSchema, count: number) =>
  Buffer.from(planWriting(schema, [type]).ways.get('shop.Added')?.(bytesOf(count)) ?? []);

it('what a record holds is told as the message that it is, by the schema that it names', async () => {
  const outputs = outputsWith(async () => WIDE);
  const { writer } = outputs.unframed({ topic: 'out', format: 'avro', partitions: 1 });
  const held = await outputs.read('out', written(WIDE, 3));
  expect(held).toEqual(writer?.write('shop.Added', bytesOf(3)));
  expect(held).not.toEqual(writer?.write('shop.Added', bytesOf(4)));
  expect(await outputs.holds('out', written(WIDE, 3), payloadOf(3))).toBe('same');
  expect(await outputs.holds('out', written(WIDE, 3), payloadOf(4))).toBe('other');
});

it('what the schema of a record does not hold does not count', async () => {
  const outputs = outputsWith(async () => NARROW);
  expect(planWriting(NARROW, [type]).misfits).not.toEqual([]);
  expect(await outputs.holds('out', written(NARROW, 3), payloadOf(4))).toBe('same');
});

it('a record that cannot be read is told from a registry that is away', async () => {
  const gone = outputsWith(async () => undefined);
  expect(await gone.read('out', written(WIDE, 3))).toBeUndefined();
  expect(await gone.holds('out', written(WIDE, 3), payloadOf(3))).toBe('unread');
  const away = outputsWith(async () => {
    throw new StateferryError('REGISTRY_UNAVAILABLE', 'away');
  });
  await expect(away.read('out', written(WIDE, 3))).rejects.toMatchObject({ code: 'REGISTRY_UNAVAILABLE' });
});
