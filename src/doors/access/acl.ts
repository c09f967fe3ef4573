import type { Principal } from '../../protocol/access-options.ts';
import type { Acl } from '../../protocol/describe-access.ts';
import type { Identity } from './caller.ts';

/** Does the ACL let this caller pass? The function itself always passes. */
export function passes({ allow, deny }: Pick<Acl, 'allow' | 'deny'>, identity: Identity): boolean {
  if (identity.kind === 'self') return true;
  const fits = (principal: Principal): boolean => isMeant(principal, identity);
  return !deny.some(fits) && allow.some(fits);
}

function isMeant(principal: Principal, identity: Identity): boolean {
  switch (principal.kind) {
    case 'all':
      return true;
    case 'internet':
      return identity.kind === 'internet';
    case 'service':
      return identity.kind === 'service' && matches(principal.name, identity.name);
  }
}

/** `*` stands for any text, also for none; everything else for itself. */
function matches(pattern: string, name: string): boolean {
  const [head = '', ...rest] = pattern.split('*');
  const tail = rest.pop();
  if (tail === undefined) return name === pattern;
  if (!name.startsWith(head) || !name.endsWith(tail) || name.length < head.length + tail.length) return false;
  let at = head.length;
  const end = name.length - tail.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
