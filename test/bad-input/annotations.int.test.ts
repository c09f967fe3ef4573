import { expect, it } from 'vitest';
import { compileProtos } from '../support/compile-protos.ts';
import { createTopic, produce, readCommitted } from '../support/kafka.ts';
import { createDatabase } from '../support/postgres.ts';
import type { Scope } from '../support/scope.ts';
import { replyWith, type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';
import { deploymentName, type RunningRuntime, startRuntime } from '../support/start-runtime.ts';

/** A function of which this version serves a part, with topics that its environment names. */
const PROTO = `
syntax = "proto3";
package notes;
import "kalix/annotations.proto";

service NoteService {
  option (kalix.service).eventing.in.topic = "notes-\${IN}";
  rpc Write(Note) returns (Note) { option (kalix.method).eventing.out.topic = "written-\${OUT}"; }
  rpc Skip(Draft) returns (Note) { option (kalix.method).eventing.in = { ignore: true }; }
}
service NewsService {
  rpc Hear(News) returns (Note) {
    option (kalix.method).eventing.in.direct = { service: "paper" event_stream_id: "front-page" };
  }
}
message Note { string id = 1 [(kalix.field).entity_key = true]; string text = 2; }
message Draft { string id = 1; }
message News { string text = 1; }
`;
const NOTES = compileProtos({ 'notes.proto': PROTO });

async function start(
  t: Scope,
  env: Record<string, string>,
): Promise<{ fn: ScriptedFunction; runtime: RunningRuntime }> {
  const fn: ScriptedFunction = await startScriptedFunction(t, {
    descriptor: NOTES,
    components: [
      { kind: 'value', service: 'notes.NoteService', entityType: 'notes' },
      { kind: 'action', service: 'notes.NewsService' },
    ],
    serviceInfo: { env },
    onCommand: ({ id, input }) => ({ reply: { command_id: id, ...replyWith(fn.pack('notes.Note', input)) } }),
  });
  const runtime = startRuntime(t, {
    'deployment.name': deploymentName(t),
    'postgres.url': await createDatabase(t),
    'function.url': fn.url,
    'log.level': 'trace',
  });
  return { fn, runtime };
}

it("fills the function's environment into topic names, passes ignored types over, warns of what it does not serve", async (t) => {
  const [input, output] = [
    await createTopic(t, { partitions: 1, name: 'notes' }),
    await createTopic(t, { partitions: 1, name: 'written' }),
  ];
  const { fn, runtime } = await start(t, {
    IN: input.slice('notes-'.length),
    OUT: output.slice('written-'.length),
    PASSWORD: 'hunter2',
  });
  await runtime.ready();

  const note = (id: string) => ({
    key: id,
    value: fn.pack('notes.Note', { id }).value,
    headers: { ce_type: 'notes.Note' },
  });
  await produce(input, [
    note('a'),
    { key: 'a', value: fn.pack('notes.Draft', { id: 'a' }).value, headers: { ce_type: 'notes.Draft' } },
    { key: 'a', value: Buffer.from([0xff]), headers: { ce_type: 'type.googleapis.com/notes.Draft' } },
    note('b'),
  ]);
  const written = await readCommitted(output, { count: 2 });

  expect(written.map(({ key }) => key?.toString())).toEqual(['a', 'b']);
  expect(runtime.status().totals).toMatchObject({ records: 4, commands: 2, deadLetters: 0 });
  const warnings = runtime.log.filter(({ msg }) => msg === 'Part of the function is not served');
  expect(warnings.map(({ what }) => what)).toEqual([
    expect.stringMatching(/^notes\.NewsService\/Hear subscribes directly to the service "paper"/),
  ]);
  expect(JSON.stringify([runtime.log, runtime.status()])).not.toContain('hunter2');
});

it('refuses a function whose topic needs a variable that it does not tell, by the name of the variable', async (t) => {
  const { fn, runtime } = await start(t, { IN: 'x', PASSWORD: 'hunter2' });

  const sentence = /"written-\$\{OUT\}" of notes\.NoteService\.Write needs the variable OUT/;
  expect(await runtime.failure).toMatchObject({ code: 'FUNCTION_SPEC', message: expect.stringMatching(sentence) });
  const line = PROTO.split('\n').findIndex((text) => text.includes('rpc Write(')) + 1;
  expect(fn.reports).toEqual([
    { code: 'FUNCTION_SPEC', message: expect.stringMatching(sentence), at: `notes.proto:${line}` },
  ]);
  expect(JSON.stringify([runtime.log, fn.reports])).not.toContain('hunter2');
});
