"""What a machine has to train with."""

import os
import pathlib
import shutil
import subprocess
from dataclasses import dataclass

import tensorflow as tf

_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a machine has.

    Args:
        cores: processor cores that this process may use.
        memory_bytes: of the machine, or of the container it runs in.
        gpus: devices that TensorFlow sees.
        gpu_bytes: memory of the smallest of them; None: there is none, or it is not known.
    """

    cores: int
    memory_bytes: int
    gpus: int = 0
    gpu_bytes: int | None = None

    def __str__(self) -> str:
        cores = f"{self.cores} core{'s' * (self.cores > 1)}"
        memory = f"{self.memory_bytes / 2**30:.0f} GiB of memory"
        if not self.gpus:
            return f"{cores}, {memory}, no GPU"
        size = "" if self.gpu_bytes is None else f" of {self.gpu_bytes / 2**30:.0f} GiB"
        return f"{cores}, {memory}, {self.gpus} GPU{'s' * (self.gpus > 1)}{size}"


def this_machine() -> Machine:
    """The machine that this process runs on."""
    has_affinity = hasattr(os, "sched_getaffinity")
    gpus = len(tf.config.list_physical_devices("GPU"))
    return Machine(
        cores=len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1,
        memory_bytes=_memory(),
        gpus=gpus,
        gpu_bytes=_gpu_memory() if gpus else None,
    )


def _memory() -> int:
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in map(pathlib.Path, _GROUP_LIMITS):
        text = path.read_text().strip() if path.is_file() else ""
        if text.isdecimal():
            sizes.append(int(text))
    return min(sizes)


def _gpu_memory() -> int | None:
    """Of the smallest GPU; None where the driver's program does not say."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        output = subprocess.run(query, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    sizes = [int(line) for line in output.stdout.split() if line.isdecimal()]
    return min(sizes) * 2**20 if sizes else None
