import { type Command, Option } from 'commander';
import { SCHEMA_FORMATS } from '../config/registry.ts';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { CommandContext, Commands, SchemasOptions } from './context.ts';
import { configWithoutStores } from './local-request.ts';

/** `stateferry schemas check` and `push`: what the deployment needs of the schema registry. */
export function schemasCommand(program: Command, context: CommandContext, schemas: Commands['schemas']): void {
  const group = program
    .command('schemas')
    .summary('hold the schema registry against the function; register what is missing')
    .description(
      'What the deployment needs of the schema registry (registry.urls): the subjects of the topics whose format is one of ' +
        'the registry, and whether their schemas fit the function. The function must be running: it is asked for its types.',
    );
  const add = (name: 'check' | 'push', summary: string, description: string) => {
    const command = group
      .command(name)
      .summary(summary)
      .description(description)
      .option('--json', 'print the report as JSON');
    if (name === 'push') {
      command.addOption(
        new Option(
          '--inputs <format>',
          'also register schemas for input topics that have none, of this format',
        ).choices([...SCHEMA_FORMATS]),
      );
    }
    command.addHelpText('after', `\nExamples:\n  $ stateferry schemas ${name}\n  $ stateferry schemas ${name} --json`);
    addConfigFlags(command, 'not listed').action(
      async ({ json = false, inputs }: { json?: boolean; inputs?: SchemasOptions['inputs'] }) => {
        const config = configWithoutStores((assumed) => loadConfigOf(command, context, assumed));
        context.exitWith(await schemas(config, { json, push: name === 'push', ...(inputs && { inputs }) }, context));
      },
    );
  };
  add(
    'check',
    'say whether the schemas of all topics fit',
    'Look up the schema of every topic and hold it against the function. Nothing is registered. The exit code is 1 where `run` would refuse to start.',
  );
  add(
    'push',
    'register schemas that fit where there are none, or where the latest does not',
    'As `check`; and every subject of an output topic whose latest schema does not fit, or that has none, gets the one that the ' +
      'function\u2019s descriptor makes, if the registry finds it compatible. A schema that fits is left as it is, whoever registered it.',
  );
}
