import { z } from 'zod';

/** Of the format that docs/export.md describes. */
export const FORMAT_VERSION = 1;

/** What an archive is of; in the folder, under one of the two names below. */
const About = z.object({
  format: z.literal('stateferry journal'),
  version: z.literal(FORMAT_VERSION),
  /** A name of its own for each archive, so that files of two are not mixed up. */
  id: z.string(),
  deployment: z.object({
    name: z.string(),
    shards: z.int(),
    liveGeneration: z.int(),
    /** As Postgres writes it. */
    createdAt: z.string(),
  }),
  /** Names of the migrations of the journal. */
  migrations: z.array(z.string()),
});

const section = z.object({
  table: z.string(),
  generation: z.int().optional(),
  entityType: z.string().optional(),
});

/** The plan of an archive that is being made: `unfinished.json`. */
export const Unfinished = About.extend({
  /** Of the journal's state: it has to be the same when the archive is gone on with. */
  fingerprint: z.string(),
  files: z.array(z.object({ name: z.string(), sections: z.array(section) })),
});
export type Unfinished = z.infer<typeof Unfinished>;

/** What a whole archive has: `manifest.json`, written last. */
export const Manifest = About.extend({
  finishedAt: z.string(),
  files: z.array(
    z.object({
      name: z.string(),
      bytes: z.int(),
      blocks: z.int(),
      rows: z.int(),
      /** Of the whole file, in hexadecimal. */
      sha256: z.string(),
    }),
  ),
});
export type Manifest = z.infer<typeof Manifest>;

export const UNFINISHED_FILE = 'unfinished.json';
export const MANIFEST_FILE = 'manifest.json';
