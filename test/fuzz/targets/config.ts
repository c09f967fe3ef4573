import { loadConfig } from '../../../src/config/load.ts';
import { defaultText, OPTION_NAMES } from '../../../src/config/options.ts';
import type { FuzzTarget } from '../target.ts';
import { hasCode } from './refusals.ts';

const REQUIRED = {
  'deployment.name': 'shop',
  'kafka.brokers': ['localhost:9092'],
  'postgres.url': 'postgres://localhost/x',
  'function.url': 'http://localhost:8080',
};

/** Config files: they are a configuration, or CONFIG_INVALID that lists the faults. */
export function config(): FuzzTarget {
  return {
    seeds: [
      'deployment:\n  name: shop\nkafka:\n  brokers: [a:9092]\n  sessionTimeoutMs: 10000\n',
      'topics.subscriptions:\n  - { topic: a, service: s.S, method: M, format: json }\ntopics.destinations:\n  replies: []\n  events: [{ entityType: e, topic: b }]\n',
      '{"postgres": {"url": "postgres://u:p@h/d"}, "log": {"level": "debug"}}',
      'a: &x [1, 2]\nb: *x\n',
      ...OPTION_NAMES.slice(0, 12).map((name) => `${name}: ${defaultText(name) ?? 'x'}\n`),
    ].map((text) => Buffer.from(text)),
    words: [
      ...OPTION_NAMES,
      ': ',
      '\n',
      '  ',
      '- ',
      '&a ',
      '*a',
      '<<: ',
      '{',
      '}',
      '[',
      ']',
      '"',
      "'",
      '|\n',
      '>\n',
      '!!binary ',
      '!!js/function ',
      '? ',
      '%YAML 1.1\n',
      '---\n',
      '...\n',
      '\t',
      '~',
      '1e99',
      '0x1f',
      '.nan',
    ],
    maxBytes: 2_048,
    run(input) {
      try {
        loadConfig({
          argvFlags: { config: 'f' },
          env: {},
          cwd: '/',
          readFile: () => input.toString('utf8'),
          assumed: REQUIRED as never,
        });
      } catch (error) {
        if (!hasCode('CONFIG_INVALID')(error)) throw error;
      }
    },
  };
}
