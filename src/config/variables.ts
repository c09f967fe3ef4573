import { OPTION_NAMES, type OptionName, regularVariable, variableOf } from './options.ts';
import type { Gathered, Setting } from './source.ts';
import { suggest } from './suggest.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** Names the config file; it is about the sources, not an option itself. */
export const CONFIG_FILE_VARIABLE = 'STATEFERRY_CONFIG';

/** Together they stand for FUNCTION_URL, as they do for the reference proxy; each has a default of its own. */
export const FUNCTION_HOST_VARIABLE = 'USER_FUNCTION_HOST';
export const FUNCTION_PORT_VARIABLE = 'USER_FUNCTION_PORT';

const PREFIX = 'STATEFERRY_';

/** What Kubernetes puts into a pod for every Service, here for one whose name begins with "stateferry". */
const SERVICE_LINK = /_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;
const SERVICE_LINK_URL = /^(tcp|udp|sctp):\/\//;

/** Reads the environment. A variable that is set to nothing counts as not set. */
export function readVariables(env: Environment): Gathered {
  const settings: Setting[] = [];
  const faults: string[] = [];
  const add = (name: OptionName, variable: string, raw: string) => {
    if (variable.endsWith('_PORT') && SERVICE_LINK_URL.test(raw)) {
      faults.push(
        `${name} (${variable}): found what Kubernetes sets for a Service of that name, expected a port; ` +
          'set enableServiceLinks: false in the pod, or rename the Service',
      );
      return;
    }
    settings.push({ name, raw, source: { kind: 'variable', label: variable } });
  };

  const host = env[FUNCTION_HOST_VARIABLE];
  const port = env[FUNCTION_PORT_VARIABLE];
  const known = new Set([CONFIG_FILE_VARIABLE]);
  for (const name of OPTION_NAMES) {
    const variable = variableOf(name);
    known.add(variable);
    const raw = env[variable];
    if (raw) add(name, variable, raw);
    else if (name === 'function.url' && port && SERVICE_LINK_URL.test(port)) add(name, FUNCTION_PORT_VARIABLE, port);
    else if (name === 'function.url' && (host || port)) {
      const url = `http://${bracketed(host || '127.0.0.1')}:${port || '8080'}`;
      const label = [host && FUNCTION_HOST_VARIABLE, port && FUNCTION_PORT_VARIABLE].filter(Boolean).join(', ');
      settings.push({ name, raw: url, source: { kind: 'variable', label } });
    }
  }
  for (const variable of Object.keys(env).sort()) {
    if (!variable.startsWith(PREFIX) || known.has(variable) || !env[variable] || SERVICE_LINK.test(variable)) continue;
    const meant =
      OPTION_NAMES.filter((name) => regularVariable(name) === variable).map(variableOf)[0] ??
      suggest(variable, [...known]);
    faults.push(`${variable}: no option has this variable${meant === undefined ? '' : `; did you mean ${meant}?`}`);
  }
  return { settings, faults };
}

function bracketed(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
}
