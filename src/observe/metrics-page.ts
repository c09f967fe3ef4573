import type { Registry } from 'prom-client';

const INTRODUCTION = `# Metrics

<!-- Generated from src/observe/metrics.ts: \`npx vitest run test/observe -u\` makes it anew. -->

\`GET /metrics\` on \`http.host\` and \`http.port\` answers in the Prometheus text format. Counters count since the process
started. Gauges are read at the moment of the scrape and speak of the shards that this process owns, so that sums over
all processes speak of the deployment. Beside the metrics below there are prom-client's own about every Node process
(\`process_*\` and \`nodejs_*\`), the delay of the event loop and garbage collection among them.
`;

/** docs/metrics.md, made from the metrics of a registry; nothing is collected for it. */
export function metricsPage(registry: Registry): string {
  const rows = registry.getMetricsAsArray().map((metric) => {
    // prom-client keeps the label names on every metric, but leaves them out of this type.
    const { name, type, help, labelNames } = metric as typeof metric & { readonly labelNames: readonly string[] };
    const labels = labelNames.filter((label) => label !== 'le').map((label) => `\`${label}\``);
    return `| \`${name}\` | ${String(type)} | ${labels.join(', ')} | ${help} |`;
  });
  return `${INTRODUCTION}\n${['| metric | type | labels | what it says |', '| --- | --- | --- | --- |', ...rows].join('\n')}\n`;
}
