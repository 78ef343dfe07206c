#!/bin/sh
# Makes the image of FOLDER/rootfs: build.sh VERSION amd64|arm64 FOLDER. Needs buildah, and root for its isolation by
# chroot. The archive in the folder can be loaded by docker, podman and skopeo.
set -eu
cd "$(dirname "$0")/../.."
version=$1
arch=$2
folder=$3

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
storage=$(mktemp -d)
trap '$sudo rm -rf "$storage"' EXIT
# Equal sources give equal layers.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
in_storage() {
    $sudo buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run" "$@"
}
# The other format has no place for HEALTHCHECK.
in_storage bud --isolation chroot --format docker --timestamp "$SOURCE_DATE_EPOCH" --target prebuilt \
    --platform "linux/$arch" \
    --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD)" \
    -f deploy/docker/Dockerfile -t "iam-key-exporter:$version" "$folder"
rm -f "$folder/iam-key-exporter.tar"
in_storage push --format v2s2 "iam-key-exporter:$version" \
    "docker-archive:$folder/iam-key-exporter.tar:iam-key-exporter:$version"
