package shop.domain;

import com.google.protobuf.Empty;
import java.util.stream.Collectors;
import kalix.javasdk.eventsourcedentity.EventSourcedEntityContext;
import shop.CartApi;

/** What each handler is for stands in the .proto files; AbstractShoppingCart is generated from them. */
public class ShoppingCart extends AbstractShoppingCart {

  public ShoppingCart(EventSourcedEntityContext context) {}

  @Override
  public CartDomain.Cart emptyState() {
    return CartDomain.Cart.getDefaultInstance();
  }

  @Override
  public Effect<Empty> addItem(CartDomain.Cart cart, CartApi.AddLineItem command) {
    if (command.getQuantity() <= 0) {
      return effects().error("Cannot add negative quantity of item " + command.getProductId());
    }
    CartDomain.LineItem item =
        CartDomain.LineItem.newBuilder()
            .setProductId(command.getProductId())
            .setName(command.getName())
            .setQuantity(command.getQuantity())
            .build();
    return effects()
        .emitEvent(CartDomain.ItemAdded.newBuilder().setItem(item).build())
        .thenReply(newCart -> Empty.getDefaultInstance());
  }

  @Override
  public Effect<Empty> removeItem(CartDomain.Cart cart, CartApi.RemoveLineItem command) {
    if (indexOf(cart, command.getProductId()) < 0) {
      return effects()
          .error("Cannot remove item " + command.getProductId() + " because it is not in the cart.");
    }
    return effects()
        .emitEvent(CartDomain.ItemRemoved.newBuilder().setProductId(command.getProductId()).build())
        .thenReply(newCart -> Empty.getDefaultInstance());
  }

  @Override
  public Effect<CartApi.Cart> getCart(CartDomain.Cart cart, CartApi.GetShoppingCart command) {
    return effects()
        .reply(
            CartApi.Cart.newBuilder()
                .addAllItems(cart.getItemsList().stream().map(ShoppingCart::toApi).collect(Collectors.toList()))
                .build());
  }

  @Override
  public CartDomain.Cart itemAdded(CartDomain.Cart cart, CartDomain.ItemAdded event) {
    CartDomain.LineItem added = event.getItem();
    int at = indexOf(cart, added.getProductId());
    if (at < 0) return cart.toBuilder().addItems(added).build();
    CartDomain.LineItem present = cart.getItems(at);
    int quantity = present.getQuantity() + added.getQuantity();
    return cart.toBuilder().setItems(at, present.toBuilder().setQuantity(quantity)).build();
  }

  @Override
  public CartDomain.Cart itemRemoved(CartDomain.Cart cart, CartDomain.ItemRemoved event) {
    return cart.toBuilder().removeItems(indexOf(cart, event.getProductId())).build();
  }

  private static int indexOf(CartDomain.Cart cart, String productId) {
    for (int i = 0; i < cart.getItemsCount(); i++) {
      if (cart.getItems(i).getProductId().equals(productId)) return i;
    }
    return -1;
  }

  private static CartApi.LineItem toApi(CartDomain.LineItem item) {
    return CartApi.LineItem.newBuilder()
        .setProductId(item.getProductId())
        .setName(item.getName())
        .setQuantity(item.getQuantity())
        .build();
  }
}
