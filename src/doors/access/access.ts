import { status } from '@grpc/grpc-js';
import type { Metadata, MetadataEntry } from '../../model/payload.ts';
import type { AccessRules, MethodAccess } from '../../protocol/describe-access.ts';
import type { CallerKeys } from '../../protocol/dialect.ts';
import { type Asker, CallFailure, type DoorCall } from '../calls.ts';
import type { Peer } from '../peer.ts';
import { passes } from './acl.ts';
import type { Bearers, Claims } from './bearers.ts';
import { bearerOf, type createCallers, type Identity, isLocal } from './caller.ts';

/** Who may call a method without an ACL: everybody, who is on this host, or nobody. */
export type WithoutAcl = 'open' | 'local' | 'closed';

/** Says who may call. */
export interface Access {
  /**
   * The call as it goes on: with what the function is told of its caller, and without the secrets that proved it.
   * @throws CallFailure for a caller that may not
   */
  admit(call: DoorCall): Promise<DoorCall>;
  /**
   * May this caller read what the function has, by reflection or as OpenAPI? It may as if that were a method without an ACL.
   * @throws CallFailure for a caller that may not
   */
  mustBeTold(asker: Asker): void;
}

export function createAccess(options: {
  /** Of every method that can be called: a method without a rule is called by nobody. */
  readonly rules: AccessRules;
  readonly withoutAcl: WithoutAcl;
  readonly identify: ReturnType<typeof createCallers>;
  readonly bearers: Bearers;
  /** Where the function looks for its caller; absent: its SDK does not. */
  readonly callerKeys: CallerKeys | undefined;
}): Access {
  const { rules, withoutAcl, identify, bearers, callerKeys } = options;

  const mustPassWithoutAcl = (what: string, peer: Peer, identity: Identity): void => {
    if (identity.kind === 'self' || withoutAcl === 'open' || (withoutAcl === 'local' && isLocal(peer))) return;
    const who = withoutAcl === 'local' ? 'only callers on its own host may' : 'nobody may';
    throw new CallFailure(
      status.PERMISSION_DENIED,
      `${what} has no ACL, and ${who} call such methods (doors.withoutAcl: ${withoutAcl})`,
    );
  };

  /** Nobody is told of a method's rules whom the method's own ACL keeps out: it comes first. */
  const mustPass = (call: DoorCall, rule: MethodAccess, identity: Identity): void => {
    if (rule.acl !== undefined) {
      if (!passes(rule.acl, identity)) throw refusal(call, rule.acl.denyCode);
      return;
    }
    mustPassWithoutAcl(nameOf(call), call.peer, identity);
  };

  return {
    async admit(call) {
      const rule = rules.get(call.method);
      if (rule === undefined) throw refusal(call, status.PERMISSION_DENIED);
      const { identity, metadata, bearers: tokens } = identify(call);
      mustPass(call, rule, identity);
      if (rule.unserved !== undefined) {
        throw new CallFailure(status.UNIMPLEMENTED, `${nameOf(call)} ${rule.unserved}, which the runtime does not do`);
      }
      const claims = rule.bearer === undefined ? undefined : await bearers.verify(tokens, rule.bearer);
      const told = callerKeys === undefined ? [] : tell(callerKeys, identity, claims);
      // Its claims are told, and who reads the log could use it.
      const kept = claims === undefined ? metadata : metadata.filter((entry) => bearerOf(entry) === undefined);
      return { ...call, metadata: [...kept, ...told] };
    },
    mustBeTold: (asker) => mustPassWithoutAcl('the description of the services', asker.peer, identify(asker).identity),
  };
}

/** Where the author of the ACL wants the method to seem absent, the sentence says nothing else. */
function refusal(call: DoorCall, code: status): CallFailure {
  const { component, name } = call.method;
  if (code === status.NOT_FOUND) return new CallFailure(code, 'not found');
  if (code === status.UNIMPLEMENTED) {
    return new CallFailure(code, `The server does not implement the method /${component.service}/${name}`);
  }
  return new CallFailure(code, `this caller may not call ${nameOf(call)}`);
}

function tell(keys: CallerKeys, identity: Identity, claims: Claims = {}): Metadata {
  const entries: MetadataEntry[] = Object.entries(claims).map(([name, claim]) => ({
    key: keys.claimPrefix + name,
    value: typeof claim === 'string' ? claim : JSON.stringify(claim),
  }));
  if (identity.kind === 'service') entries.push({ key: keys.service, value: identity.name });
  else entries.push({ key: keys.source, value: identity.kind });
  return entries;
}

function nameOf({ method }: DoorCall): string {
  return `${method.component.service}/${method.name}`;
}
