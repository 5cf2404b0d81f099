#!/usr/bin/env bash
# Makes a machine ready for the tests: packages, a user to test as, devices, and the fixtures that need tools of the
# host (a Debian root file system, the docker command line with compose, docker-py). Runs as root, or as a user who may sudo.
# Idempotent; what it makes beside packages and the user lies in target/fixtures.
set -euo pipefail
cd "$(dirname "$0")/.."
fixtures=${CARGO_TARGET_DIR:-target}/fixtures
mkdir -p "$fixtures/bin"

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# What the build needs, then what the tests call. systemd: systemd-socket-activate and systemd-analyze. qemu-utils,
# e2fsprogs, mount: a disk that logs its writes. qemu-system-x86, binutils, openssh-client: machines of tests/vm. fuse3: a
# file system that does not answer.
packages=(gcc libc6-dev libseccomp-dev pkg-config
    uidmap passt nftables busybox-static strace mmdebstrap systemd util-linux procps python3 python3-venv ca-certificates xz-utils zstd
    qemu-utils e2fsprogs mount docker-registry skopeo openssl qemu-system-x86 binutils openssh-client fuse3)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}"
fi

# Where udev does not run, these two keep the kernel's mode; elsewhere every user may open them.
for device in /dev/net/tun /dev/fuse; do
    if [ -e "$device" ] && [ "$(stat -c %a "$device")" != 666 ]; then as_root chmod 0666 "$device"; fi
done

# The tests run without privilege. Root lends them a user of their own; useradd gives it subordinate ids.
if [ "$(id -u)" = 0 ]; then
    id pierless-test >/dev/null 2>&1 || useradd --create-home --shell /bin/bash pierless-test
    user=pierless-test
else
    user=$(id -un)
fi
grep -q "^$user:" /etc/subuid || as_root usermod --add-subuids 1000000-1065535 --add-subgids 1000000-1065535 "$user"

# The docker command line alone, without the daemon that Debian's docker.io would start.
if ! command -v docker >/dev/null && [ ! -x "$fixtures/bin/docker" ]; then
    unpacked=$(mktemp -d)
    as_root apt-get update -q
    package=docker-cli
    apt-cache show docker-cli >/dev/null 2>&1 || package=docker.io
    (cd "$unpacked" && apt-get download -q "$package" && dpkg-deb -x ./*.deb tree)
    cp "$unpacked/tree/usr/bin/docker" "$fixtures/bin/docker"
    rm -rf "$unpacked"
fi

# Compose 2 is in Debian from its next release on: by lists of their own, its program is taken out of that package.
if [ ! -x "$fixtures/cli-plugins/docker-compose" ]; then
    apart=$(mktemp -d)
    mkdir -p "$apart/lists/partial" "$apart/cache/archives/partial"
    keys=/usr/share/keyrings/debian-archive-keyring.gpg
    echo "deb [signed-by=$keys] http://deb.debian.org/debian trixie main" >"$apart/sources.list"
    own=(-q -o "Dir::Etc::SourceList=$apart/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Acquire::Languages=none
        -o "Dir::State::Lists=$apart/lists" -o "Dir::Cache=$apart/cache" -o "APT::Sandbox::User=$(id -un)")
    apt-get "${own[@]}" update
    (cd "$apart" && apt-get "${own[@]}" download docker-compose && dpkg-deb -x ./*.deb tree)
    mkdir -p "$fixtures/cli-plugins"
    cp "$apart/tree/usr/libexec/docker/cli-plugins/docker-compose" "$fixtures/cli-plugins/docker-compose"
    rm -rf "$apart"
fi

# Python packages of versions that are not the distribution's: docker-py, and what makes requests of a description.
python_packages() {
    [ ! -e "$fixtures/$1/.complete" ] || return 0
    rm -rf "${fixtures:?}/$1" "$fixtures/venv"
    /usr/bin/python3 -m venv "$fixtures/venv"
    "$fixtures/venv/bin/pip" install -q --disable-pip-version-check --target "$fixtures/$1" "${@:2}"
    rm -rf "$fixtures/venv"
    touch "$fixtures/$1/.complete"
}
python_packages py 'docker>=7.1,<8'
python_packages fuzz 'schemathesis>=4.32,<5'

# docker-py with its own tests, which only source packages have, and what they need beside it.
python_packages docker-py 'docker==7.0.0' 'requests<2.32' 'pytest<9' paramiko
if [ ! -e "$fixtures/docker-py/tests" ]; then
    sources=$(mktemp -d)
    /usr/bin/python3 -m venv "$sources/venv"
    (cd "$sources" && venv/bin/pip download -q --disable-pip-version-check --no-deps --no-binary :all: docker==7.0.0)
    tar -xzf "$sources"/docker-7.0.0.tar.gz -C "$sources"
    mv "$sources/docker-7.0.0/tests" "$fixtures/docker-py/tests"
    rm -rf "$sources"
fi

# A real distribution: the tests make an image of this root file system.
if [ ! -e "$fixtures/debian.tar" ]; then
    mode=unshare
    [ "$(id -u)" != 0 ] || mode=root
    mmdebstrap --quiet --mode="$mode" --variant=minbase bookworm "$fixtures/debian.tar.part" --format=tar
    mv "$fixtures/debian.tar.part" "$fixtures/debian.tar"
fi
