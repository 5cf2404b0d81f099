#!/usr/bin/env bash
# Prepares the machine and runs all tests: the one command of the README. Arguments go to `cargo test`.
# As root, cargo builds as root and every test runs as the user pierless-test (see tests/as-user.sh); as anybody else,
# the tests run as that user, and sudo is asked for what packages are missing.
set -euo pipefail
cd "$(dirname "$0")/.."
tests/prepare.sh

fixtures=$(realpath "${CARGO_TARGET_DIR:-target}/fixtures")
# A short path: the names of unix sockets are bounded, and the checkout may lie where the test user cannot look.
stage=$(mktemp -d /var/tmp/pt.XXXXXX)
trap 'rm -rf "$stage"' EXIT
chmod 0755 "$stage"
export PIERLESS_TEST_STAGE=$stage
if [ "$(id -u)" = 0 ]; then
    host=$(rustc -vV | sed -n 's/^host: //p' | tr 'a-z-' 'A-Z_')
    export "CARGO_TARGET_${host}_RUNNER=$PWD/tests/as-user.sh"
    cp -a "$fixtures" "$stage/fixtures"
    chmod -R a+rX "$stage/fixtures"
    export PIERLESS_FIXTURES=$stage/fixtures
else
    export PIERLESS_FIXTURES=$fixtures TMPDIR=$stage
fi
cargo test --no-fail-fast "$@"
