"""From videos to batches."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "ClipSampling": "clips",
        "VideoRecord": "videos",
        "VideoSet": "videos",
        "Views": "clips",
        "evaluation_batches": "pipeline",
        "recorded_videos": "records",
        "resample": "pipeline",
        "training_batches": "pipeline",
        "view_batches": "pipeline",
    },
    modules=("check", "clips", "lists", "records", "synthetic", "videos"),
)
