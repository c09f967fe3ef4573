import { AkkaServerless, EventSourcedEntity, replies } from '@lightbend/akkaserverless-javascript-sdk';

const carts = new EventSourcedEntity(['cart.proto', 'domain.proto'], 'shop.ShoppingCart', 'carts', {
  includeDirs: ['./proto'],
  snapshotEvery: 5,
});

const ItemAdded = carts.lookupType('shop.domain.ItemAdded');
const ItemRemoved = carts.lookupType('shop.domain.ItemRemoved');
const Cart = carts.lookupType('shop.domain.Cart');

carts.setInitial(() => Cart.create({ items: [] }));

carts.setBehavior(() => ({
  commandHandlers: {
    AddItem: ({ productId, name, quantity }, _cart, context) => {
      // The event of a command that fails is dropped.
      context.emit(ItemAdded.create({ item: { productId, name, quantity } }));
      if (quantity <= 0) return replies.failure(`Cannot add negative quantity of item ${productId}`);
      return replies.message({});
    },

    RemoveItem: ({ productId }, cart, context) => {
      if (!cart.items.some((item) => item.productId === productId)) {
        return replies.failure(`Cannot remove item ${productId} because it is not in the cart.`);
      }
      context.emit(ItemRemoved.create({ productId }));
      return replies.message({});
    },

    GetCart: (_request, cart) => replies.message(cart),
  },

  eventHandlers: {
    ItemAdded: ({ item }, { items }) => {
      const present = items.find(({ productId }) => productId === item.productId);
      if (present === undefined) return Cart.create({ items: [...items, item] });
      const more = { ...present, quantity: present.quantity + item.quantity };
      return Cart.create({ items: items.map((one) => (one === present ? more : one)) });
    },

    ItemRemoved: ({ productId }, { items }) =>
      Cart.create({ items: items.filter((item) => item.productId !== productId) }),
  },
}));

new AkkaServerless().addComponent(carts).start();
