#!/bin/sh
# Installs the programs that the measurements compare with or measure by, those that are missing,
# from Debian. What the tests need comes from tests/tools.sh.
set -eu

missing=
need() {
    # nginx is not on the PATH of everybody.
    PATH="$PATH:/usr/sbin" command -v "$1" >/dev/null || missing="$missing $2"
}
need nginx nginx
need wrk wrk
need prometheus-node-exporter prometheus-node-exporter
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive

# Debian starts a server when it installs one. The measurements start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap '$sudo rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
    $sudo chmod +x "$policy"
fi
$sudo apt-get update -q
# shellcheck disable=SC2086 # names of packages, one after the other
$sudo apt-get install -y -q --no-install-recommends $missing
