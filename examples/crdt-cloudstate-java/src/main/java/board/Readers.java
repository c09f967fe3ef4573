package board;

import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.ORSet;
import io.cloudstate.javasupport.crdt.StreamedCommandContext;
import java.util.Optional;
import java.util.TreeSet;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Readers {

  private final ORSet<String> names;

  public Readers(ORSet<String> names) {
    this.names = names;
  }

  @CommandHandler
  public BoardApi.ReaderList open(BoardApi.Reader command, StreamedCommandContext<BoardApi.ReaderList> context) {
    names.add(command.getName());
    context.onChange(change -> Optional.of(list()));
    context.onCancel(cancelled -> names.remove(command.getName()));
    return list();
  }

  @CommandHandler
  public BoardApi.ReaderList list() {
    return BoardApi.ReaderList.newBuilder().addAllNames(new TreeSet<>(names)).build();
  }
}
