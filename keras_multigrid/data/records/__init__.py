"""Videos as records: the format, preparing them, reading them, serving them."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "RecordFormat": "format",
        "RecordedVideos": "record_set",
        "forget_bad": "preparing",
        "prepare": "preparing",
        "recorded_videos": "record_set",
        "verify": "verifying",
    },
)
