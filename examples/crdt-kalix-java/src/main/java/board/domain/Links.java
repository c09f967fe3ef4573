package board.domain;

import board.BoardApi;
import java.util.TreeSet;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedMultiMap;

/** What each handler is for stands in board.proto; AbstractLinks is generated from it. */
public class Links extends AbstractLinks {

  public Links(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.LinksByKind> add(ReplicatedMultiMap<String, String> links, BoardApi.Link command) {
    return update(links.put(command.getKind(), command.getUrl()));
  }

  @Override
  public Effect<BoardApi.LinksByKind> remove(ReplicatedMultiMap<String, String> links, BoardApi.Link command) {
    return update(links.remove(command.getKind(), command.getUrl()));
  }

  @Override
  public Effect<BoardApi.LinksByKind> get(ReplicatedMultiMap<String, String> links, BoardApi.Post post) {
    return effects().reply(toApi(links));
  }

  private Effect<BoardApi.LinksByKind> update(ReplicatedMultiMap<String, String> links) {
    return effects().update(links).thenReply(toApi(links));
  }

  private static BoardApi.LinksByKind toApi(ReplicatedMultiMap<String, String> links) {
    BoardApi.LinksByKind.Builder byKind = BoardApi.LinksByKind.newBuilder();
    for (String kind : links.keySet()) {
      byKind.putLinks(kind, BoardApi.LinkList.newBuilder().addAllUrls(new TreeSet<>(links.get(kind))).build());
    }
    return byKind.build();
  }
}
