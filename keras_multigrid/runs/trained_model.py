"""A trained network and what it takes to use it, from a run or from a preset."""

import dataclasses
import os

import keras

from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.models.preset_folder import from_preset, read_preset
from keras_multigrid.runs.settings import MultiViewTest
from keras_multigrid.schedule import Grid
from keras_multigrid.task import Task, classification


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A trained network, its classes, and its clips.

    Args:
        network: scores clips.
        task: names its classes.
        sampling: stride and colours of its clips.
        test: frames and sizes of its clips, and how many of them are scored at a time.
    """

    network: keras.Model
    task: Task
    sampling: ClipSampling
    test: MultiViewTest

    @classmethod
    def from_preset(
        cls, folder: str, *, views: Views = Views(), batch_size: int = 8
    ) -> "TrainedModel":
        """The network of a preset.

        Args:
            folder: same as for `models.from_preset`.
            views: clips and crops of each video.
            batch_size: views at a time.

        Raises:
            FileNotFoundError, CheckpointError: same as for `models.from_preset`.
        """
        preset = read_preset(folder)
        clips = preset.preprocessing
        grid = Grid(batch_size=1, num_frames=clips.num_frames, crop_size=clips.crop_size)
        colours = ("stride", "segments", "mean", "std", "subtract_clip_mean")
        sampling = ClipSampling(**{name: getattr(clips, name) for name in colours})
        test = MultiViewTest(
            run_dir=os.fspath(folder),
            grid=grid,
            views=views,
            crop_size=clips.test_crop_size,
            batch_size=batch_size,
        )
        task = classification(preset.class_names, multi_label=preset.multi_label)
        return cls(network=from_preset(folder), task=task, sampling=sampling, test=test)

    def features(self) -> keras.Model:
        """From clips to what the classifier sees: pooled features, (batch, channels).

        Raises:
            ValueError: the network has no classifier of this package's.
        """
        layers = {layer.name: layer for layer in self.network.layers}
        head = layers.get("head-dropout", layers.get("head-projection"))
        if head is None:
            raise ValueError(
                f"Features are what the layer 'head-projection' sees, which {self.network.name} "
                "has not. Use a network of keras_multigrid.models with its classifier."
            )
        return keras.Model(self.network.inputs[0], head.input, name=f"{self.network.name}_features")
