import { defineConfig } from 'vitest/config';

/** Makes the golden journals that are missing; see make.ts. */
export default defineConfig({
  test: {
    testTimeout: 120_000,
    hookTimeout: 60_000,
    include: ['test/journal/golden/make.ts'],
    globalSetup: ['test/support/global-setup.ts'],
  },
});
