/**
 * Builds the Java function in the current folder with Maven, and prints the folder where it is:
 *
 *     node ../build-java.js
 *
 * `classes/` has what was compiled from `src/`, `lib/` the jars that `pom.xml` names and all that they need.
 */
import { execFileSync } from 'node:child_process';
import { cpSync, renameSync, rmSync } from 'node:fs';
import path from 'node:path';
import { cachedBuild, run } from './cached-build.js';

const folder = cachedBuild({
  sources: ['pom.xml', 'src'],
  tool: execFileSync('javac', ['-version'], { encoding: 'utf8' }),
  build(target) {
    // Maven writes beside the sources, and the generator of Kalix into them.
    const project = path.join(target, 'project');
    for (const name of ['pom.xml', 'src']) cpSync(name, path.join(project, name), { recursive: true });
    const jars = `-DoutputDirectory=${path.join(target, 'lib')}`;
    run('mvn', ['-q', '-B', 'compile', 'dependency:copy-dependencies', '-DincludeScope=runtime', jars], project);
    renameSync(path.join(project, 'target/classes'), path.join(target, 'classes'));
    rmSync(project, { recursive: true });
  },
});
process.stdout.write(folder);
