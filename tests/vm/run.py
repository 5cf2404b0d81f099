#!/usr/bin/env python3
"""Boots a Debian machine with pierless in it, and reports what its checks say.

    tests/vm/run.py RELEASE FOLDER PIERLESS [--only WORD] [--keep]

The machine is that of make.sh, in FOLDER/RELEASE; what changes on its disk is thrown away. inside.py runs in it as root
at every boot, speaks on the second serial line, and decides when the machine is done, or loses its power. Emulated, so
it needs no privilege and no /dev/kvm.
"""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).parent
# A boot that says nothing for so long has failed, in seconds.
SILENCE = 600
BOOTS = 40


def brought(folder, program, only):
    """The archive that the machine unpacks: a file that it sees as its second disk."""
    stripped = folder / "pierless"
    subprocess.run(["strip", "-o", stripped, program], check=True)
    docker = pathlib.Path(os.environ.get("PIERLESS_FIXTURES", "")) / "bin/docker"
    docker = docker if docker.exists() else shutil.which("docker")
    path = folder / "brought.tar"
    with tarfile.open(path, "w") as tar:
        tar.add(stripped, "pierless")
        tar.add(docker, "docker")
        for file in sorted((HERE / "inside").glob("*.py")):
            tar.add(file, file.name)
        if only:
            (folder / "only").write_text(only)
            tar.add(folder / "only", "only")
    # A disk has whole sectors.
    size = path.stat().st_size
    os.truncate(path, (size + 1048575) // 1048576 * 1048576)
    return path


class Machine:
    def __init__(self, image, folder, payload):
        self.image, self.folder = image, folder
        disk = folder / "disk.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", image / "disk.img", disk], check=True)
        self.command = [
            "qemu-system-x86_64", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "1536",
            "-display", "none", "-monitor", "none", "-no-reboot",
            "-kernel", image / "vmlinuz", "-initrd", image / "initrd",
            "-append", "root=/dev/vda rw console=ttyS0 quiet mitigations=off audit=0 apparmor=1",
            "-drive", f"file={disk},if=virtio,format=qcow2",
            "-drive", f"file={payload},if=virtio,format=raw,readonly=on",
            "-nic", "user,model=virtio-net-pci",
            "-device", "virtio-rng-pci",
            "-serial", f"file:{folder / 'console.log'}", "-serial", "stdio",
        ]

    def boot(self, hear):
        """Runs until the machine is off; `hear` is told each line, and says whether it goes on."""
        qemu = subprocess.Popen([str(word) for word in self.command], stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, text=True, errors="replace")
        heard = [time.monotonic()]
        over = threading.Event()

        def watch():
            while not over.wait(5):
                if time.monotonic() - heard[0] > SILENCE:
                    qemu.kill()

        threading.Thread(target=watch, daemon=True).start()
        try:
            for line in qemu.stdout:
                heard[0] = time.monotonic()
                if not hear(line.rstrip()):
                    qemu.kill()
                    break
            return time.monotonic() - heard[0] <= SILENCE
        finally:
            over.set()
            qemu.kill()
            qemu.wait()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("release")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("pierless")
    parser.add_argument("--only", help="only checks with one of these words, parted by commas, in their names")
    parser.add_argument("--keep", action="store_true", help="keep the machine's disk and its console's log")
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="pierless-vm-", dir=os.environ.get("TMPDIR", "/var/tmp")))
    passed, failed, done = 0, [], False
    began = time.monotonic()

    def hear(line):
        nonlocal passed, done
        word, _, rest = line.partition(" ")
        if word == "ok":
            passed += 1
        elif word == "not-ok":
            failed.append(rest)
        elif word == "done":
            done = True
        print(f"{args.release} {time.monotonic() - began:6.1f}  {line}", flush=True)
        return word not in ("cut", "done")

    try:
        machine = Machine(args.folder.resolve() / args.release, folder, brought(folder, args.pierless, args.only))
        for _ in range(BOOTS):
            spoke = machine.boot(hear)
            if done or not spoke:
                break
        if not done:
            failed.append("the machine did not finish")
            print((folder / "console.log").read_text(errors="replace")[-4000:])
    finally:
        if args.keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    print(f"{args.release}: {passed} passed, {len(failed)} failed, {time.monotonic() - began:.0f} s")
    for name in failed:
        print(f"{args.release}: FAILED {name}")
    sys.exit(bool(failed) or passed == 0)


if __name__ == "__main__":
    main()
