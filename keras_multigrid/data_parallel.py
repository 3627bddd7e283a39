"""Several devices on JAX, where one program for all of them sees whole batches.

So normalization groups, losses and the pairs of MixUp are those of one device.
"""

import contextlib
import functools
import weakref
from collections.abc import Iterator

import keras

_prepared: "weakref.WeakSet[keras.Model]" = weakref.WeakSet()


class DataParallel(keras.distribution.DataParallel):
    """`keras.distribution.DataParallel` that takes batches of any size.

    Keras' own ends in an error at a batch that its devices cannot share evenly, such as the last
    one of an evaluation. Here each device computes such a batch whole, and all of an evaluation.

    Args:
        device_mesh, devices, auto_shard_dataset: same as for `keras.distribution.DataParallel`.

    Example:

    >>> keras.distribution.set_distribution(DataParallel())
    >>> model = ...
    """

    _is_whole = False

    def get_data_layout(self, data_shape):
        if self._is_whole or data_shape[0] % self.device_mesh.devices.size:
            return keras.distribution.TensorLayout([None] * len(data_shape), self.device_mesh)
        return super().get_data_layout(data_shape)

    @contextlib.contextmanager
    def whole_batches(self) -> Iterator[None]:
        """Context in which each device gets every batch whole.

        Keras asks for the layout of the first batch alone, and takes it for the others, too.
        """
        self._is_whole = True
        try:
            yield
        finally:
            self._is_whole = False


def device_count() -> int:
    """Devices that share every mini-batch in this process's program: 1 without `DataParallel`."""
    distribution = keras.distribution.distribution()
    return 1 if distribution is None else distribution.device_mesh.devices.size


def use_devices(name: str, logical_cpus: int | None = None) -> None:
    """Let JAX train on one device or on all of this machine, before a model is made.

    Args:
        name: "one_device"; "mirrored", all devices; or "auto", the same unless a distribution is
            set already, which stays.
        logical_cpus: split the CPU into so many devices.
    """
    if logical_cpus is not None:
        import jax

        jax.config.update("jax_num_cpu_devices", logical_cpus)
    if name == "auto" and keras.distribution.distribution() is not None:
        return
    several = name != "one_device" and len(keras.distribution.list_devices()) > 1
    keras.distribution.set_distribution(DataParallel() if several else None)


def check_distribution() -> None:
    """Refuse distributions other than data parallel; give Keras' own batches of any size.

    Raises:
        ValueError: if `keras.distribution` shards the model.
    """
    distribution = keras.distribution.distribution()
    if distribution is None or isinstance(distribution, DataParallel):
        return
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(
            "Runs train with a whole model on every device. Received: a "
            f"{type(distribution).__name__}. Use keras.distribution.DataParallel, or none."
        )
    keras.distribution.set_distribution(DataParallel(device_mesh=distribution.device_mesh))


def prepare(model: keras.Model) -> None:
    """Let evaluations of a model take batches of any size, also those within `fit`."""
    distribution = keras.distribution.distribution()
    if not isinstance(distribution, DataParallel) or model in _prepared:
        return
    _prepared.add(model)
    evaluate = model.evaluate

    @functools.wraps(evaluate)
    def evaluate_whole(*args, **kwargs):
        with distribution.whole_batches():
            return evaluate(*args, **kwargs)

    model.evaluate = evaluate_whole
