#!/usr/bin/env bash
# Cargo's runner when cargo is root's: stages a test executable, pierless and the sources that tests read where the
# user pierless-test can reach them, and runs it as that user with a clean environment.
set -euo pipefail
executable=$1
shift
stage=$(mktemp -d "$PIERLESS_TEST_STAGE/XXX")
chmod 0755 "$stage"
mkdir "$stage/tree" "$stage/t"
cp "$executable" "$stage/test"
# Test executables lie in <profile>/deps, pierless itself beside that folder.
cp "$(dirname "$executable")/../pierless" "$stage/pierless" 2>/dev/null || true
cp -r Cargo.toml README.md src tests openapi systemd "$stage/tree/"
chmod -R a+rX "$stage"
chown pierless-test: "$stage/t"
as_user=exec
if [ -n "${PIERLESS_BLESS:-}" ]; then
    # What the tests renew is brought back from the stage.
    chown -R pierless-test: "$stage/tree/openapi"
    trap 'cp "$stage/tree/openapi/openapi.json" "$tree/openapi/"' EXIT
    as_user=command
fi
# What a person sets by hand to change a test (rounds, seeds, seconds, which points).
mapfile -t settings < <(env | grep -E '^(PIERLESS_(BLESS|CRASH_POINTS|FUZZ_.*|KILL_.*|NAMES_.*|TEST_KEEP)|RUST_TEST_THREADS)=' || true)
tree=$PWD
cd "$stage/tree"
"$as_user" setpriv --reuid pierless-test --regid pierless-test --init-groups --reset-env env \
    "${settings[@]}" PATH="$PIERLESS_FIXTURES/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin" TMPDIR="$stage/t" \
    PIERLESS_BIN="$stage/pierless" PIERLESS_FIXTURES="$PIERLESS_FIXTURES" CARGO_MANIFEST_DIR="$stage/tree" \
    RUST_BACKTRACE="${RUST_BACKTRACE:-1}" \
    "$stage/test" "$@"
