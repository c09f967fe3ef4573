import type { WireDialect } from '../../src/protocol/wire.ts';
import { compileProtos } from '../support/compile-protos.ts';
import type { Plain } from '../support/raw-function.ts';
import type { Scope } from '../support/scope.ts';
import {
  replyWith,
  type ScriptedCommand,
  type ScriptedEntity,
  type ScriptedFunction,
  startScriptedFunction,
} from '../support/scripted-function.ts';

const PROTO = `
syntax = "proto3";
package tally;
import "cloudstate-first/entity_key.proto";

// One counter an entity, whose value is the answer.
service TallyService {
  rpc Add(Order) returns (Count);
  rpc AddLate(Order) returns (Count);
  rpc AddThenFail(Order) returns (Count);
  rpc Get(Order) returns (Count);
  rpc Delete(Order) returns (Count);
  rpc Watch(Order) returns (stream Count);
}

message Order {
  string id = 1 [(cloudstate.entity_key) = true];
  sint32 amount = 2;
}
message Count { sint32 value = 1; }
`;

export const TALLY_DESCRIPTOR: Uint8Array = compileProtos({ 'tally.proto': PROTO });
export const TALLY = 'tally.TallyService';

export const DIALECTS: readonly WireDialect[] = ['cloudstate-first', 'cloudstate', 'akkaserverless', 'kalix'];

/** What the function believes of an entity, as it does in its stream. */
export interface Tally {
  readonly entity: ScriptedEntity;
  value: number;
  exists: boolean;
  /** Command ids of those who watch. */
  readonly watchers: Set<number>;
}

export interface TallyFunction extends ScriptedFunction {
  /** The newest stream of the entity. */
  tally(id: string): Tally;
}

/** What a script may do otherwise than the function does by itself. */
export interface TallyScript {
  readonly onCommand?: (command: ScriptedCommand, tally: Tally, fn: TallyFunction) => Plain | 'as ever' | undefined;
  readonly onCancelled?: (id: number, tally: Tally) => Plain | undefined;
}

/** A function of any dialect with one kind of replicated entity: a counter. What a watcher gets, it gets before the reply. */
export async function startTally(t: Scope, dialect: WireDialect, script: TallyScript = {}): Promise<TallyFunction> {
  const isFirst = dialect === 'cloudstate-first';
  const member = dialect.startsWith('cloudstate') ? 'pncounter' : 'counter';
  const tallies = new Map<ScriptedEntity, Tally>();

  const tallyOf = (entity: ScriptedEntity): Tally => {
    let tally = tallies.get(entity);
    if (tally === undefined) {
      const given = (isFirst ? entity.init.state : entity.init.delta) as Plain | null;
      const counter = given?.[member] as { change?: number; value?: number } | undefined;
      tally = {
        entity,
        value: (isFirst ? counter?.value : counter?.change) ?? 0,
        exists: given != null,
        watchers: new Set(),
      };
      tallies.set(entity, tally);
    }
    return tally;
  };
  const count = (value: number) => fn.pack('tally.Count', { value });

  const onCommand = (command: ScriptedCommand, entity: ScriptedEntity): Plain | undefined => {
    const tally = tallyOf(entity);
    const own = script.onCommand?.(command, tally, fn);
    if (own !== 'as ever' && script.onCommand !== undefined) return own;
    const told = () => ({ reply: { command_id: command.id, ...replyWith(count(tally.value)) } });
    const answer = (more: Plain) => ({ reply: { ...told().reply, ...more } });
    const amount = Number(command.input.amount);
    switch (command.name) {
      case 'Add':
      case 'AddThenFail': {
        if (command.name === 'AddThenFail') {
          return { reply: { command_id: command.id, client_action: { failure: { description: 'as told' } } } };
        }
        tally.value += amount;
        const isNew = isFirst && !tally.exists;
        tally.exists = true;
        for (const id of tally.watchers) {
          entity.send({ streamed_message: { command_id: id, ...replyWith(count(tally.value)) } });
        }
        return answer({
          state_action: isNew
            ? { create: { [member]: { value: amount } } }
            : { update: { [member]: { change: amount } } },
        });
      }
      case 'Delete':
        tally.value = 0;
        return answer({ state_action: { delete: {} } });
      case 'Watch':
        if (command.streamed) tally.watchers.add(command.id);
        return answer({ streamed: command.streamed });
      default:
        return told();
    }
  };

  const fn: TallyFunction = Object.assign(
    await startScriptedFunction(t, {
      dialect,
      descriptor: TALLY_DESCRIPTOR,
      components: [{ kind: 'replicated', service: TALLY, entityType: 'tallies' }],
      onCommand,
      onOther(message, entity) {
        const cancelled = message.stream_cancelled as { id?: number } | null | undefined;
        if (cancelled == null) return;
        const tally = tallyOf(entity);
        tally.watchers.delete(cancelled.id ?? 0);
        const answer = script.onCancelled?.(cancelled.id ?? 0, tally);
        if (answer !== undefined) entity.send(answer);
      },
    }),
    {
      tally(id: string): Tally {
        const entity = fn.entities.findLast((one) => one.id === id);
        if (entity === undefined) throw new Error(`there is no stream of ${id}`);
        return tallyOf(entity);
      },
    },
  );
  return fn;
}
