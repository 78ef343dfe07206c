#!/bin/sh
# Pushes the images of a release as one for both processors, and prints its digest:
# push.sh FOLDER VERSION IMAGE [OPTION OF BUILDAH…]
set -eu
folder=$1
version=$2
image=$3
shift 3

storage=$(mktemp -d)
trap 'rm -rf "$storage"' EXIT
in_storage() {
    buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run" "$@"
}
in_storage manifest create release >&2
for arch in amd64 arm64; do
    gunzip <"$folder/iam-key-exporter-$version.image-$arch.tar.gz" >"$storage/$arch.tar"
    in_storage manifest add release "docker-archive:$storage/$arch.tar" >&2
done
# OCI's format has no place for HEALTHCHECK.
in_storage manifest push --all --format v2s2 --digestfile "$storage/digest" "$@" \
    release "docker://$image:$version" >&2
cat "$storage/digest"
