import type { FunctionLink } from './link.ts';

/** A link that can be turned to a function at another address. What asks for `client` keeps the one that it got. */
export interface SwitchableLink extends FunctionLink {
  /** Of the function that it leads to. */
  readonly url: string;
  /** Leads to another function from now on, which is not discovered yet; the one of before is let go. */
  switchTo(url: string): Promise<void>;
}

export function createSwitchableLink(url: string, make: (url: string) => FunctionLink): SwitchableLink {
  let current = { url, link: make(url) };
  return {
    get url() {
      return current.url;
    },
    get client() {
      return current.link.client;
    },
    connect: (signal) => current.link.connect(signal),
    isUp: () => current.link.isUp(),
    suspect: (reason) => current.link.suspect(reason),
    close: () => current.link.close(),
    async switchTo(next) {
      const { link } = current;
      current = { url: next, link: make(next) };
      await link.close();
    },
  };
}
