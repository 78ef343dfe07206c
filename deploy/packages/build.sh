#!/bin/sh
# Makes the packages of a static binary: build.sh NFPM BINARY amd64|arm64 VERSION FOLDER
set -eu
cd "$(dirname "$0")/../.."
nfpm=$1
folder=$5
export BINARY="$2" ARCH="$3" VERSION="$4"

mkdir -p "$folder"
# Equal sources give equal packages.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
for packager in deb rpm; do
    "$nfpm" package --config deploy/packages/nfpm.yaml --packager "$packager" --target "$folder/"
done
