package shop;

import io.cloudstate.javasupport.CloudState;
import shop.domain.CartDomain;

public final class Main {

  private Main() {}

  public static void main(String[] args) throws Exception {
    new CloudState()
        .registerEventSourcedEntity(
            ShoppingCart.class,
            CartApi.getDescriptor().findServiceByName("ShoppingCart"),
            CartApi.getDescriptor(),
            CartDomain.getDescriptor())
        .start()
        .toCompletableFuture()
        .get();
  }
}
