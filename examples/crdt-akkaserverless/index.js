import { AkkaServerless, ReplicatedData, ReplicatedEntity, replies } from '@lightbend/akkaserverless-javascript-sdk';

const { ReplicatedCounter, ReplicatedMap, ReplicatedRegister, ReplicatedSet, Vote } = ReplicatedData;

// What each method does stands in proto/board.proto.
const entity = (service, entityType) =>
  new ReplicatedEntity('board.proto', `board.${service}`, entityType, { includeDirs: ['./proto'] });

const likes = entity('Likes', 'likes');
likes.defaultValue = () => new ReplicatedCounter();
likes.commandHandlers = {
  Like: ({ times }, { state }) => {
    state.increment(times);
    // What a command that fails has changed is dropped.
    if (times <= 0) return replies.failure(`Cannot like a post ${times} times`);
    return replies.message({ count: state.value });
  },
  Unlike: ({ times }, { state }) => replies.message({ count: state.decrement(times).value }),
  Count: (_post, { state }) => replies.message({ count: state.value }),
  Forget: (_post, context) => {
    context.delete();
    return replies.message({});
  },
};
const like = likes.service.methods.Like;

const tags = entity('Tags', 'tags');
const tagList = (set) => replies.message({ tags: [...set].sort() });
tags.defaultValue = () => new ReplicatedSet();
tags.commandHandlers = {
  Add: ({ tag }, { state }) => tagList(state.add(tag)),
  Remove: ({ tag }, { state }) => tagList(state.delete(tag)),
  List: (_post, { state }) => tagList(state),
};

const headlines = entity('Headline', 'headlines');
const HeadlineText = headlines.lookupType('board.HeadlineText');
headlines.defaultValue = () => new ReplicatedRegister(HeadlineText.create({}));
headlines.commandHandlers = {
  Write: ({ text, author }, { state }) => {
    state.value = HeadlineText.create({ text, author });
    return replies.message(state.value);
  },
  Read: (_post, { state }) => replies.message(state.value),
  Like: ({ postId }) => replies.forward(like, { postId, times: 1 }),
};

const reactions = entity('Reactions', 'reactions');
const reactionCounts = (map) =>
  replies.message({ counts: Object.fromEntries([...map.entries()].map(([kind, { value }]) => [kind, value])) });
reactions.defaultValue = () => new ReplicatedMap();
reactions.onStateSet = (map) => {
  map.defaultValue = () => new ReplicatedCounter();
};
reactions.commandHandlers = {
  React: ({ postId, kind }, { state }) => {
    state.get(kind).increment(1);
    return reactionCounts(state).addEffect(like, { postId, times: 1 }, true);
  },
  Remove: ({ kind }, { state }) => reactionCounts(state.delete(kind)),
  Get: (_post, { state }) => reactionCounts(state),
};

const approvals = entity('Approval', 'approvals');
const votes = ({ vote, votesFor, totalVoters }) => replies.message({ approved: vote, for: votesFor, of: totalVoters });
approvals.defaultValue = () => new Vote();
approvals.commandHandlers = {
  Decide: ({ approved }, { state }) => {
    state.vote = approved;
    return votes(state);
  },
  Get: (_post, { state }) => votes(state),
};

new AkkaServerless().addComponent(likes, tags, headlines, reactions, approvals).start();
