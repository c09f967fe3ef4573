import { messageOf } from '../errors.ts';
import type { Rights } from '../least-privilege.ts';
import { isUnauthorized } from '../topics/flexible.ts';

/** What went wrong; where a broker does not let us do something, with where the rights for it are found. */
export function reasonOrRights(error: unknown, purpose: Rights['purpose']): string {
  const reason = messageOf(error);
  return isUnauthorized(error)
    ? `${reason} (\`stateferry acl\` prints the rights that it takes, for run and for ${purpose})`
    : reason;
}
