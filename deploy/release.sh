#!/bin/sh
# Collects the files of a release in an empty folder, after `make release` built them:
# release.sh PYTHON VERSION FOLDER
set -eu
cd "$(dirname "$0")/.."
python=$1
version=$2
folder=$3
name=iam-key-exporter
release=$name-$version

rm -rf "$folder"
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}

# Packs a folder of $work. Equal files give equal archives.
pack() {
    tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX \
        --mtime="@$SOURCE_DATE_EPOCH" -c "$1" | gzip -9 --no-name >"$folder/$1.tar.gz"
}

for machine in x86_64:amd64 aarch64:arm64; do
    arch=${machine#*:}
    archive=$release.linux-$arch
    mkdir "$work/$archive"
    cp "target/static/$name-${machine%:*}" "$work/$archive/$name"
    cp -r LICENSE README.md CHANGELOG.md target/manual/man target/manual/completions "$work/$archive"
    pack "$archive"
    gzip -9 --no-name <"target/image/$arch/$name.tar" >"$folder/$release.image-$arch.tar.gz"
done

cp "target/packages/${name}_${version}_amd64.deb" "target/packages/${name}_${version}_arm64.deb" \
    "target/packages/$release-1.x86_64.rpm" "target/packages/$release-1.aarch64.rpm" "$folder"

# Helm packs files with their times, which differ from checkout to checkout.
cp -rL "deploy/helm/$name" "$work/$name"
find "$work/$name" -exec touch --date "@$SOURCE_DATE_EPOCH" {} +
"$python" -c 'import helm_python, sys; helm_python.package(sys.argv[1], destination=sys.argv[2])' \
    "$work/$name" "$folder"

archive=$release.rules-and-dashboards
git archive --prefix="$archive/" HEAD \
    LICENSE dashboards deploy/alertmanager deploy/prometheus docs/alerting.md docs/runbooks.md |
    gzip -9 --no-name >"$folder/$archive.tar.gz"

cp "target/$name.cdx.json" "$folder/$release.cdx.json"

cd "$folder"
sha256sum -- "$name"* >SHA256SUMS
