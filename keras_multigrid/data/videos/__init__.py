"""Videos: where their frames are, and reading them."""

from keras_multigrid.lazy import public_names

__getattr__, __dir__, __all__ = public_names(
    __name__,
    {
        "DecodeError": "open_video",
        "OpenVideo": "open_video",
        "Span": "span",
        "VideoRecord": "video",
        "VideoSet": "video",
        "decode_frames": "decode",
        "opened": "decode",
        "read_video": "decode",
    },
)
