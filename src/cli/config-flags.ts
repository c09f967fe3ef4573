import { type Command, Option } from 'commander';
import type { ArgvFlags } from '../config/flags.ts';
import { type Assumed, type LoadedConfig, loadConfig } from '../config/load.ts';
import { OPTION_NAMES, type OptionName, optionOf } from '../config/options.ts';
import type { CliContext } from './context.ts';
import { optionsHelp } from './options-help.ts';

const HEADING = 'Configuration:';

const EPILOGUE = `
Configuration options, each with its environment variable:

${optionsHelp()}

Each of them can also stand in stateferry.yaml or be given as --set name=value.
The command line wins over the environment, the environment over the file.
`;

/** Gives a command `--config`, `--set` and the plain flags of the table; with 'listed' its help lists all options. */
export function addConfigFlags(command: Command, options: 'listed' | 'not listed'): Command {
  const add = (flags: string, doc: string) => new Option(flags, doc).helpGroup(HEADING);
  command.addOption(add('-c, --config <file>', 'YAML or JSON file to read instead of ./stateferry.yaml'));
  command.addOption(
    add('-s, --set <name=value>', 'set any option, for example kafka.start=latest; repeat as needed').argParser(
      (value: string, earlier: readonly string[] | undefined) => [...(earlier ?? []), value],
    ),
  );
  for (const name of OPTION_NAMES) {
    const { flag } = optionOf(name);
    if (flag) command.addOption(add(`--${flag.name} <${flag.placeholder}>`, `same as --set ${name}=…`));
  }
  return options === 'listed' ? command.addHelpText('after', EPILOGUE) : command;
}

/** Loads the configuration as the flags of `command`, the environment and the file say. */
export function loadConfigOf(command: Command, context: CliContext, assumed?: Assumed): LoadedConfig {
  const { env, cwd } = context;
  return loadConfig({ argvFlags: argvFlagsOf(command), env, cwd, ...(assumed ? { assumed } : {}) });
}

/** The flags of a command that `addConfigFlags` has prepared. */
export function argvFlagsOf(command: Command): ArgvFlags {
  const given = command.opts<Record<string, unknown> & { config?: string; set?: string[] }>();
  const plain: { -readonly [N in OptionName]?: { flag: string; value: string } } = {};
  for (const name of OPTION_NAMES) {
    const long = `--${optionOf(name).flag?.name}`;
    const option = command.options.find((candidate) => candidate.long === long);
    const value = option && given[option.attributeName()];
    if (typeof value === 'string') plain[name] = { flag: long, value };
  }
  return { set: given.set ?? [], plain, ...(given.config === undefined ? {} : { config: given.config }) };
}
