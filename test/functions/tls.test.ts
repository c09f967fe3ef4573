import { ServerCredentials } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { FunctionTlsConfig } from '../../src/config/tls.ts';
import type { Discovered } from '../../src/functions/discovery.ts';
import { createLink, type FunctionLink } from '../../src/functions/link.ts';
import { readFunctionFiles } from '../../src/named-files.ts';
import { createLog } from '../../src/observe/log.ts';
import { allDialects } from '../../src/protocol/dialects.ts';
import { type Authority, type Certified, createAuthority, filesOf } from '../support/certificates.ts';
import { compileProtos } from '../support/compile-protos.ts';
import { eventually } from '../support/processes.ts';
import type { Scope } from '../support/scope.ts';
import { type ScriptedFunction, startScriptedFunction } from '../support/scripted-function.ts';

const authority = createAuthority();
const stranger = createAuthority('Another CA');
const HERE = authority.issue({ addresses: ['127.0.0.1'] });
const RUNTIME = authority.issue({ commonName: 'stateferry' });

const PROTO = compileProtos({
  'shop.proto': `
    syntax = "proto3";
    package shop;
    service Desk { rpc Ring(Item) returns (Item); }
    message Item { string id = 1; }
  `,
});

/** A function with this certificate; `mutual`: it wants one of its callers, too, of the CA `by`. */
function startSecure(
  t: Scope,
  certified: Certified,
  mutual = false,
  { by = authority, port }: { by?: Authority; port?: number } = {},
): Promise<ScriptedFunction> {
  const pair = { private_key: Buffer.from(certified.key), cert_chain: Buffer.from(certified.certificate) };
  return startScriptedFunction(t, {
    descriptor: PROTO,
    components: [{ kind: 'action', service: 'shop.Desk' }],
    credentials: ServerCredentials.createSsl(Buffer.from(by.certificate), [pair], mutual),
    ...(port !== undefined && { port }),
  });
}

/** A link to it, with what the configuration names in files, and why it was away. */
async function linkTo(t: Scope, url: string, wanted: readonly (keyof FunctionTlsConfig)[], serverName = 'door') {
  const { paths, write } = await filesOf(t, {
    caFile: authority.certificate,
    certificateFile: RUNTIME.certificate,
    keyFile: RUNTIME.key,
  });
  const tls: FunctionTlsConfig = Object.fromEntries(
    Object.entries({ ...paths, serverName }).filter(([name]) => wanted.includes(name as keyof FunctionTlsConfig)),
  );
  const away: string[] = [];
  const back: Discovered[] = [];
  const warned: { readonly msg: string; readonly reason: string }[] = [];
  const log = createLog({ level: 'warn', format: 'json' }, { write: (line) => warned.push(JSON.parse(line)) });
  const link: FunctionLink = createLink({
    url: new URL(url),
    tls: readFunctionFiles({ function: { url, tls } }, log),
    dialects: allDialects(),
    proxy: { name: 'test', version: '1', hostname: 'h', port: 9, devMode: false },
    backoffMinMs: 20,
    backoffMaxMs: 50,
    onAway: (reason) => away.push(reason),
    onBack: (found) => back.push(found),
    onRefused: () => undefined,
  });
  t.onTestFinished(() => link.close());
  return { link, away, back, warned, write };
}

const never = new AbortController().signal;

describe('a function in TLS', () => {
  it('is discovered where its CA is known', async (t) => {
    const fn = await startSecure(t, HERE);
    const { link, away } = await linkTo(t, fn.url, ['caFile']);
    expect((await link.connect(never)).spec.serviceName).toBe('scripted');
    expect(away).toEqual([]);
  });

  it('is discovered by the name that its certificate has, where that is configured', async (t) => {
    const fn = await startSecure(t, authority.issue({ dnsNames: ['function.internal'] }));
    const { link } = await linkTo(t, fn.url, ['caFile', 'serverName'], 'function.internal');
    expect((await link.connect(never)).spec.serviceName).toBe('scripted');
  });

  it('that wants a certificate is shown one', async (t) => {
    const fn = await startSecure(t, HERE, true);
    const { link } = await linkTo(t, fn.url, ['caFile', 'certificateFile', 'keyFile']);
    expect((await link.connect(never)).spec.serviceName).toBe('scripted');
  });

  it('gets what the files have become with the next connection; what cannot be used is told, and not used', async (t) => {
    const fn = await startSecure(t, HERE, true);
    const { link, away, back, warned, write } = await linkTo(t, fn.url, ['caFile', 'certificateFile', 'keyFile']);
    await link.connect(never);
    // Another CA everywhere, a moment later at the runtime.
    const mine = stranger.issue({ commonName: 'stateferry' });
    fn.kill();
    const next = await startSecure(t, stranger.issue({ addresses: ['127.0.0.1'] }), true, {
      by: stranger,
      port: fn.port,
    });
    link.suspect('it was renewed');
    await eventually('the other CA is told', () => away.some((reason) => /no CA that is trusted/.test(reason)));
    await write('certificateFile', mine.certificate);
    await write('keyFile', mine.key);
    await write('caFile', stranger.certificate);
    await eventually('the function is back', () => back.length === 1);

    const before = warned.length;
    await write('keyFile', 'half a key');
    next.kill();
    await next.restart();
    link.suspect('it was started again');
    await eventually('the function is back once more', () => back.length === 2);
    expect(warned.slice(before)).toEqual([
      expect.objectContaining({
        msg: 'New files for the function cannot be used; those from before are kept',
        reason: expect.stringMatching(/^function\.tls\.keyFile: found no key/),
      }),
    ]);
  });

  it('that is called in clear text is waited for, and the reason says so', async (t) => {
    const fn = await startSecure(t, HERE);
    const { link, away } = await linkTo(t, fn.url.replace('https:', 'http:'), []);
    link.connect(never).catch(() => undefined);
    await eventually('it is told', () => away.length > 0);
    expect(away[0]).toContain('closed without a word: is it one that wants https?');
  });

  const other = authority.issue({ dnsNames: ['elsewhere.internal'] });
  const expired = authority.issue({ addresses: ['127.0.0.1'], lastsMs: -1_000 });
  const strange = stranger.issue({ addresses: ['127.0.0.1'] });
  it.for<[string, Certified, boolean, RegExp]>([
    ['with a certificate of another CA', strange, false, /no CA that is trusted here .*: set function\.tls\.caFile/],
    ['with a certificate that has expired', expired, false, /certificate of the server.* has expired: give/],
    [
      'with a certificate of another host',
      other,
      false,
      /is for another name .*127\.0\.0\.1.*set function\.tls\.serverName/,
    ],
    [
      'that wants a certificate and gets none',
      HERE,
      true,
      /certificate required|handshake failure|ECONNRESET|EPIPE|hang up/,
    ],
  ])('%s is waited for, with the reason, once, and with back-off', async ([, certified, mutual, reason], t) => {
    const fn = await startSecure(t, certified, mutual);
    const { link, away } = await linkTo(t, fn.url, ['caFile']);
    const stop = new AbortController();
    const connecting = link.connect(stop.signal).catch(() => 'stopped');
    await eventually('it is told', () => away.length > 0);
    expect(away[0]).toMatch(reason);
    const started = Date.now();
    await eventually('a second has passed', () => Date.now() - started > 1_000);
    stop.abort();
    expect(await connecting).toBe('stopped');
    expect(away).toHaveLength(1);
    expect(fn.discoveries).toBe(0);
  });
});
