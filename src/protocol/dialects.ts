import { akkaServerless } from './akkaserverless.ts';
import { cloudstate } from './cloudstate.ts';
import { cloudstateFirst } from './cloudstate-first.ts';
import type { Dialect } from './dialect.ts';
import { kalix } from './kalix.ts';

/**
 * Every dialect that this version speaks, newest first. Of those that answer discovery at the same path, the first one's
 * answer has all the fields of the others'.
 */
export function allDialects(): readonly Dialect[] {
  return [kalix(), akkaServerless(), cloudstate(), cloudstateFirst()];
}
