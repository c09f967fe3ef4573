import type { FunctionVersion } from '../../journal/function-versions.ts';
import { printable } from '../printable.ts';
import { shortDigest } from './story-text.ts';

/** Names versions of the function for a person. */
export function nameVersions(versions: readonly FunctionVersion[]): (digest: string) => string {
  return (digest) => {
    const found = versions.find((version) => version.digest === digest);
    const short = `version ${shortDigest(digest)}`;
    if (found === undefined) return short;
    return `${short} of ${printable(found.serviceName)}, seen since ${found.discoveredAt.toISOString()}`;
  };
}

/** A version of the function, for JSON. */
export function versionJson(versions: readonly FunctionVersion[], digest: string): object {
  const found = versions.find((version) => version.digest === digest);
  if (found === undefined) return { digest };
  const { serviceName, dialect, sdk, discoveredAt } = found;
  return { digest, serviceName, dialect, sdk, discoveredAt };
}
