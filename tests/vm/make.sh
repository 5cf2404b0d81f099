#!/usr/bin/env bash
# Makes a Debian machine for tests/vm/run.py: tests/vm/make.sh RELEASE FOLDER. In FOLDER/RELEASE: disk.img, vmlinuz,
# initrd. What is there and was made by this very script stays. Nothing of pierless is in it: see inside.py.
set -euo pipefail
release=$1
folder=$2/$release
set_up() {
    root=$1
    for user in ann ben; do
        chroot "$root" useradd --create-home --shell /bin/bash "$user"
        mkdir -p "$root/home/$user/.ssh"
        cp "$folder/key.pub" "$root/home/$user/.ssh/authorized_keys"
        chroot "$root" chown -R "$user:" "/home/$user"
        chmod 700 "$root/home/$user" "$root/home/$user/.ssh"
    done
    install -D -m 600 "$folder/key" "$root/root/.ssh/id_ed25519"
    printf 'StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n' > "$root/root/.ssh/config"
    mkdir -p "$root/var/lib/systemd/linger"
    touch "$root/var/lib/systemd/linger/ann"
    echo machine > "$root/etc/hostname"
    printf '127.0.0.1 localhost machine\n' > "$root/etc/hosts"
    echo 'nameserver 10.0.2.3' > "$root/etc/resolv.conf"
    printf '/dev/vda / ext4 defaults 0 1\n' > "$root/etc/fstab"
    mkdir -p "$root/var/log/journal" "$root/srv/inside"
    # The network is there before anybody asks: qemu's, which is always the same.
    cat > "$root/etc/systemd/system/inside.service" <<'UNIT'
[Unit]
Description=What tests/vm/run.py brought
After=multi-user.target ssh.service
[Service]
StandardOutput=append:/dev/ttyS1
StandardError=append:/dev/ttyS1
ExecStartPre=tar -xf /dev/vdb -C /srv/inside
ExecStart=/srv/inside/inside.py
[Install]
WantedBy=multi-user.target
UNIT
    cat > "$root/etc/systemd/network/10-all.network" <<'UNIT'
[Match]
Name=en* eth*
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
UNIT
    chroot "$root" systemctl --quiet enable inside.service systemd-networkd.service
    chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
        dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer systemd-pstore.service
    rm -rf "$root"/var/cache/apt/*.bin "$root"/var/lib/apt/lists/*
    cp "$root"/boot/vmlinuz-* "$folder/vmlinuz"
    cp "$root"/boot/initrd.img-* "$folder/initrd"
    rm -f "$root"/boot/initrd.img-*
    # Without what is mounted in it.
    plain=$(mktemp -d)
    mount --bind "$root" "$plain"
    mkfs.ext4 -q -F -L root -E lazy_itable_init=1,lazy_journal_init=1 -d "$plain" "$folder/disk.img" 3G
    umount "$plain"
    rmdir "$plain"
}
if [ "${3:-}" = set-up ]; then
    set_up "$4"
    exit 0
fi
stamp=$(sha256sum < "$0")
[ "$(cat "$folder/stamp" 2>/dev/null || true)" != "$stamp" ] || exit 0
rm -rf "$folder"
mkdir -p "$folder"
mode=unshare
[ "$(id -u)" != 0 ] || mode=root
# A user manager for everybody who lingers; what `pierless` needs; an ssh server, for there are real logins.
packages=systemd,systemd-sysv,dbus,dbus-user-session,libpam-systemd,uidmap,passt,linux-image-cloud-amd64,openssh-server
packages+=,openssh-client,procps,iproute2,busybox-static,python3,kmod,ca-certificates

ssh-keygen -q -t ed25519 -N '' -f "$folder/key"
chmod a+rx "$folder"
mmdebstrap --quiet --mode="$mode" --variant=minbase --include="$packages" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --customize-hook="$(realpath "$0") $release $(realpath "$2") set-up \"\$1\"" "$release" /dev/null --format=null
echo "$stamp" > "$folder/stamp"
