import { z } from 'zod';
import { doorServiceFields, jwtKeyFields } from './access.ts';
import { failurePolicyFields } from './failures.ts';
import { idempotencyKeyFields } from './idempotency.ts';
import { defaultText, GROUP_NAMES, GROUPS, type OptionGroup, optionOf, optionsOf, variableOf } from './options.ts';
import { registryAuthFields } from './registry-auth.ts';
import { RELATIONS } from './relations.ts';
import { retentionRuleFields } from './retention.ts';
import { eventSchema, replySchema, subscriptionSchema } from './routes.ts';
import { kafkaSaslFields } from './sasl.ts';
import {
  doorTlsFields,
  functionTlsFields,
  httpTlsFields,
  kafkaTlsFields,
  postgresTlsFields,
  registryTlsFields,
} from './tls.ts';

const INTRODUCTION = `# Configuration

<!-- Generated from the table in src/config/options.ts: \`stateferry config --docs > docs/configuration.md\`. -->

Every option has a name with a dot, a place in the config file and an environment variable. Of one option the last
source that sets it wins, as a whole (lists are not merged):

1. the default;
2. the config file: \`stateferry.yaml\` in the working directory, or the file that \`--config FILE\` or
   \`STATEFERRY_CONFIG\` names. It is YAML, and so JSON works too;
3. the environment. A variable that is set to nothing counts as not set. Lists are separated by commas, structures
   are JSON;
4. the command line: \`--set name=value\`, as often as needed, and the plain flags below.

Everything is checked before anything is started, and all faults are reported together, each with the place it comes
from. A key, a \`--set\` name or a \`STATEFERRY_\` variable that no option has is a fault, too; only the variables that
Kubernetes makes for a Service named \`stateferry…\` are passed over. \`stateferry config\` prints the effective values
and where each comes from, passwords masked.

## A config file

\`\`\`yaml
deployment:
  name: carts
kafka:
  brokers: [127.0.0.1:9092]
postgres:
  url: postgres://stateferry:secret@127.0.0.1:5432/stateferry
function:
  url: http://127.0.0.1:8080
topics:
  subscriptions:
    - { topic: cart-commands, service: shop.CartService, method: AddItem }
  destinations:
    replies:
      - { service: shop.CartService, method: AddItem, topic: cart-replies, format: json }
    events:
      - { entityType: carts, topic: cart-events }
log:
  level: info
\`\`\`
`;

/** docs/configuration.md, made from the table. */
export function configurationPage(): string {
  return [
    INTRODUCTION,
    ...GROUP_NAMES.map(groupSection),
    '## Fields of the structured options\n',
    fieldTable('Each of `topics.subscriptions`', subscriptionSchema),
    fieldTable('Each of `topics.destinations.replies`', replySchema),
    fieldTable('Each of `topics.destinations.events`', eventSchema),
    fieldTable('Each of `failures.policies`', failurePolicyFields),
    fieldTable('Each of `idempotency.keys`', idempotencyKeyFields),
    fieldTable('`kafka.tls`', kafkaTlsFields),
    fieldTable('`kafka.sasl`', kafkaSaslFields),
    fieldTable('`postgres.tls`', postgresTlsFields),
    fieldTable('Each of `journal.retention`', retentionRuleFields),
    fieldTable('`function.tls`', functionTlsFields),
    fieldTable('`registry.auth`', registryAuthFields),
    fieldTable('`registry.tls`', registryTlsFields),
    fieldTable('`doors.tls`', doorTlsFields),
    fieldTable('`http.tls`', httpTlsFields),
    fieldTable('Each of `doors.services`', doorServiceFields),
    fieldTable('Each of `doors.jwtKeys`', jwtKeyFields),
    '## What options must hold together\n',
    'A configuration that breaks one of these does not start; the fault names both options.\n',
    table(
      ['options', 'rule'],
      RELATIONS.map(({ options, rule }) => [options.map(code).join(', '), `${rule}.`]),
    ),
  ].join('\n');
}

function groupSection(group: OptionGroup): string {
  const rows = optionsOf(group).map((name) => {
    const { doc, kind, flag } = optionOf(name);
    const initial = defaultText(name);
    return [
      code(name),
      `${code(variableOf(name))}${flag ? `<br>${code(`--${flag.name}`)}` : ''}`,
      kind.label,
      initial === undefined ? 'required' : code(initial),
      doc,
    ];
  });
  return `## ${GROUPS[group]}\n\n${table(['option', 'variable, flag', 'type', 'default', 'what it does'], rows)}`;
}

const TYPE_NAMES: Readonly<Record<string, string>> = { integer: 'number', boolean: 'true | false', array: 'list' };

function fieldTable(title: string, schema: z.ZodType): string {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  const rows = Object.entries(properties).map(([name, field]) => {
    if (typeof field === 'boolean') throw new TypeError(`the field ${name} has no schema`);
    const initial = field.default === undefined ? '' : code(String(field.default));
    const values = field.enum?.join(' | ') ?? TYPE_NAMES[String(field.type)] ?? 'text';
    return [code(name), values, required.includes(name) ? 'required' : initial, field.description ?? ''];
  });
  return `${title}:\n\n${table(['field', 'type', 'default', 'what it is'], rows)}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return `${[line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')}\n`;
}

function code(text: string): string {
  return `\`${text}\``;
}
