"""One prediction a video, from several clips and crops of it."""

import functools
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import distribute
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import view_batches
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.progress import Progress
from keras_multigrid.runs.settings import MultiViewTest
from keras_multigrid.schedule import Grid


def tested_network(network: keras.Model, test: MultiViewTest) -> tuple[keras.Model, int]:
    """What scores views, and their height and width, in pixels.

    Raises:
        ValueError: the network does not take them.
    """
    frames, side = test.grid.num_frames, test.grid.crop_size
    crop_size = test.view_size
    if hasattr(network, "check_clip_size"):
        network.check_clip_size(frames, crop_size)
    if crop_size > side and hasattr(network, "fully_convolutional"):
        network = network.fully_convolutional(frames, side)
    return network, crop_size


class Predictor:
    """Scores of whole videos, from several views of each.

    Args:
        network: the network.
        sampling: the settings of the training: stride and colours.
        workers: clips read at a time; None takes the number of cores.
        strategy: the distribution strategy; None takes the current one.
        test: grid, views, combine, crop_size and batch_size, same as for `runs.MultiViewTest`.

    Example:

    >>> predictor = Predictor(model, sampling=ClipSampling(), grid=schedule.base)
    >>> scores, seen = predictor.scores([VideoRecord(path="my.mp4", label=0)])
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        sampling: ClipSampling,
        workers: int | None = None,
        strategy: tf.distribute.Strategy | None = None,
        **test,
    ):
        test = MultiViewTest(run_dir="", **test)
        self._network, crop_size = tested_network(network, test)
        self._views, frames = test.views, test.grid.num_frames
        self._strategy = tf.distribute.get_strategy() if strategy is None else strategy
        self._takes_mean = test.combine == "mean"
        batch_size = test.batch_size * distribute.device_count(self._strategy)
        self._settings = {
            "views": test.views,
            "grid": Grid(batch_size=batch_size, num_frames=frames, crop_size=crop_size),
            "sampling": sampling,
            "workers": workers,
        }
        self.seconds, self.num_views = 0.0, 0

    def scores(
        self,
        videos: Sequence[VideoRecord],
        *,
        bad_videos: BadVideos | None = None,
        verbose: bool = True,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Scores of each video, (videos, classes) float64, and whether it could be read.

        Args:
            videos: the videos; labels do not matter.
            bad_videos: counts and lists files that cannot be read.
            verbose: whether to show progress.
        """
        settings = {"bad_videos": bad_videos, **self._settings}
        batches = distribute.batches(
            self._strategy,
            lambda context: view_batches(videos, input_context=context, **settings),
        )
        total = len(videos) * self._views.clips * self._views.crops
        progress = Progress("view") if verbose else lambda *_, **__: None
        scores, counts = None, np.zeros(len(videos), np.int64)
        begun = time.perf_counter()
        for batch in batches:
            outputs, numbers = self._outputs(batch)
            if scores is None:
                empty = 0.0 if self._takes_mean else -np.inf
                scores = np.full((len(videos), outputs.shape[1]), empty)
            # Several views of one video may lie in a batch.
            (np.add if self._takes_mean else np.maximum).at(scores, numbers, outputs)
            np.add.at(counts, numbers, 1)
            progress(int(counts.sum()), total, is_end=False)
        self.num_views = int(counts.sum())
        progress(self.num_views, total, is_end=True)
        self.seconds = time.perf_counter() - begun
        if scores is None:
            scores = np.zeros((len(videos), 0))
        if self._takes_mean:
            scores /= np.maximum(counts, 1)[:, None]
        return scores, counts > 0

    def _outputs(self, batch) -> tuple[np.ndarray, np.ndarray]:
        """Outputs for the views of all replicas, float64 (n, classes), and whose they are (n,)."""
        if self._strategy.num_replicas_in_sync == 1:
            clips, numbers = batch
            # Tensors of TensorFlow are nothing to JAX.
            is_own = keras.backend.backend() == "tensorflow"
            outputs = self._network.predict_on_batch(clips if is_own else np.asarray(clips))
        else:
            outputs, numbers = self._run(batch)
        numbers = np.asarray(numbers)
        return np.asarray(outputs, np.float64)[numbers >= 0], numbers[numbers >= 0]

    @functools.cached_property
    def _run(self) -> Callable:
        strategy = self._strategy

        @tf.function(reduce_retracing=True)
        def run(batch):
            clips, numbers = batch
            outputs = strategy.run(lambda clips: self._network(clips, training=False), (clips,))
            return strategy.gather(outputs, axis=0), strategy.gather(numbers, axis=0)

        return run
