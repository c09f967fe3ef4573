import type { ExplainedInput, ExplainedOutput } from '../../inspect/chunk-records.ts';
import type { ExplainedRecord } from '../../inspect/records.ts';
import type { CommandStory, ToldEvent, ToldValue } from '../../inspect/stories.ts';
import { printable } from '../printable.ts';
import { shownContent } from './content-text.ts';

const LABEL_WIDTH = 14;
const INDENT = '  ';
const SHOWN_DIGEST = 12;

/** What text about stories goes by. */
export interface StoryTextOptions {
  /** Of a function's version, for a person; `digest`: as in FunctionSpec. */
  nameVersion(digest: string): string;
  /** The entity whose story it is: events of others say whose they are. */
  readonly entity?: { readonly entityType: string; readonly entityId: string };
  /** Characters of a payload at most; absent: all of it. */
  readonly payload?: number;
}

/** A command and all that derives from it, as a tree of lines. */
export function storyText(story: CommandStory, options: StoryTextOptions, depth = 0): string {
  const margin = INDENT.repeat(depth);
  const line = (label: string, text: string) => `${margin}${INDENT}${label.padEnd(LABEL_WIDTH)} ${text}\n`;
  const { chunk, at } = story;
  const head = [printable(story.id), at?.toISOString() ?? 'when is not known'];
  if (story.traceId !== undefined) head.push(`trace ${story.traceId}`);
  const lines = [`${margin}${head.join('  ')}\n`];
  if (chunk !== undefined) {
    const version = chunk.function === null ? '' : `, ${options.nameVersion(chunk.function)}`;
    lines.push(line('chunk', `${chunk.number} of shard ${chunk.shard}${version}`));
  }
  for (const input of story.inputs) lines.push(line(...inputLine(input, options)));
  for (const event of story.events) lines.push(line('event', eventText(event, options)));
  for (const value of story.values) lines.push(line('value', valueText(value, options)));
  for (const output of story.outputs) lines.push(line(`→ ${output.kind}`, outputText(output, options)));
  if (story.parkedSince !== undefined) lines.push(line('parked', `it waits since ${story.parkedSince.toISOString()}`));
  if (story.retrying !== undefined) {
    const { by, at: asked } = story.retrying;
    lines.push(line('retrying', `asked for by ${printable(by)} at ${asked.toISOString()}, and not put back yet`));
  }
  if (lines.length <= 2 && story.derived.length === 0) lines.push(line('', 'the journal has nothing else of it'));
  return [...lines, ...story.derived.map((one) => storyText(one, options, depth + 1))].join('');
}

/** Digests are long, and their beginnings tell them apart. */
export function shortDigest(digest: string): string {
  return digest.slice(0, SHOWN_DIGEST);
}

/** One output on a line: where it went, and what it says. */
export function outputText(output: ExplainedOutput, options: StoryTextOptions): string {
  const { topic, partition, target } = output;
  const whom =
    target === undefined
      ? `to ${printable(topic)}/${partition}`
      : `${printable(output.command ?? '')} for ${printable(`${target.service}/${target.method}`)}` +
        (target.entityId === '' ? '' : ` of ${printable(target.entityId)}`);
  return [whom, saidText(output, options)].filter((part) => part !== '').join('  ');
}

function inputLine(input: ExplainedInput, options: StoryTextOptions): [string, string] {
  const { topic, partition, offset, key, target, kind } = input;
  const parts = [
    `${printable(topic)}/${partition}/${offset} of ${input.writtenAt.toISOString()}`,
    ...(target === undefined ? [] : [`for ${printable(`${target.service}/${target.method}`)}`]),
    ...(key === undefined ? [] : [`key ${printable(key)}`]),
    saidText(input, options),
  ];
  return [kind === 'put back' ? 'put back' : 'input', parts.filter((part) => part !== '').join('  ')];
}

function eventText(event: ToldEvent, options: StoryTextOptions): string {
  return `${whose(event, options)}${event.seq}  ${printable(event.content.type)} ${cut(shownContent(event.content), options)}`;
}

function valueText(value: ToldValue, options: StoryTextOptions): string {
  const said =
    value.content === undefined
      ? 'deleted'
      : `${printable(value.content.type)} ${cut(shownContent(value.content), options)}`;
  return `${whose(value, options)}revision ${value.revision}  ${said}`;
}

function whose(of: { readonly entityType: string; readonly entityId: string }, { entity }: StoryTextOptions): string {
  if (entity?.entityId === of.entityId && entity.entityType === of.entityType) return '';
  return `${printable(of.entityType)} ${printable(of.entityId)} `;
}

function saidText({ content, failure }: ExplainedRecord, options: StoryTextOptions): string {
  const said = content === undefined ? '' : `${printable(content.type)} ${cut(shownContent(content), options)}`.trim();
  return [failure === undefined ? '' : printable(failure), said].filter((part) => part !== '').join('  ');
}

function cut(text: string, { payload }: StoryTextOptions): string {
  return printable(text, payload);
}
