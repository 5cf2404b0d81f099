#!/usr/bin/env bash
# Tries pierless on real machines: boots a Debian 12 and a Debian 13 with systemd, emulated, and runs the checks of
# inside/ in them. Arguments go to run.py (`--only WORD`, `--keep`). The machines' disks stay in target/vm.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/prepare.sh
target=${CARGO_TARGET_DIR:-target}
making=()
for release in bookworm trixie; do
    tests/vm/make.sh "$release" "$target/vm" & making+=($!)
done
cargo build --locked
for pid in "${making[@]}"; do wait "$pid"; done
PIERLESS_FIXTURES=$(realpath "$target/fixtures")
export PIERLESS_FIXTURES
running=() failed=0
for release in bookworm trixie; do
    tests/vm/run.py "$release" "$target/vm" "$target"/*/debug/pierless "$@" & running+=($!)
done
for pid in "${running[@]}"; do wait "$pid" || failed=1; done
exit "$failed"
