import { type Command, InvalidArgumentError } from 'commander';
import { addConfigFlags, loadConfigOf } from './config-flags.ts';
import type { AclOptions, CommandContext, Commands } from './context.ts';
import { configWithoutStores } from './local-request.ts';

/** `stateferry acl`: what the deployment needs of Kafka and Postgres. */
export function aclCommand(program: Command, context: CommandContext, acl: Commands['acl']): void {
  const command = program
    .command('acl')
    .summary('print the rights that the deployment needs in Kafka and Postgres')
    .description(
      'Print the rights that the deployment needs, and no others: for Kafka as arguments of kafka-acls.sh, a line for each ' +
        'call, for Postgres as SQL. What not every deployment needs stands apart, marked as optional. The function must be ' +
        'running: it is asked for its topics. Nothing is changed.',
    )
    .option('--principal <principal>', 'who Kafka takes it for; without it the user of kafka.sasl', principalOf)
    .option('--role <role>', 'its role in Postgres; without it the user of postgres.url')
    .option('--json', 'print JSON')
    .addHelpText(
      'after',
      `
Examples:
  $ stateferry acl
  $ stateferry acl --principal User:CN=carts --role carts --json`,
    );
  addConfigFlags(command, 'not listed').action(
    async ({ json = false, principal, role }: { json?: boolean; principal?: string; role?: string }) => {
      const config = configWithoutStores((assumed) => loadConfigOf(command, context, assumed));
      const options: AclOptions = {
        json,
        ...(principal !== undefined && { principal }),
        ...(role !== undefined && { role }),
      };
      context.exitWith(await acl(config, options, context));
    },
  );
}

function principalOf(text: string): string {
  if (/^[A-Za-z]+:.+$/.test(text)) return text;
  throw new InvalidArgumentError('A principal has a type and a name, for example User:carts.');
}
