import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { StateferryError } from '../errors.ts';
import { packagePath } from '../package-path.ts';

/** One flight of flights-20k.json, as the file has it. */
export interface Flight {
  /** IATA code. */
  readonly origin: string;
  readonly destination: string;
  /** `2001/01/31 23:59` */
  readonly date: string;
  /** Minutes; negative: early. */
  readonly delay: number;
  /** Miles. */
  readonly distance: number;
}

/** The folder of the example function. */
export const EXAMPLE = 'examples/flights';

/**
 * The 20,000 flights of the package `vega-datasets`, in the file's order.
 * @throws StateferryError DEMO_REFUSED where the example or the package is not there.
 */
export function loadFlights(): Flight[] {
  const folder = packagePath(EXAMPLE);
  if (!existsSync(path.join(folder, 'index.js'))) {
    throw new StateferryError(
      'DEMO_REFUSED',
      `the demo runs the function in ${EXAMPLE}, which is in Stateferry's repository and not in its package. ` +
        'Clone the repository and run: npm ci && npm run demo',
    );
  }
  const require = createRequire(path.join(folder, 'package.json'));
  let data: string;
  try {
    data = path.join(path.dirname(require.resolve('vega-datasets')), '../data/flights-20k.json');
  } catch (cause) {
    throw new StateferryError('DEMO_REFUSED', 'the package vega-datasets is not installed. Run: npm ci', { cause });
  }
  return JSON.parse(readFileSync(data, 'utf8')) as Flight[];
}
