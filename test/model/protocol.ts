import { Broken } from './explore.ts';
import { type At, type Openings, type Request, TOPICS } from './opening.ts';
import {
  type Bounds,
  copy,
  type Emitting,
  endTransaction,
  forgetIds,
  type Held,
  initProducerId,
  isBusy,
  type Late,
  type ModelChunk,
  NONE,
  outputOf,
  type Process,
  pgAppend,
  pgOpen,
  pgOwners,
  pgRelease,
  pgSettle,
  processAtStart,
  rowOf,
  same,
  type World,
  worldAtStart,
  write,
  writeMarkers,
} from './world.ts';
import type { Wrong } from './wrong.ts';

type Take = (label: string, work: () => World) => void;

/**
 * Everything that can happen next: what each process does, as the engine does it (engine.ts, journaling.ts, emission.ts;
 * opening is the real one), what Kafka and the group do by themselves, and what goes wrong.
 */
export function createSteps(bounds: Bounds, openings: Openings, wrong: ReadonlySet<Wrong>) {
  const shardCount = bounds.records.length;

  const steps = (world: World, take: Take): void => {
    const change = (label: string, work: (next: World) => void): void =>
      take(label, () => {
        const next = copy(world);
        work(next);
        forgetIds(next);
        return next;
      });
    for (const { id, committing } of world.ids) {
      if (committing !== undefined) change(`markers: of id ${id}`, (next) => writeMarkers(next, id, wrong));
    }
    world.late.forEach((late, i) => {
      change(`late: ${late.kind} arrives`, (next) => {
        next.late.splice(i, 1);
        arrive(next, late);
      });
    });
    if (world.moves > 0) {
      for (let shard = 0; shard < shardCount; shard++) {
        for (let to = 0; to < world.processes.length; to++) {
          if (to === world.owner[shard]) continue;
          change(`move: shard ${shard} is assigned to P${to}`, (next) => {
            next.owner[shard] = to;
            next.moves--;
          });
        }
      }
    }
    world.processes.forEach((process, p) => {
      stepsOf(world, process, p, change);
    });
  };
  const initial = worldAtStart(bounds);
  initial.processes.forEach((_, p) => {
    incarnate(initial, p);
  });
  return { initial, steps };

  function stepsOf(
    world: World,
    process: Process,
    p: number,
    change: (label: string, work: (next: World) => void) => void,
  ): void {
    const act = (kind: string, what: string, work: (next: World, me: Process) => void): void =>
      change(`${kind}: P${p} ${what}`, (next) => work(next, next.processes[p] as Process));

    const isAtWork =
      process.opening !== undefined ||
      process.held.some((held) => held !== undefined) ||
      process.waiting.length > 0 ||
      sentBy(process).length > 0;
    if (world.crashes > 0 && isAtWork) {
      // What it had sent may still arrive, or never.
      for (const late of subsets(sentBy(process))) {
        const still = late.length === 0 ? '' : `, and has sent: ${late.map(({ kind }) => kind).join(', ')}`;
        change(`crash: P${p} dies${still}`, (next) => {
          next.processes[p] = processAtStart(shardCount);
          next.late.push(...late);
          next.crashes--;
          incarnate(next, p);
        });
      }
    }

    // The control loop: one thing at a time.
    const given = assignedTo(world, p);
    if (!equal(given, process.assigned)) {
      act('hear', `learns that it has shards ${given.join(', ') || 'none'}`, (_, me) => {
        me.assigned = given;
        drain(me);
      });
    }
    if (process.opening !== undefined) openingSteps(p, process, process.opening, world, act);
    else if (process.held.some((held) => held?.draining)) {
      process.held.forEach((held, shard) => {
        if (held?.draining) releaseSteps(world, held, shard, act);
      });
    } else {
      const gained = process.assigned.filter((shard) => process.held[shard] === undefined);
      if (gained.length > 0) {
        act('begin', `opens shards ${gained.join(', ')}`, (_, me) => {
          me.opening = { id: me.id, number: openings.begin(gained) };
        });
      }
    }

    // Journaling and emitting go on beside that.
    if (process.append !== undefined) journalAnswers(p, world, process.append, act);
    else journalAsks(process, act);
    if (process.written !== undefined) emissionEnds(p, world, act);
    else if (process.waiting.length > 0 && !isBusy(world, process.id)) {
      act(
        'write',
        `writes ${process.waiting.map(({ shard, number }) => `${shard}/${number}`).join(' ')}`,
        (next, me) => {
          if (write(next, me.id, me.epoch, me.waiting)) {
            me.written = me.waiting;
            me.waiting = [];
          } else unknown(next, p);
        },
      );
    }
  }

  type Act = (kind: string, what: string, work: (next: World, me: Process) => void) => void;

  function openingSteps(
    p: number,
    process: Process,
    opening: NonNullable<Process['opening']>,
    world: World,
    act: Act,
  ): void {
    const stand = openings.stand(opening.number);
    if (stand === undefined) throw new Error('an opening was not learned before its steps were asked for');
    const doomed = opening.id !== process.id;
    const answered = (me: Process, answer: unknown): void => {
      me.opening = { id: opening.id, number: openings.answer(opening.number, answer) };
    };
    switch (stand.kind) {
      case 'asks':
        if (stand.request.kind === 'init' && isBusy(world, stand.request.id ?? opening.id)) return;
        act('opening', `${wordsFor(stand.request)} (id ${opening.id})`, (next, me) =>
          answered(me, carryOut(next, me, opening.id, stand.request)),
        );
        return;
      case 'fails':
        act('opening', `fails: ${stand.error.code}`, (next, me) => {
          if (stand.error.fate === 'stop') throw new Broken(`nothing is wrong, and it stops with ${stand.error.code}`);
          me.opening = undefined;
          if (!doomed) condemn(next, p);
        });
        return;
      case 'owns':
        act('opening', `owns ${stand.shards.map(({ shard }) => shard).join(', ')}`, (_, me) => {
          me.opening = undefined;
          if (doomed) return;
          for (const owned of stand.shards) {
            const { shard, epoch, chunk, applied, committed, unemitted } = owned;
            const behind = applied.some((at, t) => at !== committed[t]);
            const first = unemitted[0];
            const emitted = first !== undefined ? first.chunk - 1 : behind && chunk > 0 ? chunk - 1 : chunk;
            me.held[shard] = { epoch, chunk, emitted, applied, committed, draining: false };
            const again = unemitted.map(
              (row): Emitting => ({ shard, epoch, number: row.chunk, positions: row.positions, outputs: row.outputs }),
            );
            if (behind && chunk > 0) again.push({ shard, epoch, number: chunk, positions: applied, outputs: [] });
            me.waiting = [...me.waiting, ...again];
          }
          drain(me);
        });
        return;
    }
  }

  function carryOut(world: World, me: Process, id: number, request: Request): unknown {
    switch (request.kind) {
      case 'owners':
        return pgOwners(world, request.shards, id);
      case 'open':
        return pgOpen(world, request.shards, id);
      case 'init': {
        const epoch = initProducerId(world, request.id ?? id);
        if (request.id === undefined && me.id === id) me.epoch = epoch;
        return true;
      }
      case 'offsets':
        return [...world.offsets];
      case 'settle':
        return pgSettle(world, request);
      case 'outbox':
        return rowOf(world, request.shard).outbox.filter(({ chunk }) => chunk > request.after);
    }
  }

  function releaseSteps(world: World, held: Held, shard: number, act: Act): void {
    if (held.chunk !== held.emitted) {
      act('give up', `gives shard ${shard} up before it is drained`, (next, me) => {
        if (wrong.has('owner forgotten at an unclean release')) {
          const row = rowOf(next, shard);
          if (row.epoch === held.epoch) row.owners = row.owners.filter((owner) => owner !== me.id);
        }
        me.held[shard] = undefined;
      });
      return;
    }
    act('release', `releases shard ${shard}`, (next, me) => {
      pgRelease(next, shard, held, me.id);
      me.held[shard] = undefined;
    });
    if (world.lost > 0) {
      act('release', `cannot say that it releases shard ${shard}`, (next, me) => {
        me.held[shard] = undefined;
        next.lost--;
      });
    }
  }

  function journalAsks(process: Process, act: Act): void {
    const choices = process.held.map((held, shard) => {
      if (held === undefined || held.draining) return [undefined];
      const next = TOPICS.map((_, t) => Math.max(held.applied[t] as number, 0));
      const ready = TOPICS.map((_, t) => (next[t] as number) < (bounds.records[shard]?.[t] as number));
      const chunks = subsets(TOPICS.flatMap((_, t) => (ready[t] ? [t] : [])))
        .filter((topics) => topics.length > 0)
        .map(
          (topics): ModelChunk => ({
            shard,
            epoch: held.epoch,
            number: held.chunk + 1,
            from: held.applied,
            to: next.map((at, t) => (topics.includes(t) ? at + 1 : at)),
            outputs: topics.map((t) => outputOf(shard, t, next[t] as number)),
            emittedThrough: held.emitted,
          }),
        );
      return [undefined, ...chunks];
    });
    for (const chosen of product(choices)) {
      const chunks = chosen.filter((chunk) => chunk !== undefined);
      if (chunks.length === 0) continue;
      const what = chunks.map(({ shard, number, outputs }) => `${shard}/${number} of ${outputs.length}`).join(' ');
      act('journal', `asks to journal ${what}`, (_, me) => {
        me.append = chunks;
        for (const { shard, number, to } of chunks) {
          const held = heldBy(me, shard);
          held.chunk = number;
          held.applied = to;
        }
      });
    }
  }

  function journalAnswers(p: number, world: World, chunks: readonly ModelChunk[], act: Act): void {
    const answer = (next: World, me: Process): void => {
      const moved = pgAppend(next, chunks, wrong);
      me.append = undefined;
      let fenced = false;
      chunks.forEach(({ shard, epoch, number, to, outputs }, i) => {
        // Dropped meanwhile.
        if (me.held[shard]?.epoch !== epoch) return;
        if (moved[i]) me.waiting = [...me.waiting, { shard, epoch, number, positions: to, outputs }];
        else fenced = true;
      });
      if (fenced) condemn(next, p);
    };
    act('journaled', 'is answered by the journal', answer);
    if (world.lost === 0) return;
    const again = wrong.has('journal asked again after a lost answer');
    act('lost', 'does not hear that the journal has it', (next) => {
      pgAppend(next, chunks, wrong);
      next.lost--;
      if (!again) condemn(next, p);
    });
    if (again) return;
    act('lost', 'gives the journal up before it is asked', (next) => {
      next.late.push({ kind: 'append', chunks });
      next.lost--;
      condemn(next, p);
    });
  }

  function emissionEnds(p: number, world: World, act: Act): void {
    act('end', 'ends its transaction', (next, me) => {
      const content = me.written ?? [];
      if (!endTransaction(next, me.id, me.epoch)) {
        unknown(next, p);
        return;
      }
      if (!bounds.slowMarkers) writeMarkers(next, me.id, wrong);
      me.written = undefined;
      for (const { shard, epoch, number, positions } of content) {
        const held = me.held[shard];
        if (held?.epoch !== epoch) continue;
        held.emitted = Math.max(held.emitted, number);
        held.committed = positions;
      }
    });
    if (world.lost === 0) return;
    act('lost', 'does not hear that its transaction is committed', (next, me) => {
      if (endTransaction(next, me.id, me.epoch) && !bounds.slowMarkers) writeMarkers(next, me.id, wrong);
      next.lost--;
      unknown(next, p);
    });
    act('lost', 'does not reach the broker to end its transaction', (next, me) => {
      next.late.push({ kind: 'end', id: me.id, epoch: me.epoch });
      next.lost--;
      unknown(next, p);
    });
  }

  /** The outcome of a transaction is unknown, or the broker refused it. */
  function unknown(next: World, p: number): void {
    const me = next.processes[p] as Process;
    if (!wrong.has('id kept after an unknown outcome')) {
      condemn(next, p);
      return;
    }
    me.epoch = initProducerId(next, me.id);
    me.waiting = [...(me.written ?? []), ...me.waiting];
    me.written = undefined;
  }

  /** Drops everything in memory, and takes a new id; what the control loop is about, it finishes. */
  function condemn(next: World, p: number): void {
    const { opening } = next.processes[p] as Process;
    next.processes[p] = { ...processAtStart(shardCount), opening };
    incarnate(next, p);
  }

  /** A new id, which nobody else can know yet; and nothing is opened before the group has confirmed the assignment. */
  function incarnate(next: World, p: number): void {
    const me = next.processes[p] as Process;
    me.id = next.nextId++;
    me.assigned = assignedTo(next, p);
    if (!wrong.has('own id initialised after it joined the owners')) me.epoch = initProducerId(next, me.id);
  }

  function arrive(world: World, late: Late): void {
    if (late.kind === 'append') pgAppend(world, late.chunks, wrong);
    else if (endTransaction(world, late.id, late.epoch) && !bounds.slowMarkers) writeMarkers(world, late.id, wrong);
  }
}

