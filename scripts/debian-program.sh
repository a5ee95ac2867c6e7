#!/usr/bin/env bash
# Takes a program out of a Debian package, without installing the package: nothing of it is started, or stays on the machine.
#
#   debian-program.sh PACKAGE PATH-IN-PACKAGE TO
set -euo pipefail

package=$1 path=$2 to=$3
if ! command -v apt-get >/dev/null; then
	echo "this machine has no apt-get: put the program $(basename "$path") of Debian's package $package at $to" >&2
	exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work" # apt downloads as a user of its own
cd "$work"
if ! apt-get download -qq "$package" >/dev/null 2>&1; then
	if [ "$(id -u)" != 0 ]; then
		echo "Debian's package $package cannot be had: run apt-get update as root, then this again" >&2
		exit 1
	fi
	apt-get update -qq
	apt-get download -qq "$package" >/dev/null
fi
dpkg -x ./*.deb out
install -m 755 "out/$path" "$to"
