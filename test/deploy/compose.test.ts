import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { packagePath } from '../../src/package-path.ts';

interface Service {
  readonly image?: string;
  readonly build?: { readonly context: string; readonly dockerfile: string };
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const { services } = parse(readFileSync(packagePath('docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<string, Service>;
};

/** `${NAME:-default}` as compose reads it where NAME is not set. */
const withDefaults = (text: string): string => text.replace(/\$\{\w+:-(.*?)\}/g, '$1');

it('docker compose publishes no port beyond this machine', () => {
  const ports = Object.values(services).flatMap((service) => service.ports ?? []);
  expect(ports.length).toBeGreaterThan(0);
  for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/);
});

it('docker compose builds from files that are there', () => {
  for (const { build } of Object.values(services)) {
    if (build !== undefined) expect(existsSync(packagePath(path.join(build.context, build.dockerfile)))).toBe(true);
  }
});

it.each(['engine', 'topics'])('docker compose gives the service %s a configuration that it takes', (name) => {
  const environment = Object.entries(services[name]?.environment ?? {});
  const env = Object.fromEntries(environment.map(([variable, value]) => [variable, withDefaults(String(value))]));
  const { config } = loadConfig({ argvFlags: {}, env, cwd: '/', readFile: () => undefined });
  expect(config.kafka.brokers).toEqual(['kafka:19092']);
  expect(new URL(config.postgres.url).hostname).toBe('postgres');
  expect(config.function.url).toMatch(/flights:8080/);
});

it('the brokers of docker compose tell each listener the address under which its clients reach them', () => {
  const advertised = withDefaults(services.kafka?.environment?.KAFKA_ADVERTISED_LISTENERS ?? '');
  expect(advertised).toBe('HOST://127.0.0.1:9092,CONTAINERS://kafka:19092');
  expect(services.kafka?.ports?.map(withDefaults)).toEqual(['127.0.0.1:9092:9092']);
});
