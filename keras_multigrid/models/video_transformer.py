"""What video transformers share, beside what all video networks do."""

import math

import keras

from keras_multigrid.models.video_model import VideoModel


class VideoTransformer(VideoModel):
    """A network whose positions are interpolated to the grid of the clip: `MViT`, `VideoMAE`."""

    min_frames = 2

    @property
    def parameter_count(self) -> int:
        """Learned numbers: all weights, tables of positions and frozen ones included."""
        return sum(math.prod(weight.shape) for weight in self.weights)

    def fully_convolutional(self, num_frames: int, crop_size: int) -> keras.Model:
        """The network itself: it sees larger clips whole, and no window moves over them.

        Positions are interpolated to any size. Published networks are tested at the size that they
        were trained on.
        """
        if not self._config["include_top"]:
            raise ValueError("A network without classifier has no scores: use include_top=True.")
        return self
