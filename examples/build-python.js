/**
 * Builds what the Python function in the current folder needs, and prints the folder where it is:
 *
 *     node ../build-python.js cloudstate
 *
 * `venv/` has the packages of `requirements.txt`, `generated/` the modules made of `proto/`. The SDKs in Python ship no
 * .proto files; those that the function's own import are taken from the npm package that is named, the SDK in JavaScript
 * of the same protocol.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { cachedBuild, run } from './cached-build.js';

const sdk = process.argv[2];
if (sdk === undefined) throw new Error('usage: node build-python.js NPM_PACKAGE, in the folder of the function');

const folder = cachedBuild({
  sources: ['requirements.txt', 'proto', '../build-python.js'],
  tool: execFileSync('python3', ['-VV'], { encoding: 'utf8' }),
  build(target) {
    const python = path.join(target, 'venv/bin/python');
    const generated = path.join(target, 'generated');
    const contracts = path.join(path.dirname(createRequire(import.meta.url).resolve(`${sdk}/package.json`)), 'proto');
    run('python3', ['-m', 'venv', path.join(target, 'venv')]);
    // Without the dependencies that the packages name: of protobuf and grpcio they would bring versions that the SDKs of
    // that time cannot work with.
    const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps'];
    run(python, [...pip, '-r', 'requirements.txt']);
    mkdirSync(generated);
    const protos = readdirSync('proto').map((name) => path.join('proto', name));
    run(python, ['-m', 'grpc_tools.protoc', '-I', 'proto', '-I', contracts, `--python_out=${generated}`, ...protos]);
    for (const name of readdirSync(generated)) {
      const module = path.join(generated, name);
      // The Akka Serverless SDK has the modules of its .proto files one package deeper than these say.
      const text = readFileSync(module, 'utf8').replace(
        /^from akkaserverless import/gm,
        'from akkaserverless.akkaserverless import',
      );
      writeFileSync(module, text);
    }
  },
});
process.stdout.write(folder);
