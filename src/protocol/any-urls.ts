/** Where a dialect puts values that are not protobuf messages: the prefixes of their type urls. */
export interface AnyUrls {
  readonly json: string;
  readonly primitive: string;
}

/**
 * The prefixes, as the SDKs of each family have them. `akka` is what the successors of Kalix's SDKs write; no dialect here
 * is theirs, but what they wrote (on a topic, in an imported history) is read.
 */
export const ANY_URLS = {
  cloudstate: { json: 'json.cloudstate.io/', primitive: 'p.cloudstate.io/' },
  akkaserverless: { json: 'json.akkaserverless.com/', primitive: 'p.akkaserverless.com/' },
  kalix: { json: 'json.kalix.io/', primitive: 'type.kalix.io/' },
  akka: { json: 'json.akka.io/', primitive: 'type.akka.io/' },
} as const satisfies Record<string, AnyUrls>;
