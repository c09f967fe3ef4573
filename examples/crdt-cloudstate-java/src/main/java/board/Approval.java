package board;

import io.cloudstate.javasupport.crdt.CommandHandler;
import io.cloudstate.javasupport.crdt.CrdtEntity;
import io.cloudstate.javasupport.crdt.Vote;

/** What each handler is for stands in board.proto. */
@CrdtEntity
public class Approval {

  private final Vote vote;

  public Approval(Vote vote) {
    this.vote = vote;
  }

  @CommandHandler
  public BoardApi.Votes decide(BoardApi.Decision command) {
    vote.vote(command.getApproved());
    return get();
  }

  @CommandHandler
  public BoardApi.Votes get() {
    return BoardApi.Votes.newBuilder()
        .setApproved(vote.getSelfVote())
        .setFor(vote.getVotesFor())
        .setOf(vote.getVoters())
        .build();
  }
}
