#!/bin/sh
# Fetches the official Node SDK, unpacked below DIR; nothing else on the machine changes.
#
#     tests/node/install.sh DIR && TANDEM_NODE_DIR=DIR python -m pytest tests/node
set -eu
mkdir -p "$1"
cd "$1"
if [ ! -d node_modules/twilio ]; then
    npm install --silent --no-audit --no-fund --prefix . twilio@6.2.0
fi
