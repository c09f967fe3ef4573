package board;

import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.ORSet;
import java.util.TreeSet;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Tags {

  private final ORSet<String> tags;

  public Tags(ORSet<String> tags) {
    this.tags = tags;
  }

  @CommandHandler
  public BoardApi.TagList add(BoardApi.Tag command) {
    tags.add(command.getTag());
    return list();
  }

  @CommandHandler
  public BoardApi.TagList remove(BoardApi.Tag command) {
    tags.remove(command.getTag());
    return list();
  }

  @CommandHandler
  public BoardApi.TagList list() {
    return BoardApi.TagList.newBuilder().addAllTags(new TreeSet<>(tags)).build();
  }
}
