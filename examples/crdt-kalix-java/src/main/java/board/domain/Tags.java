package board.domain;

import board.BoardApi;
import java.util.TreeSet;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedSet;

/** What each handler is for stands in board.proto; AbstractTags is generated from it. */
public class Tags extends AbstractTags {

  public Tags(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.TagList> add(ReplicatedSet<String> tags, BoardApi.Tag command) {
    return update(tags.add(command.getTag()));
  }

  @Override
  public Effect<BoardApi.TagList> remove(ReplicatedSet<String> tags, BoardApi.Tag command) {
    return update(tags.remove(command.getTag()));
  }

  @Override
  public Effect<BoardApi.TagList> list(ReplicatedSet<String> tags, BoardApi.Post post) {
    return effects().reply(toApi(tags));
  }

  private Effect<BoardApi.TagList> update(ReplicatedSet<String> tags) {
    return effects().update(tags).thenReply(toApi(tags));
  }

  private static BoardApi.TagList toApi(ReplicatedSet<String> tags) {
    return BoardApi.TagList.newBuilder().addAllTags(new TreeSet<>(tags.elements())).build();
  }
}
