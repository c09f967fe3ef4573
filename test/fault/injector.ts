import { setTimeout as delay } from 'node:timers/promises';
import { runs } from '../support/processes.ts';
import { withAdminOf } from './client.ts';
import type { Cluster } from './cluster.ts';
import type { FunctionNodes } from './functions.ts';
import { type Fault, LOSABLE, type Planned } from './plan.ts';
import type { Promoter } from './promoter.ts';
import type { TcpProxy } from './proxy.ts';
import type { Replayer } from './replayer.ts';
import type { Slots } from './slots.ts';
import { createTroubles } from './troubles.ts';

/** All that faults are done to. */
export interface Targets {
  readonly cluster: Cluster;
  readonly functions: FunctionNodes;
  /** By slot. */
  readonly functionProxies: readonly TcpProxy[];
  readonly slots: Slots;
  readonly promoter: Promoter;
  readonly replayer: Replayer;
  readonly groupId: string;
  /** Engines that there are without a fault. */
  readonly engines: number;
  /** What an input topic is given when it gets more partitions. */
  readonly morePartitions: { readonly topic: string; readonly count: number };
  /** Nobody owns a shard: what the consumer group knows, the journal knows too. */
  readonly isReleased: () => Promise<boolean>;
  readonly log: (line: string) => void;
}

export interface Injector {
  /** Begins a fault; resolves to what ends it. */
  inject(planned: Planned): Promise<() => Promise<void>>;
  /** Ends everything that is left of any fault. */
  healAll(): Promise<void>;
  /** Faults that were done, by kind. */
  readonly done: ReadonlyMap<string, number>;
}

/** A file of Postgres may not grow beyond this while its disk is full: less than one segment of its log. */
const FULL_DISK_BYTES = 65_536;
const ROLL_READY_MS = 20_000;

const nothing = async (): Promise<void> => undefined;

