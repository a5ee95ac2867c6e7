#!/usr/bin/env bash
# Installs what this machine lacks, from Debian's packages, and says what it installs.
#
#   install-deps.sh nodes     what real nodes need: containerd, runc, CNI plugins, nftables, iptables, and instances of inotify
#   install-deps.sh race      what the race detector needs: a C compiler and libc's headers
#   install-deps.sh unit      what tests of sources need: git, ssh-keygen, sshd, gpg
#   install-deps.sh generate  what `make generate` needs: protoc
#   install-deps.sh moto      what the AWS account of tests needs: Python with venv
#   install-deps.sh console   what builds and tests the web console: node, npm and Chromium
set -euo pipefail

declare -A package_of # by a command, or by a file that the package brings
without="it is needed" # what follows where it stays missing
must=1                 # whether that is an error
case "${1:-}" in
nodes)
	package_of=(
		[containerd]=containerd [runc]=runc [nft]=nftables [iptables]=iptables [ip]=iproute2
		[git]=git [/usr/lib/cni/bridge]=containernetworking-plugins
	)
	without="without them clusters have a control plane and no nodes"
	must=0 ;;
race) package_of=([gcc]=gcc [/usr/include/stdlib.h]=libc6-dev) ;;
unit) package_of=([git]=git [ssh-keygen]=openssh-client [/usr/sbin/sshd]=openssh-server [gpg]=gnupg) ;;
generate) package_of=([protoc]=protobuf-compiler) ;;
moto) python3 -c 'import ensurepip' 2>/dev/null || package_of=([/usr/share/doc/python3-venv]=python3-venv) ;;
console) package_of=([node]=nodejs [npm]=npm [chromium]=chromium) ;;
*)
	echo "usage: install-deps.sh nodes|race|unit|generate|moto|console" >&2
	exit 2 ;;
esac

export PATH="$PATH:/usr/sbin:/sbin"

# A node takes nine instances of inotify, and of the 128 that a kernel allows somebody by itself a dozen nodes leave none. It is so until the machine starts again.
instances=/proc/sys/fs/inotify/max_user_instances
if [ "$1" = nodes ] && [ "$(id -u)" = 0 ] && [ "$(cat $instances)" -lt 1024 ]; then
	echo "allowing 1024 instances of inotify, which nodes need: it was $(cat $instances)"
	echo 1024 2>/dev/null >$instances || echo "it cannot be done here: a dozen nodes will be too many" >&2
fi

missing=()
for what in "${!package_of[@]}"; do
	command -v "$what" >/dev/null 2>&1 || [ -e "$what" ] || missing+=("${package_of[$what]}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "missing: ${missing[*]} (install as root; $without)" >&2
	exit "$must"
fi
if ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}; this machine has no apt-get, so please install them" >&2
	exit 1
fi
echo "installing from Debian's packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
