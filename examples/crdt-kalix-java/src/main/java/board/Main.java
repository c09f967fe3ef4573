package board;

import board.domain.Approval;
import board.domain.Edits;
import board.domain.Headline;
import board.domain.Likes;
import board.domain.Links;
import board.domain.Reactions;
import board.domain.Tags;
import board.domain.Translations;

public final class Main {

  private Main() {}

  public static void main(String[] args) throws Exception {
    KalixFactory.withComponents(
            Approval::new,
            Edits::new,
            Headline::new,
            Likes::new,
            Links::new,
            Reactions::new,
            Tags::new,
            Translations::new)
        .start();
  }
}
