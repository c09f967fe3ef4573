import {
  type ControlWrites,
  comparePlaces,
  type EntityControl,
  type LoadedControl,
  type ParkedCommand,
  type Place,
} from '../model/control.ts';
import type { EntityKey } from '../model/entity.ts';
import type { OutputRecord } from '../model/record.ts';
import type { Item } from './item.ts';

/** How long a shard's input topics may be held back so that an entity's last parked command overtakes what is new. */
const GATE_MS = 3_000;

/**
 * - paused: its commands are parked;
 * - resuming: parked commands are put back onto the command topic, a batch at a time; what was put back is carried out
 *   as it comes back, and everything else is parked behind;
 * - ending: nothing is parked any more, and the last that was put back has arrived: commands go their usual way behind it.
 */
type ControlState = 'paused' | 'resuming' | 'ending';

interface Controlled {
  readonly key: EntityKey;
  state: ControlState;
  reason: string;
  by: string;
  since: number;
  /** Parked commands: in the journal, or decided to go there. */
  parked: number;
  /** The last of the batch that was put back, until it is in a chunk once more. */
  released: Place | undefined;
  /** A command of that batch was parked again, so the rest of the batch must be, too: it keeps its order. */
  disturbed: boolean;
  /** Until then the input topics wait, so that the batch is the last one; performance.now(). */
  gateUntil: number;
  /** Somebody reads its parked commands from the journal. */
  reading: boolean;
  /** Parked commands that leave with the next chunk. */
  leaving: Leaving | undefined;
  /** Its parked commands may be read when this chunk is in the journal. */
  readableAfter: number;
}

interface Leaving {
  readonly places: readonly Place[];
  readonly outputs: readonly OutputRecord[];
  /** Put back in order; otherwise they are given up. */
  readonly putBack: boolean;
}

/**
 * What operators and failure policies have made of a shard's entities: which are paused, which commands of theirs are
 * parked and in which order they go on. Knows no I/O: the shard's chunks carry its changes (`take`), so that what is
 * journaled of it is journaled with the epoch and the positions checked, once.
 *
 * The order of an entity's commands is that of their places. One batch at a time is put back; nothing more is until its
 * last command is in a chunk, so whatever is parked again meanwhile stands in the journal, at its old place, before
 * anything is read from there.
 */
export class ShardControl {
  readonly #entities = new Map<string, Controlled>();
  /** Those of which something has to be done or journaled; the others cost nothing. */
  readonly #moving = new Set<Controlled>();
  readonly #dirty = new Set<Controlled>();
  /** The last of a batch, by its place, from its leaving until it is in a chunk once more. */
  readonly #awaited = new Map<string, Controlled>();
  /** The last of a batch, on its way through the window. */
  readonly #last = new Map<Item, Controlled>();
  /** Operations that were taken up, done or not. */
  readonly #known = new Set<number>();
  #done: { id: number; outcome: string }[] = [];
  #outputs: OutputRecord[] = [];
  #journaled: number;

  /** `chunk`: number of the last chunk in the journal. */
  constructor(chunk: number, loaded: readonly LoadedControl[] = []) {
    this.#journaled = chunk;
    for (const { key, state, reason, by, since, released, parked, first } of loaded) {
      const control: Controlled = {
        key,
        state,
        reason,
        by,
        since,
        parked,
        released,
        // What was put back left the journal, all before `released`; what is there again was parked again.
        disturbed: released !== undefined && first !== undefined && comparePlaces(first, released) <= 0,
        gateUntil: 0,
        reading: false,
        leaving: undefined,
        readableAfter: chunk,
      };
      this.#entities.set(idOf(key), control);
      this.#release(control, released);
      if (state !== 'paused') this.#moving.add(control);
    }
  }

  /** Entities whose commands do not go their usual way. */
  get controlled(): number {
    return this.#entities.size;
  }

  isPaused(key: EntityKey): boolean {
    return this.#entities.get(idOf(key))?.state === 'paused';
  }

  /** Commands of it that are parked, or are about to be. */
  parkedOf(key: EntityKey): number {
    return this.#entities.get(idOf(key))?.parked ?? 0;
  }

  /**
   * A record has arrived that was put back. Call it before anything else is done with it, whatever it is by now: a
   * function that came back as another one may have no method for it any more.
   */
  comesBack(item: Item): void {
    const control = item.place && this.#awaited.get(placeKey(item.place));
    if (control === undefined) return;
    this.#last.set(item, control);
    if (control.state === 'resuming' && !control.disturbed && control.parked === 0) control.state = 'ending';
  }

