import { type ExtensionTable, eachField, ifMessage, within } from './option-bytes.ts';

/** Whom an entry of an ACL is about. */
export type Principal =
  /** Whoever calls. */
  | { readonly kind: 'all' }
  /** Whoever is not known by a name. */
  | { readonly kind: 'internet' }
  /** Callers of this name; `*` in it stands for any part. */
  | { readonly kind: 'service'; readonly name: string };

/** An ACL as one declaration carries it. */
export interface AclOption {
  readonly allow: readonly Principal[];
  readonly deny: readonly Principal[];
  /** gRPC status for those who are refused; 0: as the enclosing declaration has it. */
  readonly denyCode: number;
}

/** A claim that tokens must have. */
export interface ClaimOption {
  readonly name: string;
  /** All of them are wanted, in any order; `${NAME}` is not filled in yet. */
  readonly values: readonly string[];
  /** A regular expression, or ''. */
  readonly pattern: string;
}

/** What one declaration says about signed tokens. Modes are the numbers of `JwtMethodMode`. */
export interface JwtOption {
  readonly validate: readonly number[];
  readonly sign: readonly number[];
  readonly issuers: readonly string[];
  readonly claims: readonly ClaimOption[];
}

/** `JwtMethodOptions.JwtMethodMode`: what is validated or signed. */
export const JWT_MODES = { unspecified: 0, bearerToken: 1, message: 2 } as const;

/** Where the annotations about callers are. */
export interface AccessOptions {
  readonly fileAcl: ExtensionTable<AclOption>;
  readonly serviceAcl: ExtensionTable<AclOption>;
  readonly methodAcl: ExtensionTable<AclOption>;
  readonly serviceJwt: ExtensionTable<JwtOption>;
  readonly methodJwt: ExtensionTable<JwtOption>;
}

const under = <T>(number: number, read: (bytes: Uint8Array) => T): ExtensionTable<T> => [
  [1080, ifMessage((bytes) => within(bytes, number, read))],
];

/**
 * Akka Serverless and Kalix: FileOptions.4, ServiceOptions.3 and MethodOptions.5 are an Acl; MethodOptions.3 and, in
 * later SDKs, ServiceOptions.5 are about tokens.
 */
export const KALIX_ACCESS: AccessOptions = {
  fileAcl: under(4, readAcl),
  serviceAcl: under(3, readAcl),
  methodAcl: under(5, readAcl),
  serviceJwt: under(5, readJwt),
  methodJwt: under(3, readJwt),
};

/** `Acl { repeated PrincipalMatcher allow = 1; repeated PrincipalMatcher deny = 2; uint32 deny_code = 3; }`. */
function readAcl(bytes: Uint8Array): AclOption {
  const allow: Principal[] = [];
  const deny: Principal[] = [];
  let denyCode = 0;
  eachField(bytes, (field, wire, reader) => {
    if (field === 1 && wire === 2) allow.push(readPrincipal(reader.bytes()));
    else if (field === 2 && wire === 2) deny.push(readPrincipal(reader.bytes()));
    else if (field === 3 && wire === 0) denyCode = reader.uint32();
    else return false;
    return true;
  });
  return { allow, deny, denyCode };
}

/** `PrincipalMatcher { oneof matcher { Principal principal = 1; string service = 2; } }`: the last one set counts. */
function readPrincipal(bytes: Uint8Array): Principal {
  let found: Principal | undefined;
  eachField(bytes, (field, wire, reader) => {
    if (field === 1 && wire === 0) {
      const number = reader.int32();
      found = number === 1 ? { kind: 'all' } : number === 2 ? { kind: 'internet' } : undefined;
    } else if (field === 2 && wire === 2) found = { kind: 'service', name: reader.string() };
    else return false;
    return true;
  });
  // Passed over in silence, such an entry of `deny` would let somebody in.
  if (found === undefined) throw new Error('an entry of an ACL names no principal that is known, and no service');
  return found;
}

/**
 * `JwtMethodOptions { repeated Mode validate = 1; repeated Mode sign = 2; repeated string bearer_token_issuer = 3;
 * repeated JwtStaticClaim static_claim = 4; }`; JwtServiceOptions has the same numbers, with a single `validate`.
 */
function readJwt(bytes: Uint8Array): JwtOption {
  const validate: number[] = [];
  const sign: number[] = [];
  const issuers: string[] = [];
  const claims: ClaimOption[] = [];
  eachField(bytes, (field, wire, reader) => {
    const modes = field === 1 ? validate : field === 2 ? sign : undefined;
    if (modes !== undefined && wire === 0) modes.push(reader.int32());
    else if (modes !== undefined && wire === 2) {
      const end = reader.uint32() + reader.pos;
      while (reader.pos < end) modes.push(reader.int32());
    } else if (field === 3 && wire === 2) issuers.push(reader.string());
    else if (field === 4 && wire === 2) claims.push(readClaim(reader.bytes()));
    else return false;
    return true;
  });
  return { validate, sign, issuers, claims };
}

/** `JwtStaticClaim { string claim = 1; repeated string value = 2; string pattern = 3; }`. */
function readClaim(bytes: Uint8Array): ClaimOption {
  let name = '';
  const values: string[] = [];
  let pattern = '';
  eachField(bytes, (field, wire, reader) => {
    if (wire !== 2) return false;
    if (field === 1) name = reader.string();
    else if (field === 2) values.push(reader.string());
    else if (field === 3) pattern = reader.string();
    else return false;
    return true;
  });
  return { name, values, pattern };
}
