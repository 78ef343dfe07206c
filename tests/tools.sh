#!/bin/sh
# Installs the programs that the tests run from Debian if they are missing.
set -eu

PATH=$PATH:/usr/sbin # has debootstrap, and is missing on the PATH of some users
missing=
need() {
    command -v "$1" >/dev/null || missing="$missing $2"
}
need prometheus prometheus
need promtool prometheus
need prometheus-alertmanager prometheus-alertmanager
need amtool prometheus-alertmanager
need npm "nodejs npm"
need chromium chromium
need chromedriver chromium-driver
need systemd-analyze systemd
need buildah buildah
need debootstrap debootstrap
need docker-compose docker-compose
need rpm rpm
need cpio cpio
need man man-db
need docker-registry docker-registry
need qemu-aarch64-static qemu-user-static
python3 -c "import ensurepip, venv" 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# shellcheck disable=SC2086 # names of packages, one after the other
$sudo apt-get install -y -q --no-install-recommends $missing
