"""From videos to batches."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "BadVideos": "bad_videos",
        "ClipSampling": "clips",
        "IndexedVideos": "indexed_videos",
        "Input": "input",
        "VideoRecord": "videos",
        "VideoSet": "videos",
        "Views": "clips",
        "evaluation_batches": "input",
        "from_hugging_face": "hugging_face_videos",
        "from_tfds": "tfds_videos",
        "recorded_videos": "records",
        "resample": "resampling",
        "centre_clips": "resampling",
        "training_batches": "input",
        "view_batches": "input",
    },
    modules=("check", "clips", "lists", "records", "synthetic", "videos"),
)
