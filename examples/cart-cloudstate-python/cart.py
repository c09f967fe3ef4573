from cart_pb2 import DESCRIPTOR, AddLineItem, Cart, GetShoppingCart, RemoveLineItem
from cloudstate.cloudstate import CloudState
from cloudstate.event_sourced_context import EventSourcedCommandContext
from cloudstate.event_sourced_entity import EventSourcedEntity
from domain_pb2 import DESCRIPTOR as DOMAIN
from domain_pb2 import Cart as DomainCart
from domain_pb2 import ItemAdded, ItemRemoved
from google.protobuf.empty_pb2 import Empty

carts = EventSourcedEntity(
    DESCRIPTOR.services_by_name["ShoppingCart"],
    [DESCRIPTOR, DOMAIN],
    lambda user_id: DomainCart(),
    persistence_id="carts",
    snapshot_every=5,
)


def line_of(cart: DomainCart, product_id: str):
    return next((line for line in cart.items if line.product_id == product_id), None)


@carts.snapshot()
def snapshot(cart: DomainCart):
    return cart


@carts.event_handler(ItemAdded)
def item_added(cart: DomainCart, event: ItemAdded):
    present = line_of(cart, event.item.product_id)
    if present is None:
        cart.items.append(event.item)
    else:
        present.quantity += event.item.quantity


@carts.event_handler(ItemRemoved)
def item_removed(cart: DomainCart, event: ItemRemoved):
    cart.items.remove(line_of(cart, event.product_id))


@carts.command_handler("AddItem")
def add_item(item: AddLineItem, context: EventSourcedCommandContext):
    # The event of a command that fails is dropped.
    added = ItemAdded()
    added.item.product_id = item.product_id
    added.item.name = item.name
    added.item.quantity = item.quantity
    context.emit(added)
    if item.quantity <= 0:
        context.fail(f"Cannot add negative quantity of item {item.product_id}")
    return Empty()


@carts.command_handler("RemoveItem")
def remove_item(cart: DomainCart, item: RemoveLineItem, context: EventSourcedCommandContext):
    if line_of(cart, item.product_id) is None:
        context.fail(f"Cannot remove item {item.product_id} because it is not in the cart.")
    else:
        context.emit(ItemRemoved(product_id=item.product_id))
    return Empty()


@carts.command_handler("GetCart")
def get_cart(cart: DomainCart, _request: GetShoppingCart):
    answer = Cart()
    for line in cart.items:
        answer.items.add(product_id=line.product_id, name=line.name, quantity=line.quantity)
    return answer


CloudState().register_event_sourced_entity(carts).start()
