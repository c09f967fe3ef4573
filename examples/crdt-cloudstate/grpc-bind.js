import grpc from 'grpc';

/**
 * The SDK was written for the native package `grpc`, which has no build for a Node of today. `@grpc/grpc-js` takes its
 * place (package.json, and `overrides` in the repository's), but has no synchronous `Server.bind`, which the SDK calls
 * right before `start`. So here `bind` begins to listen and starts the server when it does, and `start` has nothing left
 * to do. A port that is taken ends the process.
 */
const { start } = grpc.Server.prototype;

grpc.Server.prototype.bind = function bind(address, credentials) {
  this.bindAsync(address, credentials, (error) => {
    if (error !== null) throw error;
    start.call(this);
  });
  return Number(address.slice(address.lastIndexOf(':') + 1));
};

grpc.Server.prototype.start = () => undefined;
