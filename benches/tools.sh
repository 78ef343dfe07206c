#!/bin/sh
# Installs nginx, wrk and node_exporter from Debian if they are missing. The benchmarks measure with them.
# tests/tools.sh installs the programs of the tests.
set -eu

missing=
need() {
    # On some machines nginx is not on the PATH of users.
    PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null || missing="$missing $2"
}
need nginx nginx
need wrk wrk
need prometheus-node-exporter prometheus-node-exporter
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive

# Debian starts a server when it installs one. The benchmarks start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
fi
$sudo apt-get update -q
# shellcheck disable=SC2086 # names of packages, one after the other
$sudo apt-get install -y -q --no-install-recommends $missing
