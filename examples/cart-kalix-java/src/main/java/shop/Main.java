package shop;

import kalix.javasdk.Kalix;
import kalix.javasdk.eventsourcedentity.EventSourcedEntityOptions;
import shop.domain.ShoppingCart;
import shop.domain.ShoppingCartProvider;

public final class Main {

  private Main() {}

  public static void main(String[] args) throws Exception {
    EventSourcedEntityOptions options = EventSourcedEntityOptions.defaults().withSnapshotEvery(5);
    new Kalix().register(ShoppingCartProvider.of(ShoppingCart::new).withOptions(options)).start();
  }
}
