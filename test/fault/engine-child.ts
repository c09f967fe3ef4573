import { writeSync } from 'node:fs';
import { register } from 'node:module';
import { ORDER_VARIABLE, REPORTS_DESCRIPTOR } from '../support/engine-order.ts';
import { MUTATIONS } from './mutations.ts';
import type { FaultOrder } from './order.ts';

/*
 * The process of an engine in a fault run: what test/support/engine-child.ts is, and besides it can be broken on
 * purpose, its clock can be moved, and at its end it waits until nothing keeps it alive. The source of what is to be
 * broken is changed as it is loaded, so that must be arranged before anything is imported.
 */

const order = JSON.parse(process.env[ORDER_VARIABLE] ?? '') as FaultOrder;
const source = order.mutation === undefined ? undefined : MUTATIONS[order.mutation].source;
if (source !== undefined) register('./mutation-hooks.js', import.meta.url, { data: source });

const { runEngine } = await import('./engine-run.ts');
runEngine(order, (line) => writeSync(REPORTS_DESCRIPTOR, `${JSON.stringify(line)}\n`));
