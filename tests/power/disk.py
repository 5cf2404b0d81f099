"""A disk that remembers every write in order, and what it would hold had the power gone after any of them.

qemu's storage daemon exports an image as a file (FUSE) and logs each write and flush in the format of Linux's
dm-log-writes; a loop device over that file is the disk. So the loop works without a device mapper and without a
virtual machine.
"""

import os
import struct
import subprocess
import time

SECTOR = 512
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
MAGIC = 0x6A736677736872


def sh(*command, **options):
    return subprocess.run(command, check=True, text=True, capture_output=True, **options).stdout.strip()


class Disk:
    """An ext4 file system of `mib` MiB, mounted at `folder/mnt`, on a disk that logs its writes to `folder/log`."""

    def __init__(self, folder, mib):
        self.folder, self.size = folder, mib << 20
        self.marks = 0
        self.mnt = f"{folder}/mnt"
        os.mkdir(self.mnt)
        for name in "data", "log", "export":
            with open(f"{folder}/{name}", "wb") as file:
                file.truncate(self.size if name == "data" else 0)
        with open(f"{folder}/log", "wb") as file:
            file.truncate(16 << 30)
        self.daemon = subprocess.Popen([
            "qemu-storage-daemon",
            "--blockdev", f"driver=file,node-name=data,filename={folder}/data",
            "--blockdev", f"driver=file,node-name=log,filename={folder}/log",
            "--blockdev", f"driver=blklogwrites,node-name=both,file=data,log=log,log-sector-size={SECTOR}",
            "--export", f"type=fuse,id=both,node-name=both,mountpoint={folder}/export,writable=on",
        ])
        while os.stat(f"{folder}/export").st_size != self.size:
            if self.daemon.poll() is not None:
                raise SystemExit("qemu-storage-daemon has ended")
            time.sleep(0.05)
        self.device = sh("losetup", "--find", "--show", f"{folder}/export")
        # The last MiB is no file system's: marks are written there.
        sh("mkfs.ext4", "-q", "-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", self.device, f"{mib - 1}M")
        # A flush of the kernel's own every five seconds would save what nobody has synced.
        sh("mount", "-o", "commit=300,nodiscard", self.device, self.mnt)

    def mark(self):
        """Notes in the log, after all that has been written so far, that something was acknowledged; counts."""
        self.marks += 1
        page = bytearray(4096)
        page[:12] = b"MARK" + struct.pack("<Q", self.marks)
        memory = memoryview_aligned(page)
        fd = os.open(self.device, os.O_WRONLY | os.O_DIRECT)
        try:
            os.pwritev(fd, [memory], self.size - (1 << 20))
        finally:
            os.close(fd)
        return self.marks

    def close(self):
        """Unmounts and ends the daemon; the log is whole then."""
        subprocess.run(["umount", "--lazy", self.mnt], check=False)
        subprocess.run(["losetup", "--detach", self.device], check=False)
        self.daemon.terminate()
        self.daemon.wait()
        subprocess.run(["umount", "--lazy", f"{self.folder}/export"], check=False, capture_output=True)


def memoryview_aligned(page):
    """The same bytes at an address that O_DIRECT takes."""
    import mmap

    memory = mmap.mmap(-1, len(page))
    memory[:] = bytes(page)
    return memory


class Replay:
    """The log's writes, put one by one onto an image that was empty."""

    def __init__(self, log, image, size, mark_at):
        self.log = open(log, "rb")
        self.image = open(image, "w+b")
        self.image.truncate(size)
        self.mark_at = mark_at
        magic, version, self.count, sector = struct.unpack("<QQQI", self.log.read(28))
        assert (magic, version, sector) == (MAGIC, 1, SECTOR), "not a log of writes"
        self.log.seek(SECTOR)
        self.done = 0
        self.acknowledged = 0

    def step(self):
        """Applies the next entry: `(its flags, whether it wrote into the file system)`, or none at the end."""
        if self.done == self.count:
            return None
        sector, sectors, flags, length = struct.unpack("<QQQQ", self.log.read(SECTOR)[:32])
        self.done += 1
        if flags & MARK:
            self.log.seek(length, os.SEEK_CUR)
            return flags, False
        if flags & DISCARD or not sectors:
            return flags, False
        data = self.log.read(sectors * SECTOR)
        if sector * SECTOR >= self.mark_at:
            self.acknowledged = struct.unpack("<Q", data[4:12])[0] if data[:4] == b"MARK" else self.acknowledged
            return flags, False
        self.image.seek(sector * SECTOR)
        self.image.write(data)
        return flags, True

    def copy(self, to):
        """The disk as the power left it."""
        self.image.flush()
        sh("cp", "--sparse=always", "--reflink=auto", self.image.name, to)
