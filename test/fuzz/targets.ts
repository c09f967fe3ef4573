import type { FuzzTarget } from './target.ts';
import { cloudevents } from './targets/cloudevents.ts';
import { codecs } from './targets/codecs.ts';
import { commands } from './targets/commands.ts';
import { config } from './targets/config.ts';
import { descriptors } from './targets/descriptors.ts';
import { grpcWeb } from './targets/grpc-web.ts';
import { headers } from './targets/headers.ts';
import { http } from './targets/http.ts';
import { http2 } from './targets/http2.ts';
import { journal } from './targets/journal.ts';
import { letters } from './targets/letters.ts';
import { pathTemplates } from './targets/path-templates.ts';
import { records } from './targets/records.ts';
import { registry, schemas } from './targets/registry.ts';
import { replies } from './targets/replies.ts';

/** What is fuzzed, by name; a parser of foreign bytes that is new belongs here. */
export const targets: Readonly<Record<string, () => FuzzTarget | Promise<FuzzTarget>>> = {
  records,
  cloudevents,
  codecs,
  commands,
  journal,
  letters,
  registry,
  schemas,
  replies,
  descriptors,
  http,
  http2,
  'path-templates': pathTemplates,
  'grpc-web': grpcWeb,
  headers,
  config,
};

export const TARGET_NAMES: readonly string[] = Object.keys(targets);
