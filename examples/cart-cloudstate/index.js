import './grpc-bind.js';
import { createRequire } from 'node:module';
import path from 'node:path';
import cloudstate from 'cloudstate';

const { HOST = '127.0.0.1', PORT = '8080' } = process.env;

// The SDK's install script downloads protoc and with it google/protobuf/descriptor.proto. What the SDK reads .proto files
// with has that file too.
const ofSdk = createRequire(createRequire(import.meta.url).resolve('cloudstate'));
const wellKnown = path.dirname(ofSdk.resolve('protobufjs/package.json'));

const carts = new cloudstate.EventSourced(['cart.proto', 'domain.proto'], 'shop.ShoppingCart', {
  persistenceId: 'carts',
  snapshotEvery: 5,
  includeDirs: ['./proto', wellKnown],
});

const ItemAdded = carts.lookupType('shop.domain.ItemAdded');
const ItemRemoved = carts.lookupType('shop.domain.ItemRemoved');
const Cart = carts.lookupType('shop.domain.Cart');

carts.setInitial(() => Cart.create({ items: [] }));

carts.setBehavior(() => ({
  commandHandlers: {
    AddItem: ({ productId, name, quantity }, _cart, context) => {
      if (quantity <= 0) context.fail(`Cannot add negative quantity of item ${productId}`);
      context.emit(ItemAdded.create({ item: { productId, name, quantity } }));
      return {};
    },

    RemoveItem: ({ productId }, cart, context) => {
      if (!cart.items.some((item) => item.productId === productId)) {
        context.fail(`Cannot remove item ${productId} because it is not in the cart.`);
      }
      context.emit(ItemRemoved.create({ productId }));
      return {};
    },

    GetCart: (_request, cart) => cart,
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

carts.start({ bindAddress: HOST, bindPort: Number(PORT) });
