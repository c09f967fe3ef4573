import protobuf from 'protobufjs';
import { answerTo, EMPTY, failure, messagesOf, serve } from '../last-cloudstate.js';

// What each method does stands in proto/board.proto.
const { pack, unpack, reply } = messagesOf(import.meta.dirname, 'board.proto');

/** Elements and keys are primitives. */
const text = (value) => ({
  type_url: 'p.cloudstate.io/string',
  value: protobuf.Writer.create().uint32(10).string(value).finish(),
});

function textOf({ value }) {
  const reader = protobuf.Reader.create(value);
  reader.uint32();
  return reader.string();
}

/* The types: what an entity is before its first change, and what a delta makes of it. */

const counter = {
  initial: 0,
  apply: (count, { pncounter }) => count + Number(pncounter.change),
};
const set = {
  initial: [],
  apply: (elements, { orset: { cleared, removed, added } }) => {
    const gone = removed.map(textOf);
    const kept = cleared ? [] : elements.filter((element) => !gone.includes(element));
    return [...new Set([...kept, ...added.map(textOf)])].sort();
  },
};
const register = {
  initial: {},
  apply: (_before, { lwwregister }) => unpack(lwwregister.value),
};
const counters = {
  initial: {},
  apply: (counts, { ormap: { cleared, removed, updated, added } }) => {
    const next = cleared ? {} : { ...counts };
    for (const key of removed) delete next[textOf(key)];
    for (const { key, delta } of [...added, ...updated]) {
      next[textOf(key)] = counter.apply(next[textOf(key)] ?? counter.initial, delta);
    }
    return next;
  },
};
const vote = {
  initial: false,
  apply: (_before, delta) => delta.vote.self_vote,
};

const count = (value) => reply('board.LikeCount', { count: value });
const tagList = (tags) => reply('board.TagList', { tags });
const headline = (value) => reply('board.HeadlineText', value);
const reactionCounts = (counts) => reply('board.ReactionCounts', { counts });
const votes = (approved) => reply('board.Votes', { approved, for: approved ? 1 : 0, of: 1 });
const readerList = (names) => reply('board.ReaderList', { names });

const changeBy = (change) => ({ pncounter: { change } });
/** Deltas have all their lists, as those that come over the wire do. */
const add = (element) => ({ orset: { added: [text(element)], removed: [] } });
const remove = (element) => ({ orset: { added: [], removed: [text(element)] } });
const like = ({ postId }) => ({
  service_name: 'board.Likes',
  command_name: 'Like',
  payload: pack('board.LikePost', { postId, times: 1 }),
});

/**
 * Handlers give `{ delta, answer }`, where `answer` makes the client action of what the delta has made; and `effects`,
 * `deletes`, or for streamed calls `onChange`, `onCancel` (its delta) and `isLast`.
 */
