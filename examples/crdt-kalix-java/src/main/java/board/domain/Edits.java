package board.domain;

import board.BoardApi;
import java.util.TreeSet;
import kalix.javasdk.replicatedentity.ReplicatedCounter;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedMap;
import kalix.javasdk.replicatedentity.ReplicatedRegister;
import kalix.javasdk.replicatedentity.ReplicatedSet;
import kalix.replicatedentity.ReplicatedData;

/** What each handler is for stands in board.proto; AbstractEdits is generated from it. */
public class Edits extends AbstractEdits {

  public Edits(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.EditSummary> note(ReplicatedMap<String, ReplicatedData> edits, BoardApi.Edit command) {
    ReplicatedMap<String, ReplicatedData> noted =
        edits
            .update("editors", editors(edits).add(command.getEditor()))
            .update("count", count(edits).increment(1))
            .update("lastReason", lastReason(edits).set(command.getReason()));
    return effects().update(noted).thenReply(toApi(noted));
  }

  @Override
  public Effect<BoardApi.EditSummary> get(ReplicatedMap<String, ReplicatedData> edits, BoardApi.Post post) {
    return effects().reply(toApi(edits));
  }

  private static ReplicatedSet<String> editors(ReplicatedMap<String, ReplicatedData> edits) {
    return edits.getReplicatedSet("editors");
  }

  private static ReplicatedCounter count(ReplicatedMap<String, ReplicatedData> edits) {
    return edits.getReplicatedCounter("count");
  }

  private static ReplicatedRegister<String> lastReason(ReplicatedMap<String, ReplicatedData> edits) {
    return edits.getReplicatedRegister("lastReason", () -> "");
  }

  private static BoardApi.EditSummary toApi(ReplicatedMap<String, ReplicatedData> edits) {
    return BoardApi.EditSummary.newBuilder()
        .addAllEditors(new TreeSet<>(editors(edits).elements()))
        .setCount((int) count(edits).getValue())
        .setLastReason(lastReason(edits).get())
        .build();
  }
}
