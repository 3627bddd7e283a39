"""The most memory that was used since a moment: of the accelerator, or of this process."""

import resource

import keras

_MEGABYTE = 1e6


class PeakMemory:
    """The highest use of memory since the last `restart`, in bytes.

    That of the first accelerator where there is one, on TensorFlow, JAX and PyTorch; else that of
    this process. JAX cannot restart: its figures are the highest so far.

    Example:

    >>> memory = PeakMemory()
    >>> model.train_on_batch(clips, labels)
    >>> memory.bytes
    1412345856
    """

    def __init__(self):
        self._device = _accelerator()
        self.restart()

    @property
    def is_device(self) -> bool:
        """Whether it is the accelerator's."""
        return self._device is not None

    def restart(self) -> None:
        if self._device is not None:
            self._device.restart()
            return
        try:
            with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
                file.write("5")
        except OSError:
            # Not Linux, or not allowed: the highest since the process began.
            pass

    @property
    def bytes(self) -> int:
        return _status("VmHWM") if self._device is None else self._device.peak()


def resident_bytes() -> int:
    """Bytes of memory that this process has now."""
    return _status("VmRSS")


def _status(name: str) -> int:
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            line = next(line for line in file if line.startswith(f"{name}:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        # Not Linux: the most since the process began.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _accelerator():
    """What tells the use of the first accelerator; None without one."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return _TensorFlow() if tf.config.list_logical_devices("GPU") else None
    if backend == "jax":
        import jax

        device = jax.local_devices()[0]
        return _Jax(device) if device.platform != "cpu" else None
    import torch

    return _Torch() if torch.cuda.is_available() else None


class _TensorFlow:
    def restart(self):
        import tensorflow as tf

        tf.config.experimental.reset_memory_stats("GPU:0")

    def peak(self):
        import tensorflow as tf

        return tf.config.experimental.get_memory_info("GPU:0")["peak"]


class _Jax:
    def __init__(self, device):
        self._device = device

    def restart(self):
        pass

    def peak(self):
        return self._device.memory_stats()["peak_bytes_in_use"]


class _Torch:
    def restart(self):
        import torch

        torch.cuda.reset_peak_memory_stats()

    def peak(self):
        import torch

        return torch.cuda.max_memory_allocated()
