#!/bin/sh
# Builds the image from FOLDER/rootfs: build.sh VERSION amd64|arm64 FOLDER. Needs buildah, and root for its isolation by
# chroot. docker, podman and skopeo can load the archive that it writes into the folder.
set -eu
cd "$(dirname "$0")/../.."
version=$1
arch=$2
folder=$3
# The full name. With a short one the archive would have two names.
image=docker.io/library/iam-key-exporter:$version

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
storage=$(mktemp -d)
trap '$sudo rm -rf "$storage"' EXIT
# Equal sources give an equal layer. Only the description of the image has an id of buildah.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
in_storage() {
    $sudo buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run" "$@"
}
# OCI's format has no place for HEALTHCHECK.
in_storage bud --isolation chroot --format docker --squash --timestamp "$SOURCE_DATE_EPOCH" --target prebuilt \
    --platform "linux/$arch" \
    --build-arg VERSION="$version" --build-arg REVISION="$(git rev-parse HEAD)" \
    -f deploy/docker/Dockerfile -t "$image" "$folder"
rm -f "$folder/iam-key-exporter.tar"
in_storage push --format v2s2 "$image" "docker-archive:$folder/iam-key-exporter.tar:$image"
