package board.domain;

import board.BoardApi;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedRegister;

/** What each handler is for stands in board.proto; AbstractHeadline is generated from it. */
public class Headline extends AbstractHeadline {

  public Headline(ReplicatedEntityContext context) {}

  @Override
  public BoardApi.HeadlineText emptyValue() {
    return BoardApi.HeadlineText.getDefaultInstance();
  }

  @Override
  public Effect<BoardApi.HeadlineText> write(
      ReplicatedRegister<BoardApi.HeadlineText> register, BoardApi.NewHeadline command) {
    BoardApi.HeadlineText text =
        BoardApi.HeadlineText.newBuilder().setText(command.getText()).setAuthor(command.getAuthor()).build();
    return effects().update(register.set(text)).thenReply(text);
  }

  @Override
  public Effect<BoardApi.HeadlineText> read(
      ReplicatedRegister<BoardApi.HeadlineText> register, BoardApi.Post post) {
    return effects().reply(register.get());
  }

  @Override
  public Effect<BoardApi.LikeCount> like(
      ReplicatedRegister<BoardApi.HeadlineText> register, BoardApi.Post post) {
    BoardApi.LikePost like = BoardApi.LikePost.newBuilder().setPostId(post.getPostId()).setTimes(1).build();
    return effects().forward(components().likes().like(like));
  }
}
