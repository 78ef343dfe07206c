#!/bin/sh
# Runs each fuzz target, or those that are named, for FUZZ_SECONDS (60). What it finds goes to
# target/fuzz/artifacts, and inputs that reach new code to target/fuzz/corpus. With FUZZ_INPUT only this file
# is run.
set -eu
cd "$(dirname "$0")/.."

# Without a sanitizer stable Rust will do, and the exporter has no unsafe code.
run() { # TARGET (FILE | FOLDER...) -- OPTION...
    target=$1
    shift
    cargo fuzz run --sanitizer none --target-dir target/fuzz/build "$target" "$@" \
        -artifact_prefix="target/fuzz/artifacts/$target/" -timeout=10 -rss_limit_mb=2048
}

[ $# -gt 0 ] || set -- $(cargo fuzz list)
for target in "$@"; do
    corpus=target/fuzz/corpus/$target
    mkdir -p "$corpus" "target/fuzz/artifacts/$target"
    echo "fuzzing $target"
    if [ -n "${FUZZ_INPUT:-}" ]; then
        run "$target" "$FUZZ_INPUT" --
    else
        run "$target" "$corpus" "fuzz/corpus/$target" -- \
            -max_total_time="${FUZZ_SECONDS:-60}" -max_len=16384 -print_final_stats=1
    fi
done
