import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import forge from 'node-forge';
import { temporaryFolder } from './folder.ts';
import type { Scope } from './scope.ts';

/** A certificate and its key, in PEM. */
export interface Certified {
  readonly certificate: string;
  readonly key: string;
}

/** What a certificate is to say. */
export interface Wanted {
  readonly commonName?: string;
  readonly dnsNames?: readonly string[];
  readonly addresses?: readonly string[];
  /** From now, in ms; negative: it has expired. */
  readonly lastsMs?: number;
}

/** A CA of the test's own, which signs what it is asked to. */
export interface Authority {
  readonly certificate: string;
  issue(wanted: Wanted): Certified;
}

const DAY_MS = 24 * 3_600_000;
let serial = 0;

function newCertificate(commonName: string, lastsMs: number) {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const own = forge.pki.privateKeyFromPem(key);
  const certificate = forge.pki.createCertificate();
  certificate.publicKey = forge.pki.setRsaPublicKey(own.n, own.e);
  certificate.serialNumber = `01${(++serial).toString(16).padStart(8, '0')}`;
  certificate.validity.notBefore = new Date(Date.now() - 2 * DAY_MS);
  certificate.validity.notAfter = new Date(Date.now() + lastsMs);
  certificate.setSubject([{ name: 'commonName', value: commonName }]);
  return { certificate, own, key };
}

export function createAuthority(commonName = 'Test CA'): Authority {
  const { certificate: ca, own: caKey } = newCertificate(commonName, DAY_MS);
  ca.setIssuer(ca.subject.attributes);
  ca.setExtensions([
    { name: 'basicConstraints', cA: true, critical: true },
    { name: 'keyUsage', keyCertSign: true, critical: true },
  ]);
  ca.sign(caKey, forge.md.sha256.create());
  return {
    certificate: forge.pki.certificateToPem(ca),
    issue({ commonName: name = 'one', dnsNames = [], addresses = [], lastsMs = DAY_MS }) {
      const { certificate, key } = newCertificate(name, lastsMs);
      certificate.setIssuer(ca.subject.attributes);
      certificate.setExtensions([
        { name: 'extKeyUsage', serverAuth: true, clientAuth: true },
        ...(dnsNames.length + addresses.length === 0
          ? []
          : [
              {
                name: 'subjectAltName',
                // 2 and 7: DNS name and IP address (RFC 5280, 4.2.1.6).
                altNames: [
                  ...dnsNames.map((value) => ({ type: 2, value })),
                  ...addresses.map((ip) => ({ type: 7, ip })),
                ],
              },
            ]),
      ]);
      certificate.sign(caKey, forge.md.sha256.create());
      return { certificate: forge.pki.certificateToPem(certificate), key };
    },
  };
}

/** A folder in which each text is a file; the paths by name, and a way to write one anew. */
export async function filesOf<Name extends string>(t: Scope, texts: Readonly<Record<Name, string>>) {
  const folder = await temporaryFolder(t);
  const pathOf = (name: string) => path.join(folder, name);
  const write = (name: Name, text: string) => writeFile(pathOf(name), text);
  const names = Object.keys(texts) as Name[];
  await Promise.all(names.map((name) => write(name, texts[name])));
  return { paths: Object.fromEntries(names.map((name) => [name, pathOf(name)])) as Record<Name, string>, write };
}
