import { describe, expect, it } from 'vitest';
import { createRandom } from '../support/random.ts';
import { readCorpus } from './corpus.ts';
import { mutate } from './mutate.ts';
import { TARGET_NAMES, targets } from './targets.ts';

/** Inputs made of the corpus, each time the same ones. */
const MADE = 400;

describe.each(TARGET_NAMES)('%s', (name) => {
  it('stands what the corpus holds, and what is made of it', async () => {
    const target = await (targets[name] as NonNullable<(typeof targets)[string]>)();
    const random = createRandom(7);
    const words = target.words.map((word) => Buffer.from(word, 'latin1'));
    const inputs = [...target.seeds, ...readCorpus(name)].map((input) => Buffer.from(input));
    const { maxBytes = 4_096 } = target;
    for (let i = inputs.length; i > 0; i--) await run(inputs[i - 1] as Buffer);
    for (let i = 0; i < MADE; i++) await run(mutate(random, random.pick(inputs), inputs, words, maxBytes));

    async function run(input: Buffer): Promise<void> {
      try {
        await target.run(Buffer.from(input));
      } catch (error) {
        expect.fail(`${input.toString('base64')}: ${error instanceof Error ? error.stack : error}`);
      }
    }
  });
});
