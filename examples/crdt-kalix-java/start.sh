#!/bin/sh
# Becomes the function, on HOST (127.0.0.1) and PORT (8080).
set -e
cd "$(dirname "$0")"
built=$(sh build.sh)
export HOST="${HOST:-127.0.0.1}" PORT="${PORT:-8080}"
exec java -cp "$built/classes:$built/lib/*" board.Main
