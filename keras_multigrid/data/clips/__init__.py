"""Which frames and which part of the picture make a clip."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "Clip": "clip",
        "ClipSampling": "sampling",
        "Passages": "passages",
        "Views": "views",
    },
)
