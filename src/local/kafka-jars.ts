import { readdir } from 'node:fs/promises';
import path from 'node:path';
import type { Host } from './host.ts';
import { type MavenFolder, mavenFolder } from './maven-folder.ts';

/** Kafka's jars on this machine. */
export interface KafkaJars extends MavenFolder {
  /** For `java -cp`; the same string for as long as the folder stays where it is. */
  readonly classPath: string;
}

/** The jars that deploy/kafka/pom.xml names. */
export async function kafkaJars(host: Host): Promise<KafkaJars> {
  const found = await mavenFolder(host, { name: 'Kafka', key: 'kafka', size: '43 MB', goal: 'copy-dependencies' });
  const jars = (await readdir(found.folder)).filter((name) => name.endsWith('.jar')).sort();
  return { ...found, classPath: jars.map((jar) => path.join(found.folder, jar)).join(path.delimiter) };
}
