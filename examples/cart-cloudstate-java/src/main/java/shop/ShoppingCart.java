package shop;

import com.google.protobuf.Empty;
import io.cloudstate.javasupport.eventsourced.CommandContext;
import io.cloudstate.javasupport.eventsourced.CommandHandler;
import io.cloudstate.javasupport.eventsourced.EventHandler;
import io.cloudstate.javasupport.eventsourced.EventSourcedEntity;
import io.cloudstate.javasupport.eventsourced.Snapshot;
import io.cloudstate.javasupport.eventsourced.SnapshotHandler;
import java.util.LinkedHashMap;
import java.util.Map;
import shop.domain.CartDomain;

/** What each handler is for stands in the .proto files. */
@EventSourcedEntity(persistenceId = "carts", snapshotEvery = 5)
public class ShoppingCart {

  /** By product, in the order in which the products were first put in. */
  private final Map<String, CartDomain.LineItem> lines = new LinkedHashMap<>();

  @CommandHandler
  public Empty addItem(CartApi.AddLineItem command, CommandContext context) {
    CartDomain.LineItem item =
        CartDomain.LineItem.newBuilder()
            .setProductId(command.getProductId())
            .setName(command.getName())
            .setQuantity(command.getQuantity())
            .build();
    // The event of a command that fails is dropped.
    context.emit(CartDomain.ItemAdded.newBuilder().setItem(item).build());
    if (command.getQuantity() <= 0) {
      throw context.fail("Cannot add negative quantity of item " + command.getProductId());
    }
    return Empty.getDefaultInstance();
  }

  @CommandHandler
  public Empty removeItem(CartApi.RemoveLineItem command, CommandContext context) {
    if (!lines.containsKey(command.getProductId())) {
      throw context.fail("Cannot remove item " + command.getProductId() + " because it is not in the cart.");
    }
    context.emit(CartDomain.ItemRemoved.newBuilder().setProductId(command.getProductId()).build());
    return Empty.getDefaultInstance();
  }

  @CommandHandler
  public CartApi.Cart getCart() {
    CartApi.Cart.Builder cart = CartApi.Cart.newBuilder();
    for (CartDomain.LineItem line : lines.values()) {
      cart.addItemsBuilder()
          .setProductId(line.getProductId())
          .setName(line.getName())
          .setQuantity(line.getQuantity());
    }
    return cart.build();
  }

  @EventHandler
  public void itemAdded(CartDomain.ItemAdded event) {
    lines.merge(
        event.getItem().getProductId(),
        event.getItem(),
        (present, more) -> present.toBuilder().setQuantity(present.getQuantity() + more.getQuantity()).build());
  }

  @EventHandler
  public void itemRemoved(CartDomain.ItemRemoved event) {
    lines.remove(event.getProductId());
  }

  @Snapshot
  public CartDomain.Cart snapshot() {
    return CartDomain.Cart.newBuilder().addAllItems(lines.values()).build();
  }

  @SnapshotHandler
  public void handleSnapshot(CartDomain.Cart cart) {
    lines.clear();
    for (CartDomain.LineItem line : cart.getItemsList()) lines.put(line.getProductId(), line);
  }
}