export function createInjector(targets: Targets): Injector {
  const { cluster, functions, functionProxies, slots } = targets;
  const troubles = createTroubles();
  const done = new Map<string, number>();
  const paused = new Set<number>();

  function count(name: string): void {
    done.set(name, (done.get(name) ?? 0) + 1);
  }

  /** Postgres and brokers that are dead or stand are up again. */
  async function revive(node: Cluster['brokers'][number]): Promise<void> {
    if (runs(node.pid)) await node.thaw();
    else await node.restart();
  }

  async function begin(fault: Fault, forMs: number): Promise<() => Promise<void>> {
    switch (fault.kind) {
      case 'kill-engine': {
        slots.hold(fault.slot, true);
        slots.engines[fault.slot]?.kill('SIGKILL');
        return async () => slots.hold(fault.slot, false);
      }
      case 'kill-engine-at':
      case 'stop-engine-at': {
        const engine = slots.engines[fault.slot];
        const { point, nth } = fault as { point: Parameters<NonNullable<typeof engine>['reached']>[0]; nth: number };
        const signal = fault.kind === 'kill-engine-at' ? 'SIGKILL' : 'SIGSTOP';
        engine?.arm({ point, nth, signal });
        if (signal === 'SIGSTOP') {
          // It stands for as long as planned from when it got there.
          void engine?.reached(point).then(
            async () => {
              await delay(forMs);
              engine.kill('SIGCONT');
            },
            () => undefined,
          );
        }
        return nothing;
      }
      case 'restart-engine':
        await slots.restart(fault.slot);
        return nothing;
      case 'roll-engines': {
        for (let slot = 0; slot < targets.engines; slot++) {
          await slots.restart(slot);
          const giveUp = Date.now() + ROLL_READY_MS;
          while (Date.now() < giveUp && !(await slots.ready())) await delay(100);
        }
        return nothing;
      }
      case 'scale':
        await slots.scale(fault.engines);
        return () => slots.scale(targets.engines);
      case 'pause-engine': {
        const engine = slots.engines[fault.slot];
        engine?.kill('SIGSTOP');
        return async () => engine?.kill('SIGCONT');
      }
      case 'clock': {
        const engine = slots.engines[fault.slot];
        engine?.moveClock(fault.byMs);
        return async () => engine?.moveClock(-fault.byMs);
      }
      case 'kill-function':
        functions.kill(fault.fn, 'SIGKILL');
        return () => functions.revive(fault.fn);
      case 'pause-function':
        functions.kill(fault.fn, 'SIGSTOP');
        return () => functions.revive(fault.fn);
      case 'other-function':
        await functions.exchange(fault.fn);
        return nothing;
      case 'kill-broker': {
        const broker = brokerOf(fault.broker);
        broker.kill('SIGKILL');
        return () => broker.restart();
      }
      case 'restart-broker': {
        const broker = brokerOf(fault.broker);
        await revive(broker);
        await broker.restart();
        return nothing;
      }
      case 'pause-broker': {
        const broker = brokerOf(fault.broker);
        await broker.freeze();
        paused.add(fault.broker);
        return async () => {
          paused.delete(fault.broker);
          await revive(broker);
        };
      }
      case 'kill-postgres':
        cluster.postgres.kill('SIGKILL');
        return () => cluster.postgres.restart();
      case 'restart-postgres':
        await cluster.postgres.thaw();
        await cluster.postgres.restart();
        return nothing;
      case 'pause-postgres':
        await cluster.postgres.freeze();
        return () => revive(cluster.postgres);
      case 'fill-disk':
        await cluster.postgres.limitFileSize(FULL_DISK_BYTES);
        return async () => {
          await cluster.postgres.limitFileSize('unlimited');
          await revive(cluster.postgres);
        };
      case 'link': {
        const proxies =
          fault.link === 'kafka'
            ? (cluster.kafkaProxies[fault.slot] ?? []).map(({ proxy }) => proxy)
            : [
                (fault.link === 'postgres'
                  ? cluster.postgresProxies[fault.slot]?.proxy
                  : functionProxies[fault.slot]) as TcpProxy,
              ];
        const end = troubles.begin(proxies, fault.trouble);
        return async () => end();
      }
      case 'lose-answer': {
        const row = cluster.kafkaProxies[fault.slot] ?? [];
        for (const { losses } of row) losses.pending = { apiKey: LOSABLE[fault.request], after: fault.after };
        return async () => {
          for (const { losses } of row) losses.pending = undefined;
        };
      }
      case 'lose-append': {
        const losses = cluster.postgresProxies[fault.slot]?.losses;
        if (losses !== undefined) losses.pending = 'append';
        return async () => {
          if (losses !== undefined) losses.pending = undefined;
        };
      }
      case 'promote':
        targets.promoter.begin(fault.killedAfterMs);
        return nothing;
      case 'replay':
        targets.replayer.begin(fault.killedAfterMs);
        return nothing;
      case 'delete-group': {
        await slots.stopAll();
        if (await targets.isReleased()) {
          await withAdminOf(cluster.direct.brokers, (admin) => admin.deleteGroups([targets.groupId]));
        } else {
          // An engine died before: the journal says that, and only the group says how far it came.
          count('delete-group (not done: a shard was not released)');
        }
        await slots.scale(targets.engines);
        return nothing;
      }
      case 'add-partitions': {
        const { topic, count } = targets.morePartitions;
        slots.expectEnd(/^TOPIC_PARTITIONS/);
        await withAdminOf(cluster.direct.brokers, (admin) =>
          admin.createPartitions({ topicPartitions: [{ topic, count }] }),
        );
        return nothing;
      }
    }
  }

  function brokerOf(n: number) {
    const broker = cluster.brokers[n];
    if (broker === undefined) throw new RangeError(`there is no broker ${n}`);
    return broker;
  }

  return {
    done,
    async inject({ fault, forMs }) {
      count(nameOf(fault));
      return begin(fault, forMs);
    },
    async healAll() {
      troubles.clear();
      for (const row of cluster.kafkaProxies) for (const { losses } of row) losses.pending = undefined;
      for (const { losses } of cluster.postgresProxies) losses.pending = undefined;
      for (const [slot, engine] of slots.engines.entries()) {
        slots.hold(slot, false);
        engine?.kill('SIGCONT');
      }
      await cluster.postgres.limitFileSize('unlimited');
      await Promise.all([
        revive(cluster.postgres),
        ...cluster.brokers.map(revive),
        ...functions.ports.map((_, fn) => functions.revive(fn)),
      ]);
      await slots.scale(targets.engines);
    },
  };
}

function nameOf(fault: Fault): string {
  switch (fault.kind) {
    case 'link':
      return `link ${fault.link} ${fault.trouble}`;
    case 'lose-answer':
      return `lose-answer ${fault.request}`;
    default:
      return fault.kind;
  }
}
