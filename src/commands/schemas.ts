import type { Io, SchemasOptions } from '../cli/context.ts';
import { formatTable } from '../cli/table.ts';
import type { Config } from '../config/config.ts';
import { planDeployment } from '../deployment-plan.ts';
import { StateferryError } from '../errors.ts';
import { createReaders } from '../registry/inputs.ts';
import { prepareSchemas, type SubjectReport } from '../registry/prepare.ts';
import { planSchemas, registryClient } from '../schemas.ts';
import { discoverNow } from './discover-now.ts';

/** `stateferry schemas`: asks the function and the registry, registers where asked; 1 where a schema does not fit. */
export async function schemas(config: Config, options: SchemasOptions, io: Io): Promise<number> {
  const { spec, descriptors } = await discoverNow(config, io);
  const plan = planSchemas(planDeployment(config, spec).routes, descriptors);
  if (plan.inputs.length + plan.outputs.length === 0) {
    throw new StateferryError(
      'OPERATION_REFUSED',
      'no topic has anything to do with the schema registry. Give a subscription the format registry, or a destination one of avro, json-schema and registry-protobuf.',
    );
  }
  const client = registryClient(config);
  try {
    const readers = createReaders(plan.reads);
    const register = { inputs: options.push ? options.inputs : undefined, outputs: options.push };
    const { reports } = await prepareSchemas({ client, readers, ...plan, register });
    const faults = reports.flatMap(faultLines);
    if (options.json) io.out.write(`${JSON.stringify({ held: faults.length === 0, subjects: reports }, null, 2)}\n`);
    else {
      io.out.write(tableOf(reports));
      for (const line of faults) io.out.write(`${line}\n`);
    }
    return faults.length === 0 ? 0 : 1;
  } finally {
    client.close();
  }
}

function tableOf(reports: readonly SubjectReport[]): string {
  const rows = reports.map(({ topic, direction, subject, version, id, state }) => [
    topic,
    direction,
    subject,
    version === null ? '-' : String(version),
    id === null ? '-' : String(id),
    state,
  ]);
  return formatTable(['TOPIC', 'DIRECTION', 'SUBJECT', 'VERSION', 'ID', 'STATE'], rows, new Set(['VERSION', 'ID']));
}

function faultLines({ topic, subject, faults }: SubjectReport): string[] {
  return faults.map((fault) => `"${topic}", subject "${subject}": ${fault}`);
}
