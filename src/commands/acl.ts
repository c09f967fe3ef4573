import type { AclOptions, Io } from '../cli/context.ts';
import type { Config } from '../config/config.ts';
import { planDeployment } from '../deployment-plan.ts';
import { aclArguments, rightsOf } from '../least-privilege.ts';
import { discoverNow } from './discover-now.ts';

/** Who the rights are for, where nobody says. */
const DEFAULT_NAME = 'stateferry';

/** `stateferry acl`: the rights that this deployment needs, and no others. Changes nothing. */
export async function acl(config: Config, options: AclOptions, io: Io): Promise<number> {
  const { spec } = await discoverNow(config, io);
  const role = options.role ?? (decodeURIComponent(new URL(config.postgres.url).username) || DEFAULT_NAME);
  const principal = options.principal ?? `User:${config.kafka.sasl.username ?? DEFAULT_NAME}`;
  const rights = rightsOf(config, planDeployment(config, spec), role);
  if (options.json) {
    io.out.write(`${JSON.stringify({ principal, role, rights }, null, 2)}\n`);
    return 0;
  }
  const lines = rights.flatMap(({ purpose, why, kafka, postgres }, nth) => [
    ...(nth === 0 ? [] : ['']),
    `# ${purpose}${nth === 0 ? '' : ' (optional)'}: ${why}`,
    ...kafka.map((right) => aclArguments(right, principal).map(shellWord).join(' ')),
    ...(postgres.length > 0
      ? ['', '-- The same for Postgres, once another role has made the schema', ...postgres]
      : []),
  ]);
  io.out.write(`${lines.join('\n')}\n`);
  return 0;
}

/** As a shell takes it for one word. */
function shellWord(text: string): string {
  return /^[A-Za-z0-9._:/=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
