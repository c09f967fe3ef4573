# The example function examples/flights. Build it from the repository's root:
# docker build -f deploy/flights.Dockerfile -t stateferry-flights .
FROM node:22-slim
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY examples ./examples
RUN npm ci --workspace=examples/flights --include-workspace-root=false --omit=dev \
  && npm cache clean --force \
  && npm run build --workspace=examples/flights
WORKDIR /app/examples/flights
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
USER node
EXPOSE 8080
CMD ["node", "index.js"]
