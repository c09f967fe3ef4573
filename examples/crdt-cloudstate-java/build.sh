#!/bin/sh
# Builds what is not there yet, and prints the folder where it is.
cd "$(dirname "$0")" && exec node ../build-java.js
