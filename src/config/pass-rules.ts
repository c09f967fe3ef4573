/** What says what a record or an event is, and is each one's own. */
const OWN = /^(?:content-type$|ce[-_]|stateferry-|_)/i;

/** A rule of `topics.passHeaders`: the name of a header, or the beginning of names and a star. */
export function isPassRule(rule: string): boolean {
  return /^[!-)+-~]+\*?$/.test(rule) && !OWN.test(rule);
}
