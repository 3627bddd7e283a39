"""What is wrong with a set of videos."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "CheckedVideos": "videos",
        "Finding": "videos",
        "Outcome": "video",
        "SetReport": "set_report",
        "check_video": "video",
        "check_videos": "videos",
    },
)
