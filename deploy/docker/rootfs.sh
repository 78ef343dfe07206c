#!/bin/sh
# Makes the file system of the image from a static binary and the certificates of this machine: rootfs.sh BINARY FOLDER
set -eu
binary=$1
folder=$2

certificates=/etc/ssl/certs/ca-certificates.crt
[ -s "$certificates" ] || { echo "no $certificates: install ca-certificates"; exit 1; }
rm -rf "$folder"
mkdir -p "$folder/usr/bin" "$folder/etc/ssl/certs"
cp "$binary" "$folder/usr/bin/iam-key-exporter"
cp "$certificates" "$folder/etc/ssl/certs/ca-certificates.crt"
# Everybody can read them and only root can change them, whatever the umask is.
chmod -R u=rwX,go=rX "$folder"
chmod 755 "$folder/usr/bin/iam-key-exporter"