  /** A command has arrived: whether it goes to its entity, or has to be parked (`park`). */
  arrives(item: Item, key: EntityKey): 'go' | 'park' {
    if (this.#entities.size === 0) return 'go';
    const control = this.#entities.get(idOf(key));
    if (control === undefined || control.state === 'ending') return 'go';
    const isNext = control.state === 'resuming' && !control.disturbed && isOfBatch(control, item.place);
    return isNext ? 'go' : 'park';
  }

  /** The command is decided to be parked. Answers its place, if it has been parked before and keeps it. */
  park(item: Item, key: EntityKey): Place | undefined {
    const control = this.#entities.get(idOf(key));
    if (control === undefined) throw new Error('a command was parked whose entity is not paused');
    control.parked++;
    if (!isOfBatch(control, item.place)) return undefined;
    control.disturbed = true;
    return item.place;
  }

  /** From now on the entity's commands are parked. False: they were already. */
  pause(key: EntityKey, why: { reason: string; by: string }): boolean {
    const known = this.#entities.get(idOf(key));
    if (known?.state === 'paused') return false;
    const control: Controlled = known ?? {
      key,
      state: 'paused',
      reason: '',
      by: '',
      since: 0,
      parked: 0,
      released: undefined,
      disturbed: false,
      gateUntil: 0,
      reading: false,
      leaving: undefined,
      readableAfter: this.#journaled,
    };
    control.state = 'paused';
    control.reason = why.reason;
    control.by = why.by;
    control.since = Date.now();
    if (control.leaving?.putBack === true) control.leaving = undefined;
    this.#entities.set(idOf(key), control);
    this.#touch(control);
    return true;
  }

  /** From now on its parked commands are put back. False: it is not paused. */
  resume(key: EntityKey, why: { reason: string; by: string }): boolean {
    const control = this.#entities.get(idOf(key));
    if (control?.state !== 'paused') return false;
    control.state = 'resuming';
    control.reason = why.reason;
    control.by = why.by;
    control.since = Date.now();
    this.#touch(control);
    return true;
  }

  /** Whether the operation has not been taken up yet. */
  isNew(operation: number): boolean {
    return !this.#known.has(operation);
  }

  /** The operation is done, and `outputs` are what it publishes: both are journaled with the next chunk. */
  finish(operation: number, outcome: string, outputs: readonly OutputRecord[] = []): void {
    this.#known.add(operation);
    this.#done.push({ id: operation, outcome });
    for (const output of outputs) this.#outputs.push(output);
  }

  /** Entities whose next parked commands are to be read and handed to `putBack`. They count as being read from here on. */
  toPutBack(): EntityKey[] {
    const keys: EntityKey[] = [];
    for (const control of this.#moving) {
      if (control.state !== 'resuming' || control.released !== undefined || !this.#isReadable(control)) continue;
      if (control.parked === 0) {
        control.state = 'ending';
        this.#touch(control);
      } else {
        control.reading = true;
        keys.push(control.key);
      }
    }
    return keys;
  }

  /** Parked commands of the entity, as they stand first in the journal: they leave with the next chunk. */
  putBack(key: EntityKey, places: readonly Place[], outputs: readonly OutputRecord[]): void {
    const control = this.#entities.get(idOf(key));
    if (control === undefined) return;
    control.reading = false;
    if (control.state !== 'resuming' || places.length === 0) return;
    control.leaving = { places, outputs, putBack: true };
    this.#touch(control);
  }

  /** Whether the first parked command of a paused entity may be read and given up (`giveUp`); it then counts as read. */
  startGivingUp(key: EntityKey): boolean {
    const control = this.#entities.get(idOf(key));
    if (control?.state !== 'paused' || control.released !== undefined || !this.#isReadable(control)) return false;
    control.reading = true;
    return true;
  }

  /** The first parked command is given up: `outputs` are published for it, with the next chunk. Undefined: there was none. */
  giveUp(
    key: EntityKey,
    given: { readonly place: Place; readonly outputs: readonly OutputRecord[] } | undefined,
  ): void {
    const control = this.#entities.get(idOf(key));
    if (control === undefined) return;
    control.reading = false;
    if (given === undefined) return;
    control.leaving = { places: [given.place], outputs: given.outputs, putBack: false };
    this.#touch(control);
  }

  /** What was put back and has not arrived is lost: the command topic's retention has removed it. */
  forgetReleased(): void {
    for (const control of this.#entities.values()) {
      if (control.released === undefined) continue;
      this.#release(control, undefined);
      control.disturbed = false;
      this.#touch(control);
    }
  }

  /** Something waits for a chunk to be journaled with. */
  wantsChunk(): boolean {
    if (this.#dirty.size > 0 || this.#done.length > 0 || this.#outputs.length > 0) return true;
    for (const control of this.#moving) if (control.leaving !== undefined) return true;
    return false;
  }

  /** The input topics are to wait, so that the last of a batch arrives before new commands of its entity do. */
  isGated(now: number): boolean {
    for (const control of this.#moving) {
      const last = control.state === 'resuming' && control.released !== undefined && control.parked === 0;
      if (last && !control.disturbed && now < control.gateUntil) return true;
    }
    return false;
  }

  /** What the chunk of these items writes and publishes besides them; undefined: nothing. */
  take(chunk: number, items: readonly Item[]): { writes: ControlWrites; outputs: readonly OutputRecord[] } | undefined {
    if (this.#entities.size === 0 && this.#done.length === 0 && this.#outputs.length === 0) return undefined;
    const parked: ParkedCommand[] = [];
    for (const item of items) {
      const park = item.decision?.park;
      if (park !== undefined) {
        const { place = { chunk, ordinal: parked.length }, ...command } = park;
        parked.push({ ...command, place });
      }
      const control = this.#last.size === 0 ? undefined : this.#last.get(item);
      if (control !== undefined) {
        this.#last.delete(item);
        this.#release(control, undefined);
        control.disturbed = false;
        control.readableAfter = chunk;
        this.#touch(control);
      }
    }
    const outputs = this.#outputs;
    const unparked: Place[] = [];
    for (const control of this.#moving) {
      const { leaving } = control;
      if (leaving === undefined) continue;
      control.leaving = undefined;
      control.parked -= leaving.places.length;
      control.readableAfter = chunk;
      for (const place of leaving.places) unparked.push(place);
      for (const output of leaving.outputs) outputs.push(output);
      if (leaving.putBack) {
        this.#release(control, leaving.places.at(-1));
        control.gateUntil = performance.now() + GATE_MS;
        this.#dirty.add(control);
      }
    }
    const controls: EntityControl[] = [];
    const freed: EntityKey[] = [];
    for (const control of this.#dirty) {
      const { key, state, reason, by, since, released } = control;
      if (state === 'paused' || state === 'resuming') controls.push({ key, state, reason, by, since, released });
      else if (released !== undefined) controls.push({ key, state: 'resuming', reason, by, since, released });
      else {
        freed.push(key);
        this.#entities.delete(idOf(key));
      }
      if (state === 'paused' || !this.#entities.has(idOf(key))) this.#moving.delete(control);
    }
    const done = this.#done;
    this.#dirty.clear();
    this.#done = [];
    this.#outputs = [];
    const writes = parked.length + unparked.length + controls.length + freed.length + done.length;
    if (writes + outputs.length === 0) return undefined;
    return { writes: { parked, unparked, controls, freed, done }, outputs };
  }

  /** The journal has the chunk. */
  journaled(chunk: number): void {
    this.#journaled = chunk;
  }

  #isReadable(control: Controlled): boolean {
    return !control.reading && control.leaving === undefined && control.readableAfter <= this.#journaled;
  }

  #release(control: Controlled, place: Place | undefined): void {
    if (control.released !== undefined) this.#awaited.delete(placeKey(control.released));
    control.released = place;
    if (place !== undefined) this.#awaited.set(placeKey(place), control);
  }

  #touch(control: Controlled): void {
    this.#dirty.add(control);
    this.#moving.add(control);
  }
}

/** Whether the place is in the batch that was put back last, and of which not all has come back. */
function isOfBatch({ released }: Controlled, place: Place | undefined): boolean {
  return place !== undefined && released !== undefined && comparePlaces(place, released) <= 0;
}

function placeKey({ chunk, ordinal }: Place): string {
  return `${chunk}/${ordinal}`;
}

function idOf({ entityType, entityId }: EntityKey): string {
  return `${entityType}\0${entityId}`;
}
