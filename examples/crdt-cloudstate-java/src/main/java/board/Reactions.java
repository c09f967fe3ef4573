package board;

import io.cloudstate.javasupport.crdt.CommandContext;
import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.PNCounterMap;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Reactions {

  private final PNCounterMap<String> counters;

  public Reactions(PNCounterMap<String> counters) {
    this.counters = counters;
  }

  @CommandHandler
  public BoardApi.ReactionCounts react(BoardApi.Reaction command, CommandContext context) {
    counters.increment(command.getKind(), 1);
    context.effect(Like.once(context, command.getPostId()), true);
    return get();
  }

  @CommandHandler
  public BoardApi.ReactionCounts remove(BoardApi.Reaction command) {
    counters.remove(command.getKind());
    return get();
  }

  @CommandHandler
  public BoardApi.ReactionCounts get() {
    BoardApi.ReactionCounts.Builder counts = BoardApi.ReactionCounts.newBuilder();
    for (String kind : counters.keySet()) counts.putCounts(kind, (int) counters.getValue(kind));
    return counts.build();
  }
}
