import { expect, it } from 'vitest';
import { StateferryError } from '../../src/errors.ts';
import { type NamingFiles, readNamedFiles } from '../../src/named-files.ts';
import { createAuthority, filesOf } from '../support/certificates.ts';

function refusal(doors: Partial<NamingFiles['doors']>, fn: Partial<NamingFiles['function']> = {}): string[] {
  try {
    readNamedFiles({
      doors: { withoutAcl: 'closed', services: [], jwtKeys: [], tls: {}, selfTokenFile: '', ...doors },
      function: { url: 'https://127.0.0.1:1', tls: {}, ...fn },
      registry: { urls: [], tls: {}, auth: {} },
      kafka: { tls: {}, sasl: {}, requestTimeoutMs: 1_000 },
      postgres: { url: 'postgres://127.0.0.1/x', tls: {}, passwordFile: '' },
      http: { token: '', tokenFile: '', tls: {} },
    });
  } catch (error) {
    expect(error).toBeInstanceOf(StateferryError);
    expect((error as StateferryError).code).toBe('CONFIG_INVALID');
    return (error as StateferryError).message.split('\n').filter((line) => line.startsWith('  - '));
  }
  return [];
}

it('every file of TLS that cannot be used is told at once, each with what is wrong', async (t) => {
  const authority = createAuthority();
  const [good, other] = [authority.issue({}), authority.issue({})];
  const { paths } = await filesOf(t, {
    good: good.certificate,
    goodKey: good.key,
    otherKey: other.key,
    ca: authority.certificate,
    expired: authority.issue({ lastsMs: -1_000 }).certificate,
    words: 'no certificate',
    broken: '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n',
    nothing: '',
  });
  const { good: certificateFile, goodKey: keyFile, ca } = paths;
  expect(refusal({ tls: { certificateFile, keyFile, clientCaFile: ca } }, { tls: { caFile: ca } })).toEqual([]);

  const faults = refusal(
    { tls: { certificateFile, keyFile: paths.otherKey, clientCaFile: paths.words }, selfTokenFile: paths.words },
    { tls: { caFile: `${ca}-not`, certificateFile: paths.expired, keyFile: paths.nothing } },
  );
  expect(faults).toEqual([
    expect.stringMatching(/doors\.selfTokenFile: found a text in .*words that is not shown here, expected a token/),
    expect.stringMatching(
      /doors\.tls\.keyFile: found in .*otherKey the key of another certificate than that of .*good/,
    ),
    expect.stringMatching(/doors\.tls\.clientCaFile: found no certificate in .*words, expected one in PEM/),
    expect.stringMatching(/function\.tls\.caFile: found no file that can be read \(ENOENT/),
    expect.stringMatching(/function\.tls\.keyFile: found .*nothing empty/),
  ]);
  expect(refusal({ tls: { certificateFile: paths.expired, keyFile } })).toEqual([
    expect.stringMatching(
      /certificateFile: found in .*expired a certificate that expired on 20.*, expected one that is valid now/,
    ),
    expect.stringContaining('the key of another certificate'),
  ]);
  expect(refusal({ tls: { certificateFile: paths.broken, keyFile: paths.words } })).toEqual([
    expect.stringMatching(/certificateFile: found in .*broken a certificate that cannot be used/),
    expect.stringMatching(/keyFile: found no key in .*words that can be read .*, expected a private key in PEM/),
  ]);
});

it('the token of the function itself is a token, and no service has it', async (t) => {
  const { paths } = await filesOf(t, { nothing: '\n', token: 'the-token-of-the-function-itself' });
  expect(refusal({ selfTokenFile: paths.nothing })).toEqual([
    expect.stringContaining('doors.selfTokenFile: found a text'),
  ]);
  const services = [{ name: 'shop', token: 'the-token-of-the-function-itself' }];
  expect(refusal({ selfTokenFile: paths.token, services })).toEqual([
    expect.stringContaining('doors.services[0]: found the token of the function itself'),
  ]);
});

it('what TLS to the function needs is refused beside a URL of clear text', () => {
  expect(refusal({}, { url: 'http://127.0.0.1:1', tls: { serverName: 'x' } })).toEqual([
    expect.stringContaining('expected one that begins with https'),
  ]);
});
