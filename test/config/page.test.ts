import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import { OPTION_NAMES, variableOf } from '../../src/config/options.ts';
import { configurationPage } from '../../src/config/page.ts';
import { packagePath } from '../../src/package-path.ts';

test('docs/configuration.md is what the table says (`stateferry config --docs > docs/configuration.md` makes it anew)', () => {
  expect(readFileSync(packagePath('docs/configuration.md'), 'utf8')).toBe(configurationPage());
});

test('the page names every option and its variable', () => {
  for (const name of OPTION_NAMES) {
    expect(configurationPage()).toContain(`| \`${name}\` | \`${variableOf(name)}\``);
  }
});

test('the example file of the page is a configuration that starts', () => {
  const example = /```yaml\n(.*?)```/s.exec(configurationPage())?.[1];
  const { config } = loadConfig({ argvFlags: {}, env: {}, cwd: '/', readFile: () => example });
  expect(config.topics.subscriptions[0]).toEqual({
    topic: 'cart-commands',
    service: 'shop.CartService',
    method: 'AddItem',
    format: 'auto',
    entityId: 'auto',
  });
});