const SERVICES = {
  'board.Likes': {
    type: counter,
    persistenceId: 'likes',
    handlers: {
      // What a command that fails has changed is told and has to be dropped all the same.
      Like: ({ times }) => ({
        delta: changeBy(times),
        answer: times <= 0 ? () => failure(`Cannot like a post ${times} times`) : count,
      }),
      Unlike: ({ times }) => ({ delta: changeBy(-times), answer: count }),
      Count: () => ({ answer: count }),
      Forget: () => ({ deletes: true, answer: () => EMPTY }),
      Watch: ({ enough }) => ({
        answer: count,
        onChange: count,
        isLast: (value) => enough !== 0 && value >= enough,
      }),
    },
  },
  'board.Tags': {
    type: set,
    persistenceId: 'tags',
    handlers: {
      Add: ({ tag }) => ({ delta: add(tag), answer: tagList }),
      Remove: ({ tag }) => ({ delta: remove(tag), answer: tagList }),
      List: () => ({ answer: tagList }),
    },
  },
  'board.Headline': {
    type: register,
    persistenceId: 'headlines',
    handlers: {
      Write: ({ text: words, author }) => ({
        delta: { lwwregister: { value: pack('board.HeadlineText', { text: words, author }) } },
        answer: headline,
      }),
      Read: () => ({ answer: headline }),
      Like: (post) => ({ answer: () => ({ forward: like(post) }) }),
    },
  },
  'board.Reactions': {
    type: counters,
    persistenceId: 'reactions',
    handlers: {
      React: ({ postId, kind }, counts) => {
        const entry = [{ key: text(kind), delta: changeBy(1) }];
        const [added, updated] = kind in counts ? [[], entry] : [entry, []];
        return {
          delta: { ormap: { removed: [], added, updated } },
          answer: reactionCounts,
          effects: [{ ...like({ postId }), synchronous: true }],
        };
      },
      Remove: ({ kind }) => ({
        delta: { ormap: { removed: [text(kind)], added: [], updated: [] } },
        answer: reactionCounts,
      }),
      Get: () => ({ answer: reactionCounts }),
    },
  },
  'board.Approval': {
    type: vote,
    persistenceId: 'approvals',
    handlers: {
      Decide: ({ approved }) => ({ delta: { vote: { self_vote: approved } }, answer: votes }),
      Get: () => ({ answer: votes }),
    },
  },
  'board.Readers': {
    type: set,
    persistenceId: 'readers',
    handlers: {
      Open: ({ name }) => ({
        delta: add(name),
        answer: readerList,
        onChange: readerList,
        onCancel: () => remove(name),
        isLast: () => false,
      }),
      List: () => ({ answer: readerList }),
    },
  },
};

/** The stream of one entity. */
function handle(stream) {
  let service;
  let value;
  /** By the ids of their commands. */
  const watchers = new Map();

  const change = (delta) => {
    if (delta !== undefined) value = service.type.apply(value, delta);
  };
  const stateActionOf = (delta) => delta !== undefined && { state_action: { update: delta } };
  /** Tells all watchers but one of a change. */
  const tell = (but) => {
    for (const [id, { onChange, isLast }] of watchers) {
      if (id === but) continue;
      const end_stream = isLast(value);
      if (end_stream) watchers.delete(id);
      stream.write({ streamed_message: { command_id: id, client_action: onChange(value), end_stream } });
    }
  };

  stream.on('data', ({ init, command, stream_cancelled: cancelled, ...others }) => {
    if (init !== null) {
      service = SERVICES[init.service_name];
      value = service.type.initial;
      change(init.delta ?? undefined);
    } else if (command !== null) {
      const id = Number(command.id);
      const { delta, answer, effects, deletes, ...watcher } = service.handlers[command.name](
        unpack(command.payload),
        value,
      );
      change(delta);
      const streamed = command.streamed && !watcher.isLast(value);
      if (streamed) watchers.set(id, watcher);
      stream.write({
        reply: {
          command_id: id,
          client_action: answerTo(command, answer(value)),
          side_effects: effects,
          ...stateActionOf(delta),
          ...(deletes && { state_action: { delete: {} } }),
          streamed,
        },
      });
      if (delta !== undefined) tell(id);
    } else if (cancelled !== null) {
      const id = Number(cancelled.id);
      const delta = watchers.get(id)?.onCancel?.(value);
      watchers.delete(id);
      change(delta);
      stream.write({ stream_cancelled_response: { command_id: id, ...stateActionOf(delta) } });
      if (delta !== undefined) tell();
    } else {
      throw new Error(`nothing that a runtime with one writer has to send: ${JSON.stringify(others)}`);
    }
  });
  stream.on('end', () => stream.end());
}

serve({
  serviceName: 'board',
  entities: Object.entries(SERVICES).map(([service_name, { persistenceId }]) => ({
    entity_type: 'cloudstate.crdt.Crdt',
    service_name,
    persistence_id: persistenceId,
  })),
  handlers: { 'cloudstate.crdt.Crdt': { handle } },
});
