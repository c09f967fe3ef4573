#!/bin/sh
# Becomes the function, on HOST (127.0.0.1) and PORT (8080).
set -e
cd "$(dirname "$0")"
built=$(sh build.sh)
export HOST="${HOST:-127.0.0.1}" PYTHONPATH="$built/generated" PYTHONDONTWRITEBYTECODE=1
exec "$built/venv/bin/python" cart.py
