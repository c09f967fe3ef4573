package board;

import com.google.protobuf.Empty;
import io.cloudstate.javasupport.crdt.CommandContext;
import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.PNCounter;
import io.cloudstate.javasupport.crdt.StreamedCommandContext;
import java.util.Optional;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Likes {

  private final PNCounter counter;

  public Likes(PNCounter counter) {
    this.counter = counter;
  }

  @CommandHandler
  public BoardApi.LikeCount like(BoardApi.LikePost command, CommandContext context) {
    // The SDK refuses commands that change the counter first and then fail.
    if (command.getTimes() <= 0) throw context.fail("Cannot like a post " + command.getTimes() + " times");
    counter.increment(command.getTimes());
    return count();
  }

  @CommandHandler
  public BoardApi.LikeCount unlike(BoardApi.UnlikePost command) {
    counter.decrement(command.getTimes());
    return count();
  }

  @CommandHandler
  public BoardApi.LikeCount count() {
    return BoardApi.LikeCount.newBuilder().setCount((int) counter.getValue()).build();
  }

  @CommandHandler
  public Empty forget(CommandContext context) {
    context.delete();
    return Empty.getDefaultInstance();
  }

  @CommandHandler
  public BoardApi.LikeCount watch(
      BoardApi.WatchLikes command, StreamedCommandContext<BoardApi.LikeCount> context) {
    if (!isEnough(command)) {
      context.onChange(
          change -> {
            if (isEnough(command)) change.endStream();
            return Optional.of(count());
          });
    }
    return count();
  }

  private boolean isEnough(BoardApi.WatchLikes command) {
    return command.getEnough() != 0 && counter.getValue() >= command.getEnough();
  }
}
