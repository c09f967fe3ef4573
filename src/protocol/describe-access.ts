import { StateferryError } from '../errors.ts';
import type { Component, Method } from '../model/component.ts';
import { type AclOption, JWT_MODES, type JwtOption, type Principal } from './access-options.ts';
import { concerning } from './declarations.ts';
import type { Descriptors } from './descriptors.ts';
import type { OptionTable } from './options.ts';
import { readOption } from './read-option.ts';
import { fillIn } from './topic-template.ts';

/** gRPC's PERMISSION_DENIED, and the largest of its codes. */
const PERMISSION_DENIED = 7;
const LAST_CODE = 16;

/** Who passes: whom no entry of `deny` fits, and an entry of `allow` does. */
export interface Acl {
  readonly allow: readonly Principal[];
  readonly deny: readonly Principal[];
  /** gRPC status for everybody else, 1 to 16. */
  readonly denyCode: number;
}

/** The signed token that a caller has to send. */
export interface BearerRule {
  /** Its issuer is one of these; none are listed: whoever has a key. */
  readonly issuers: readonly string[];
  /** Its claims have all these values; without a value, the claim is there. */
  readonly claims: readonly { readonly name: string; readonly values: readonly string[] }[];
}

/** Who may call one method, by its annotations. */
export interface MethodAccess {
  /** Absent: nothing is said. */
  readonly acl?: Acl;
  /** Absent: no token is wanted. */
  readonly bearer?: BearerRule;
  /** Why nobody may: what is asked of a token that this version cannot do, as a sentence without a full stop. */
  readonly unserved?: string;
}

export type AccessRules = ReadonlyMap<Method, MethodAccess>;

/**
 * Who may call each of a component's methods. Of ACLs the innermost of method, service and file counts, as a whole but
 * for a `deny_code` of 0, which stands for the enclosing one's; of annotations about tokens, what the method's does not
 * say the service's says. An issuer or a claim that is wanted wants a token.
 *
 * `${NAME}` in a claim's value stands for one of `variables`. Throws FUNCTION_SPEC for annotations that mean nothing: an
 * entry without a principal, a status that gRPC does not have, a variable that is not set.
 */
export function describeAccess(given: {
  readonly descriptors: Descriptors;
  readonly component: Component;
  readonly options: OptionTable;
  readonly variables?: ReadonlyMap<string, string>;
}): AccessRules {
  const { component, options, variables = new Map() } = given;
  const rules = new Map<Method, MethodAccess>();
  const service = given.descriptors.registry.getService(component.service);
  for (const method of component.methods.values()) {
    const declared = service?.methods.find(({ name }) => name === method.name);
    if (options.access === undefined || service === undefined || declared === undefined) {
      rules.set(method, {});
      continue;
    }
    const { access } = options;
    const where = `${component.service}.${method.name}`;
    const rule = concerning(declared, () => {
      const acl = innermost(
        [
          readOption(access.methodAcl, declared.proto.options, where),
          readOption(access.serviceAcl, service.proto.options, component.service),
          readOption(access.fileAcl, service.file.proto.options, service.file.proto.name),
        ],
        where,
      );
      const token = tokenRule(
        readOption(access.methodJwt, declared.proto.options, where),
        readOption(access.serviceJwt, service.proto.options, component.service),
        (value) => fillIn(value, variables, where, 'claim'),
      );
      return { ...(acl !== undefined && { acl }), ...token };
    });
    rules.set(method, rule);
  }
  return rules;
}

function innermost(acls: readonly (AclOption | undefined)[], where: string): Acl | undefined {
  const there = acls.filter((acl) => acl !== undefined);
  const [acl] = there;
  if (acl === undefined) return undefined;
  const denyCode = there.find((one) => one.denyCode !== 0)?.denyCode ?? PERMISSION_DENIED;
  if (denyCode <= LAST_CODE) return { allow: acl.allow, deny: acl.deny, denyCode };
  throw new StateferryError(
    'FUNCTION_SPEC',
    `The ACL of ${where} has the deny_code ${denyCode}, and gRPC has the codes 1 to ${LAST_CODE}. Set one of these, for example 5 for NOT_FOUND.`,
  );
}

function tokenRule(
  own: JwtOption | undefined,
  service: JwtOption | undefined,
  fill: (value: string) => string,
): Pick<MethodAccess, 'bearer' | 'unserved'> {
  const said = <T>(of: (option: JwtOption) => readonly T[]): readonly T[] =>
    [own, service].map((option) => (option === undefined ? [] : of(option))).find(({ length }) => length > 0) ?? [];
  const validate = said((option) => option.validate);
  const issuers = said((option) => option.issuers);
  const claims = said((option) => option.claims);
  const sign = said((option) => option.sign);
  const unserved = whatIsMissing(validate, sign, claims);
  if (unserved !== undefined) return { unserved };
  const wanted = validate.includes(JWT_MODES.bearerToken) || issuers.length > 0 || claims.length > 0;
  if (!wanted) return {};
  return { bearer: { issuers, claims: claims.map(({ name, values }) => ({ name, values: values.map(fill) })) } };
}

/** What is asked for that this version does not do: passed over, it would open a method that its author closed. */
function whatIsMissing(
  validate: readonly number[],
  sign: readonly number[],
  claims: JwtOption['claims'],
): string | undefined {
  if (validate.includes(JWT_MODES.message)) return 'wants tokens inside of messages validated';
  if (sign.some((mode) => mode !== JWT_MODES.unspecified)) return 'wants tokens signed';
  if (validate.some((mode) => mode !== JWT_MODES.unspecified && mode !== JWT_MODES.bearerToken)) {
    return 'wants tokens validated in a way that is not known';
  }
  const patterned = claims.find(({ pattern }) => pattern !== '');
  if (patterned !== undefined) return `wants the claim ${patterned.name} to match a pattern`;
  return undefined;
}
