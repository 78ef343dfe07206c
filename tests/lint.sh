#!/bin/sh
# Checks invariants 3 and 4 of src/lib.rs: the folders that may use certain crates, and the modules that may not read a
# clock. Comments may mention them.
set -eu
cd "$(dirname "$0")/.."
status=0

# Prints the lines that match in these files, and the rule that they break.
forbid() { # RULE PATTERN FILE...
    rule=$1 pattern=$2
    shift 2
    [ $# -gt 0 ] || { echo "no files to check: $rule"; exit 2; }
    found=0
    awk -v pattern="(^|[^A-Za-z0-9_])($pattern)" '
        { code = $0; sub(/(^|[ \t])\/\/.*/, "", code) }
        code ~ pattern { print FILENAME ":" FNR ": " $0; found = 1 }
        END { exit found }
    ' "$@" || found=$?
    case $found in
    0) ;;
    1) echo "$rule"; status=1 ;;
    *) exit "$found" ;;
    esac
}

# Code uses a crate by a path into it, or imports it as a whole.
only_under() { # FOLDER WHAT CRATES
    # shellcheck disable=SC2046 # names of files, without spaces
    forbid "$2 may only be named under $1: invariant 4 of src/lib.rs" "($3)(::|;| as )" \
        $(find src -name '*.rs' ! -path "$1/*")
}
only_under src/source/aws "The AWS SDK" 'aws_(sdk_[a-z]+|config|smithy_[a-z_]+|credential_types)'
only_under src/metrics "The prometheus crate" 'prometheus'
only_under src/web "hyper" 'hyper(_util)?'

# Each entry is a file or a folder below src.
for module in report policy confirmation service_credentials evidence state controls findings metrics/page metrics/text; do
    # shellcheck disable=SC2046 # names of files, without spaces
    set -- $(find src -path "src/$module.rs" -o -path "src/$module/*.rs")
    if [ $# -gt 0 ]; then
        forbid "src/$module may not read a clock, pass now to it: invariant 3 of src/lib.rs" \
            '(Utc|Local|SystemTime|Instant)::now|Clock|[A-Za-z0-9_)]*[.]elapsed[(]' "$@"
    else
        echo "there is no src/$module: correct the list of pure modules in tests/lint.sh"
        status=1
    fi
done
exit $status
