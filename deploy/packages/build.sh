#!/bin/sh
# Makes the packages from a static binary: build.sh NFPM BINARY MANUAL amd64|arm64 VERSION FOLDER
# MANUAL is the folder that manual.sh makes.
set -eu
cd "$(dirname "$0")/../.."
nfpm=$1
folder=$6
export BINARY="$2" MANUAL="$3" ARCH="$4" VERSION="$5"

mkdir -p "$folder"
# Equal sources give equal packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
for packager in deb rpm; do
    "$nfpm" package --config deploy/packages/nfpm.yaml --packager "$packager" --target "$folder/"
done
