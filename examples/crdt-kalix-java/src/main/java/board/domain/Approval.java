package board.domain;

import board.BoardApi;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedVote;

/** What each handler is for stands in board.proto; AbstractApproval is generated from it. */
public class Approval extends AbstractApproval {

  public Approval(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.Votes> decide(ReplicatedVote vote, BoardApi.Decision command) {
    ReplicatedVote decided = vote.vote(command.getApproved());
    return effects().update(decided).thenReply(toApi(decided));
  }

  @Override
  public Effect<BoardApi.Votes> get(ReplicatedVote vote, BoardApi.Post post) {
    return effects().reply(toApi(vote));
  }

  private static BoardApi.Votes toApi(ReplicatedVote vote) {
    return BoardApi.Votes.newBuilder()
        .setApproved(vote.getSelfVote())
        .setFor(vote.getVotesFor())
        .setOf(vote.getVoters())
        .build();
  }
}
