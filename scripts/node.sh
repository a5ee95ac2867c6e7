#!/usr/bin/env bash
# Runs a command in console/ with a Node that is new enough: this machine's, or one from the npm registry, kept below build/.
#
#   node.sh npm ci
set -euo pipefail

cd "$(dirname "$0")/.."
enough() { "$1" -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || a == 20 && b >= 19 ? 0 : 1)' 2>/dev/null; }
own="$PWD/build/node/node_modules/node/bin"
if ! enough node; then
	if ! enough "$own/node"; then
		echo "installing Node 22 from the npm registry, below build/: the machine's is older than 20.19" >&2
		npm install --silent --no-audit --no-fund --prefix build/node node@22.22.0 >&2
	fi
	export PATH="$own:$PATH"
fi
cd console
exec "$@"
