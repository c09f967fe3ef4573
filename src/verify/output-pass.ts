import { expectEvents, expectOutbox } from './expected-outputs.ts';
import { type CheckResult, gather, number } from './findings.ts';
import type { Ground } from './ground.ts';
import { nameMissing } from './missing-outputs.ts';
import { createOutputContext, newPass } from './output-context.ts';
import { reachOf } from './output-counts.ts';
import { createOutputJudge } from './output-judge.ts';
import type { Traces } from './traces.ts';

/** The outputs of all passes, held against the journal. */
export interface OutputCheck {
  /** One pass: of all outputs, those whose key falls to it. */
  pass(index: number, of: number, traces: Traces): Promise<void>;
  result(): CheckResult;
}

export function checkOutputs(ground: Ground): OutputCheck {
  const { topics } = ground;
  const found = gather('outputs');
  const context = createOutputContext(ground, found);
  const { counts } = context;
  return {
    async pass(index, of, traces) {
      const pass = newPass(index, of, traces);
      await expectOutbox(context, pass);
      await expectEvents(context, pass);
      // The command topic first: what was put back there is out of order elsewhere.
      for (const topic of [topics.commands, ...topics.outputs.filter((name) => name !== topics.commands)]) {
        for (const [partition, { low, stable }] of ground.after.get(topic) ?? []) {
          ground.steps.begin(`"${topic}" partition ${partition}`, Number(stable - low));
          const judge = createOutputJudge(context, pass, topic, partition);
          for await (const records of ground.logs.read({ topic, partition, from: low, to: stable }, ground.signal)) {
            for (const record of records) await judge(record);
            ground.steps.count('records', records.length);
          }
        }
      }
      await nameMissing(context, pass);
    },

    result() {
      const { records, byOutbox, byEvents, retainedChunks } = counts;
      const compacted = topics.outputs.filter((topic) => topics.compacted.has(topic));
      return found.result({
        compared:
          `${number(records)} records on ${topics.outputs.length} topics, ${number(byOutbox)} of them with ${number(retainedChunks)} ` +
          `chunks of the outbox byte for byte, ${number(byEvents)} more with the events`,
        claim: 'each output is there once, in order',
        counts: { ...counts },
        reach: [
          ...reachOf(counts),
          ...compacted.map((topic) => `"${topic}" is compacted: what is not there is not judged`),
        ],
      });
    },
  };
}
