"""Generated videos to try things with."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "motion_videos": "videos",
        "write_videos": "videos",
    },
)
