import { spawn } from 'node:child_process';
import type { Socket } from 'node:net';

/**
 * Runs in a session of its own and reads one order a line. The end of its input means that our process is gone, however
 * it ended (SIGKILL included): then everything still held is ended, politely for up to 15 s, and the folders removed.
 */
const SCRIPT = `
held=
folders=
newline='
'
while IFS= read -r line; do
  rest=\${line#* }
  case $line in
    'hold '*) held="$held $rest" ;;
    'drop '*)
      kept=
      for each in $held; do [ "\${each%:*}" = "$rest" ] || kept="$kept $each"; done
      held=$kept
      ;;
    'remove '*) folders="$folders$rest$newline" ;;
  esac
done
for each in $held; do kill -s "\${each#*:}" -- "\${each%:*}" 2>/dev/null; done
tries=0
while [ $tries -lt 150 ]; do
  alive=
  for each in $held; do kill -s 0 -- "\${each%:*}" 2>/dev/null && alive=yes; done
  [ -n "$alive" ] || break
  tries=$((tries + 1))
  sleep 0.1
done
for each in $held; do kill -s KILL -- "\${each%:*}" 2>/dev/null; done
printf %s "$folders" | while IFS= read -r folder; do rm -rf -- "$folder"; done
`;

/** Ends what we started when we cannot do it ourselves any more. */
export interface Guard {
  /** From now on, if our process dies, `pid` (negative: the process group) gets `signal`, and SIGKILL 15 s later. */
  hold(pid: number, signal: NodeJS.Signals): void;
  /** `pid` has ended: its number may soon be somebody else's. */
  drop(pid: number): void;
  /** If our process dies, the folder is removed after the held processes have ended. */
  remove(folder: string): void;
  /** Ends the guard without any of that. */
  close(): Promise<void>;
}

/** Starts a guard: one small shell process that outlives us for as long as it takes to clean up. */
export function startGuard(options: { log: (line: string) => void }): Guard {
  const shell = spawn('/bin/sh', ['-c', SCRIPT], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  let closing = false;
  const ended = new Promise<void>((resolve) => {
    shell.once('exit', resolve);
    shell.once('error', () => resolve());
  }).then(() => {
    if (!closing) options.log('the guard of the local stack ended: kill this process and its servers may stay behind');
  });
  // An order that finds no reader: `ended` has already told of it.
  shell.stdin.on('error', () => undefined);
  shell.unref();
  (shell.stdin as Socket).unref();

  const order = (line: string): void => {
    if (shell.stdin.writable) shell.stdin.write(`${line}\n`);
  };
  return {
    hold: (pid, signal) => order(`hold ${pid}:${signal.slice('SIG'.length)}`),
    drop: (pid) => order(`drop ${pid}`),
    remove: (folder) => order(`remove ${folder}`),
    async close() {
      closing = true;
      shell.ref();
      shell.kill('SIGKILL');
      await ended;
    },
  };
}