/** Nothing can happen any more: every record has its output, once, and journal and group say so. */
export function createAtEnd(bounds: Bounds) {
  return (world: World): void => {
    bounds.records.forEach((records, shard) => {
      const row = rowOf(world, shard);
      const places: readonly (readonly [string, At])[] = [
        ['outputs are committed', world.out[shard] ?? NONE],
        ['the journal has applied', row.applied],
        ['the group has committed', world.offsets[shard] ?? NONE],
      ];
      for (const [what, at] of places) {
        if (same(at, records)) continue;
        throw new Broken(
          `nothing happens any more, and of shard ${shard} ${what} up to ${at} where there are ${records}`,
        );
      }
    });
  };
}

function assignedTo(world: World, p: number): number[] {
  return world.owner.flatMap((owner, shard) => (owner === p ? [shard] : []));
}

function sentBy({ append, written, id, epoch }: Process): Late[] {
  return [
    ...(append === undefined ? [] : [{ kind: 'append', chunks: append } as const]),
    ...(written === undefined ? [] : [{ kind: 'end', id, epoch } as const]),
  ];
}

/** The control loop is free, and sees which shards the process has lost. */
function drain(me: Process): void {
  if (me.opening !== undefined) return;
  me.held.forEach((held, shard) => {
    if (held !== undefined && !me.assigned.includes(shard)) held.draining = true;
  });
}

function heldBy(me: Process, shard: number): Held {
  const held = me.held[shard];
  if (held === undefined) throw new Error(`shard ${shard} is not held`);
  return held;
}

function wordsFor(request: Request): string {
  switch (request.kind) {
    case 'owners':
      return `reads the owners of ${request.shards.join(', ')}`;
    case 'open':
      return `takes the epoch of ${request.shards.join(', ')}`;
    case 'init':
      return request.id === undefined ? 'initialises its own id' : `fences id ${request.id}`;
    case 'offsets':
      return 'reads the offsets';
    case 'settle':
      return `settles shard ${request.shard}`;
    case 'outbox':
      return `reads the outbox of shard ${request.shard}`;
  }
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((n, i) => n === b[i]);
}

function subsets<T>(items: readonly T[]): T[][] {
  return items.reduce<T[][]>((sets, item) => sets.concat(sets.map((set) => [...set, item])), [[]]);
}

function product<T>(choices: readonly (readonly T[])[]): T[][] {
  return choices.reduce<T[][]>((rows, choice) => rows.flatMap((row) => choice.map((item) => [...row, item])), [[]]);
}
