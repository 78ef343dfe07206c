#!/bin/sh
# Has a binary for this machine write the manual and the completions of shells for the packages:
# manual.sh BINARY FOLDER
set -eu
binary=$1
folder=$2

rm -rf "$folder"
mkdir -p "$folder/man" "$folder/completions"
"$binary" manual "$folder/man"
# Without names and times, so that equal pages give equal files.
gzip -9 --no-name "$folder"/man/*
"$binary" completions bash >"$folder/completions/iam-key-exporter"
"$binary" completions zsh >"$folder/completions/_iam-key-exporter"
"$binary" completions fish >"$folder/completions/iam-key-exporter.fish"
