import type { LinkTrouble } from './plan.ts';
import type { ProxyRules, TcpProxy } from './proxy.ts';

const SLOW_MS = 150;

/** Faults of the links that last. Several may be on one link at once; it is whole again when all are over. */
export interface Troubles {
  /** Returns what ends it. */
  begin(proxies: readonly TcpProxy[], trouble: LinkTrouble): () => void;
  /** Ends all of them. */
  clear(): void;
}

export function createTroubles(): Troubles {
  const active = new Map<TcpProxy, LinkTrouble[]>();

  function apply(proxy: TcpProxy): void {
    const rules: ProxyRules = {};
    for (const trouble of active.get(proxy) ?? []) Object.assign(rules, rulesOf(trouble));
    proxy.rule(rules);
  }

  return {
    begin(proxies, trouble) {
      for (const proxy of proxies) {
        if (trouble === 'reset') {
          proxy.reset();
          continue;
        }
        active.set(proxy, [...(active.get(proxy) ?? []), trouble]);
        apply(proxy);
      }
      return () => {
        for (const proxy of proxies) {
          const left = [...(active.get(proxy) ?? [])];
          const at = left.indexOf(trouble);
          if (at >= 0) left.splice(at, 1);
          active.set(proxy, left);
          apply(proxy);
        }
      };
    },
    clear() {
      for (const proxy of active.keys()) {
        active.set(proxy, []);
        apply(proxy);
      }
    },
  };
}

function rulesOf(trouble: LinkTrouble): ProxyRules {
  switch (trouble) {
    case 'cut':
      return { refuse: true };
    case 'half-open':
      return { swallow: ['down'] };
    case 'stall':
      return { stall: true };
    case 'slow':
      return { delayMs: SLOW_MS };
    case 'reset':
      return {};
  }
}
