import { Kalix, replicatedentity, replies } from '@kalix-io/kalix-javascript-sdk';

const {
  ReplicatedCounter,
  ReplicatedCounterMap,
  ReplicatedEntity,
  ReplicatedMap,
  ReplicatedMultiMap,
  ReplicatedRegister,
  ReplicatedRegisterMap,
  ReplicatedSet,
  Vote,
} = replicatedentity;

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
  replies.message({ counts: Object.fromEntries([...map.keys()].map((kind) => [kind, map.get(kind)])) });
reactions.defaultValue = () => new ReplicatedCounterMap();
reactions.commandHandlers = {
  React: ({ postId, kind }, { state }) =>
    reactionCounts(state.increment(kind, 1)).addEffect(like, { postId, times: 1 }, true),
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

const translations = entity('Translations', 'translations');
const texts = (map) =>
  replies.message({ texts: Object.fromEntries([...map.keys()].map((language) => [language, map.get(language)])) });
translations.defaultValue = () => new ReplicatedRegisterMap();
translations.commandHandlers = {
  Write: ({ language, text }, { state }) => texts(state.set(language, text)),
  Get: (_post, { state }) => texts(state),
};

const links = entity('Links', 'links');
const linksByKind = (map) =>
  replies.message({
    links: Object.fromEntries([...map.keys()].map((kind) => [kind, { urls: [...map.get(kind)].sort() }])),
  });
links.defaultValue = () => new ReplicatedMultiMap();
links.commandHandlers = {
  Add: ({ kind, url }, { state }) => linksByKind(state.put(kind, url)),
  Remove: ({ kind, url }, { state }) => linksByKind(state.delete(kind, url)),
  Get: (_post, { state }) => linksByKind(state),
};

const edits = entity('Edits', 'edits');
/** What the map has from the beginning, as far as anybody looks. */
const inMap = {
  editors: () => new ReplicatedSet(),
  count: () => new ReplicatedCounter(),
  lastReason: () => new ReplicatedRegister(''),
};
const editSummary = (map) =>
  replies.message({
    editors: [...map.get('editors')].sort(),
    count: map.get('count').value,
    lastReason: map.get('lastReason').value,
  });
edits.defaultValue = () => new ReplicatedMap();
edits.onStateSet = (map) => {
  map.defaultValue = (key) => inMap[key]();
};
edits.commandHandlers = {
  Note: ({ editor, reason }, { state }) => {
    state.get('editors').add(editor);
    state.get('count').increment(1);
    state.get('lastReason').value = reason;
    return editSummary(state);
  },
  Get: (_post, { state }) => editSummary(state),
};

new Kalix().addComponent(likes, tags, headlines, reactions, approvals, translations, links, edits).start();
