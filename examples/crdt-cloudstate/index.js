import './grpc-bind.js';
import { createRequire } from 'node:module';
import path from 'node:path';
import cloudstate from 'cloudstate';

const { HOST = '127.0.0.1', PORT = '8080' } = process.env;
const { Crdt, LWWRegister, ORMap, ORSet, PNCounter, Vote } = cloudstate.crdt;

// The SDK's install script downloads protoc and with it google/protobuf/descriptor.proto. What the SDK reads .proto files
// with has that file too.
const ofSdk = createRequire(createRequire(import.meta.url).resolve('cloudstate'));
const wellKnown = path.dirname(ofSdk.resolve('protobufjs/package.json'));

// What each method does stands in proto/board.proto.
const entity = (service, persistenceId) =>
  new Crdt('board.proto', `board.${service}`, { persistenceId, includeDirs: ['./proto', wellKnown] });

const likes = entity('Likes', 'likes');
likes.defaultValue = () => new PNCounter();
likes.commandHandlers = {
  Like: ({ times }, context) => {
    const count = context.state.increment(times).value;
    // What a command that fails has changed is dropped.
    if (times <= 0) context.fail(`Cannot like a post ${times} times`);
    return { count };
  },
  Unlike: ({ times }, { state }) => ({ count: state.decrement(times).value }),
  Count: (_post, { state }) => ({ count: state.value }),
  Forget: (_post, context) => {
    context.delete();
    return {};
  },
  Watch: ({ enough }, context) => {
    const isEnough = (count) => enough !== 0 && count >= enough;
    if (!isEnough(context.state.value)) {
      context.onStateChange = ({ value }, change) => {
        if (isEnough(value)) change.end();
        return { count: value };
      };
    }
    return { count: context.state.value };
  },
};
const { Like: like } = likes.grpc.board.Likes.service;

const tags = entity('Tags', 'tags');
const tagList = (set) => ({ tags: [...set].sort() });
tags.defaultValue = () => new ORSet();
tags.commandHandlers = {
  Add: ({ tag }, { state }) => tagList(state.add(tag)),
  Remove: ({ tag }, { state }) => tagList(state.delete(tag)),
  List: (_post, { state }) => tagList(state),
};

const headlines = entity('Headline', 'headlines');
const HeadlineText = headlines.lookupType('board.HeadlineText');
headlines.defaultValue = () => new LWWRegister(HeadlineText.create({}));
headlines.commandHandlers = {
  Write: ({ text, author }, { state }) => {
    state.value = HeadlineText.create({ text, author });
    return state.value;
  },
  Read: (_post, { state }) => state.value,
  Like: ({ postId }, context) => context.thenForward(like, { postId, times: 1 }),
};

const reactions = entity('Reactions', 'reactions');
const reactionCounts = (map) => ({
  counts: Object.fromEntries([...map.entries()].map(([kind, { value }]) => [kind, value])),
});
reactions.defaultValue = () => new ORMap();
reactions.onStateSet = (map) => {
  map.defaultValue = () => new PNCounter();
};
reactions.commandHandlers = {
  React: ({ postId, kind }, context) => {
    context.state.get(kind).increment(1);
    context.effect(like, { postId, times: 1 }, true);
    return reactionCounts(context.state);
  },
  Remove: ({ kind }, { state }) => reactionCounts(state.delete(kind)),
  Get: (_post, { state }) => reactionCounts(state),
};

const approvals = entity('Approval', 'approvals');
const votes = ({ vote, votesFor, totalVoters }) => ({ approved: vote, for: votesFor, of: totalVoters });
approvals.defaultValue = () => new Vote();
approvals.commandHandlers = {
  Decide: ({ approved }, { state }) => {
    state.vote = approved;
    return votes(state);
  },
  Get: (_post, { state }) => votes(state),
};

const readers = entity('Readers', 'readers');
const readerList = (set) => ({ names: [...set].sort() });
readers.defaultValue = () => new ORSet();
readers.commandHandlers = {
  Open: ({ name }, context) => {
    context.state.add(name);
    context.onStateChange = readerList;
    context.onStreamCancel = (set) => set.delete(name);
    return readerList(context.state);
  },
  List: (_post, { state }) => readerList(state),
};

const application = new cloudstate.CloudState();
application.addEntity(likes, tags, headlines, reactions, approvals, readers);
application.start({ bindAddress: HOST, bindPort: Number(PORT) });
