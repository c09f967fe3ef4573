package board.domain;

import board.BoardApi;
import kalix.javasdk.replicatedentity.ReplicatedEntityContext;
import kalix.javasdk.replicatedentity.ReplicatedRegisterMap;

/** What each handler is for stands in board.proto; AbstractTranslations is generated from it. */
public class Translations extends AbstractTranslations {

  public Translations(ReplicatedEntityContext context) {}

  @Override
  public Effect<BoardApi.TranslatedHeadlines> write(
      ReplicatedRegisterMap<String, String> registers, BoardApi.Translation command) {
    ReplicatedRegisterMap<String, String> written = registers.setValue(command.getLanguage(), command.getText());
    return effects().update(written).thenReply(toApi(written));
  }

  @Override
  public Effect<BoardApi.TranslatedHeadlines> get(
      ReplicatedRegisterMap<String, String> registers, BoardApi.Post post) {
    return effects().reply(toApi(registers));
  }

  private static BoardApi.TranslatedHeadlines toApi(ReplicatedRegisterMap<String, String> registers) {
    BoardApi.TranslatedHeadlines.Builder headlines = BoardApi.TranslatedHeadlines.newBuilder();
    for (String language : registers.keySet()) {
      registers.getValue(language).ifPresent(text -> headlines.putTexts(language, text));
    }
    return headlines.build();
  }
}
