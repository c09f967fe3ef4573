from akkaserverless.akkaserverless_service import AkkaServerlessService
from akkaserverless.event_sourced_context import EventSourcedCommandContext
from akkaserverless.event_sourced_entity import EventSourcedEntity
from cart_pb2 import DESCRIPTOR, AddLineItem, Cart, GetShoppingCart, RemoveLineItem
from domain_pb2 import DESCRIPTOR as DOMAIN
from domain_pb2 import Cart as DomainCart
from domain_pb2 import ItemAdded, ItemRemoved
from google.protobuf.empty_pb2 import Empty

carts = EventSourcedEntity(
    DESCRIPTOR.services_by_name["ShoppingCart"],
    [DESCRIPTOR, DOMAIN],
    "carts",
    lambda user_id: DomainCart(),
    snapshot_every=5,
)


def line_of(cart: DomainCart, product_id: str):
    return next((line for line in cart.items if line.product_id == product_id), None)


# The SDK gives handlers what they ask for by the names state, event, command and context.


@carts.snapshot()
def snapshot(state: DomainCart):
    return state


@carts.event_handler(ItemAdded)
def item_added(state: DomainCart, event: ItemAdded):
    present = line_of(state, event.item.product_id)
    if present is None:
        state.items.append(event.item)
    else:
        present.quantity += event.item.quantity


@carts.event_handler(ItemRemoved)
def item_removed(state: DomainCart, event: ItemRemoved):
    state.items.remove(line_of(state, event.product_id))


@carts.command_handler("AddItem")
def add_item(command: AddLineItem, context: EventSourcedCommandContext):
    # The event of a command that fails is dropped.
    added = ItemAdded()
    added.item.product_id = command.product_id
    added.item.name = command.name
    added.item.quantity = command.quantity
    context.emit(added)
    if command.quantity <= 0:
        context.fail(f"Cannot add negative quantity of item {command.product_id}")
    return Empty()


@carts.command_handler("RemoveItem")
def remove_item(state: DomainCart, command: RemoveLineItem, context: EventSourcedCommandContext):
    if line_of(state, command.product_id) is None:
        context.fail(f"Cannot remove item {command.product_id} because it is not in the cart.")
    else:
        context.emit(ItemRemoved(product_id=command.product_id))
    return Empty()


@carts.command_handler("GetCart")
def get_cart(state: DomainCart, command: GetShoppingCart):
    answer = Cart()
    for line in state.items:
        answer.items.add(product_id=line.product_id, name=line.name, quantity=line.quantity)
    return answer


AkkaServerlessService().add_component(carts).start()
