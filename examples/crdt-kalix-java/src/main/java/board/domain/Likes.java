package board.domain;

import board.BoardApi;
import com.google.protobuf.Empty;
import kalix.javasdk.replicatedentity.ReplicatedCounter;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;

/** What each handler is for stands in board.proto; AbstractLikes is generated from it. */
public class Likes extends AbstractLikes {

  public Likes(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.LikeCount> like(ReplicatedCounter counter, BoardApi.LikePost command) {
    if (command.getTimes() <= 0) return effects().error("Cannot like a post " + command.getTimes() + " times");
    return update(counter.increment(command.getTimes()));
  }

  @Override
  public Effect<BoardApi.LikeCount> unlike(ReplicatedCounter counter, BoardApi.UnlikePost command) {
    return update(counter.decrement(command.getTimes()));
  }

  @Override
  public Effect<BoardApi.LikeCount> count(ReplicatedCounter counter, BoardApi.Post post) {
    return effects().reply(toApi(counter));
  }

  @Override
  public Effect<Empty> forget(ReplicatedCounter counter, BoardApi.Post post) {
    return effects().delete().thenReply(Empty.getDefaultInstance());
  }

  private Effect<BoardApi.LikeCount> update(ReplicatedCounter counter) {
    return effects().update(counter).thenReply(toApi(counter));
  }

  private static BoardApi.LikeCount toApi(ReplicatedCounter counter) {
    return BoardApi.LikeCount.newBuilder().setCount((int) counter.getValue()).build();
  }
}
