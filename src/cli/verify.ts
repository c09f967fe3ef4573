import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands } from './context.ts';

const DEFAULT_SAMPLE = 100;

/** `stateferry verify`: prove on the data that everything was applied and published once. */
export function verifyCommand(program: Command, context: CommandContext, verify: Commands['verify']): void {
  const command = program
    .command('verify')
    .summary('prove on the data, running or not, that everything was applied and published once')
    .description(
      'Hold journal and topics against each other: every input record was applied once, every entity’s events are dense ' +
        'and of one writer, every output is on its topic once, in order and byte for byte, snapshots are what the events ' +
        'make, no transaction hangs. Nothing is written. The deployment may run meanwhile: what it does after the start ' +
        'is not judged. The function must be running. The exit code is 0 when all holds, 1 when something does not, 2 when it could not be ' +
        'checked.',
    )
    .option('--json', 'print the report as JSON')
    .option(
      '--sample <n>',
      'entities to replay through the function; half of them those with most events',
      countOf,
      DEFAULT_SAMPLE,
    )
    .option(
      '--probe <method>',
      'method of an event sourced entity that only reads, as Service/Method: after each replay it is sent the entity’s id, and ' +
        'the answers are compared; what else it does is thrown away; repeat as needed',
      collect,
      [],
    )
    .option(
      '--shared <topic>',
      'output topic that others write to as well: what does not name this deployment is passed over there; repeat as needed',
      collect,
      [],
    )
    .option(
      '--patience <s>',
      'how long a transaction may stay open before it hangs; default kafka.transactionTimeoutMs and 15 s',
      secondsOf,
    )
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry verify
  $ stateferry verify --sample 1000 --json > report.json
  $ stateferry verify --probe shop.CartService/GetCart`,
    );
  addConfigFlags(command, 'not listed').action(
    async (given: { json?: true; sample: number; probe: string[]; shared: string[]; patience?: number }) => {
      const { config } = loadConfigOf(command, context);
      context.exitWith(
        await verify(
          config,
          {
            json: given.json === true,
            sample: given.sample,
            probes: given.probe,
            shared: given.shared,
            ...(given.patience !== undefined && { patienceMs: given.patience * 1_000 }),
          },
          context,
        ),
      );
    },
  );
}

function countOf(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number of entities.');
}

function secondsOf(text: string): number {
  if (/^\d{1,6}(\.\d+)?$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It is not a number of seconds.');
}

function collect(text: string, earlier: readonly string[]): string[] {
  return [...earlier, text];
}
