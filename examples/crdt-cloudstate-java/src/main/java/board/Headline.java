package board;

import io.cloudstate.javasupport.crdt.CommandContext;
import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtCreationContext;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.LWWRegister;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Headline {

  private final LWWRegister<BoardApi.HeadlineText> text;

  @SuppressWarnings("unchecked")
  public Headline(CrdtCreationContext context) {
    text =
        context
            .state(LWWRegister.class)
            .orElseGet(() -> context.newLWWRegister(BoardApi.HeadlineText.getDefaultInstance()));
  }

  @CommandHandler
  public BoardApi.HeadlineText write(BoardApi.NewHeadline command) {
    text.set(
        BoardApi.HeadlineText.newBuilder().setText(command.getText()).setAuthor(command.getAuthor()).build());
    return text.get();
  }

  @CommandHandler
  public BoardApi.HeadlineText read() {
    return text.get();
  }

  @CommandHandler
  public void like(BoardApi.Post command, CommandContext context) {
    context.forward(Like.once(context, command.getPostId()));
  }
}
