import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, type TestContext } from 'vitest';
import type { ReprocessRequest } from '../../src/cli/context.ts';
import { reprocess } from '../../src/commands/reprocess.ts';
import { loadConfig } from '../../src/config/load.ts';
import { freePorts } from '../../src/local/ports.ts';

/** Neither a broker nor a Postgres is there: it must not come so far. */
const { config } = loadConfig({
  argvFlags: {},
  env: { KAFKA_BROKERS: '127.0.0.1:1', DATABASE_URL: 'postgres://127.0.0.1:1/x' },
  cwd: '/',
});
const silent = { write: () => undefined };
const io = { signal: new AbortController().signal, out: silent, err: silent };

function start(functionUrl: string): Promise<number> {
  const request: Extract<ReprocessRequest, { kind: 'start' }> = {
    kind: 'start',
    name: 'g2',
    functionUrl,
    mode: 'isolated',
    from: 'beginning',
    state: undefined,
    components: undefined,
    perSecond: undefined,
    follow: false,
  };
  return reprocess(config, request, io);
}

async function webServer(t: TestContext): Promise<string> {
  const server = createServer((_, response) => response.end('hello'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

it('a generation is not begun where no function answers', async () => {
  const [port] = await freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  await expect(start(url)).rejects.toMatchObject({
    code: 'FUNCTION_UNAVAILABLE',
    message: expect.stringContaining(`no function answers at ${url}: `),
  });
});

it('a generation is not begun where something else than a function answers', async (t) => {
  const url = await webServer(t);
  await expect(start(url)).rejects.toMatchObject({
    code: 'FUNCTION_UNAVAILABLE',
    message: expect.stringMatching(/no function answers at .*: it answers in HTTP\/1, and not in HTTP\/2/),
  });
});
