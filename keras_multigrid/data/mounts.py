"""Which files are on a disk of this machine: reading others may wait without end."""

import os

# Of disks and memory, as Linux names them. All others may be those of a network.
_LOCAL = frozenset(
    (
        *("bcachefs", "btrfs", "devtmpfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs"),
        *("iso9660", "jfs", "ntfs3", "overlay", "ramfs", "reiserfs", "squashfs", "tmpfs", "udf"),
        *("ufs", "vfat", "xfs", "zfs"),
    )
)


def is_local_folder(folder: str) -> bool:
    """Whether a folder is on a disk of this machine; False where that cannot be seen.

    It follows links, which may wait for a network disk the first time.
    """
    path = os.path.realpath(folder)
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return False
    kinds = {_plain(fields[4]): fields[fields.index("-") + 1] for fields in mounts}
    while path not in kinds and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return kinds.get(path) in _LOCAL


def _plain(path: str) -> str:
    """A path as it is, without the escapes of the table of mounts: octal numbers of spaces."""
    for number in (0o40, 0o11, 0o12, 0o134):
        path = path.replace(f"\\{number:03o}", chr(number))
    return path
