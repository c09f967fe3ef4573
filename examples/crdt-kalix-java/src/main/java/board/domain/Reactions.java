package board.domain;

import board.BoardApi;
import kalix.javasdk.SideEffect;
import kalix.javasdk.replicatedentity.ReplicatedCounterMap;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;

/** What each handler is for stands in board.proto; AbstractReactions is generated from it. */
public class Reactions extends AbstractReactions {

  public Reactions(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.ReactionCounts> react(ReplicatedCounterMap<String> counters, BoardApi.Reaction command) {
    BoardApi.LikePost like =
        BoardApi.LikePost.newBuilder().setPostId(command.getPostId()).setTimes(1).build();
    return update(counters.increment(command.getKind(), 1))
        .addSideEffects(SideEffect.of(components().likes().like(like), true));
  }

  @Override
  public Effect<BoardApi.ReactionCounts> remove(ReplicatedCounterMap<String> counters, BoardApi.Reaction command) {
    return update(counters.remove(command.getKind()));
  }

  @Override
  public Effect<BoardApi.ReactionCounts> get(ReplicatedCounterMap<String> counters, BoardApi.Post post) {
    return effects().reply(toApi(counters));
  }

  private Effect<BoardApi.ReactionCounts> update(ReplicatedCounterMap<String> counters) {
    return effects().update(counters).thenReply(toApi(counters));
  }

  private static BoardApi.ReactionCounts toApi(ReplicatedCounterMap<String> counters) {
    BoardApi.ReactionCounts.Builder counts = BoardApi.ReactionCounts.newBuilder();
    for (String kind : counters.keySet()) counts.putCounts(kind, (int) counters.get(kind));
    return counts.build();
  }
}
