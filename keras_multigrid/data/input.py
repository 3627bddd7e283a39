"""The input of a model: videos, how clips are taken from them, and who reads them."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from keras_multigrid.class_weights import Rule
from keras_multigrid.data.augmenting import (
    augmented,
    check_augment,
    check_pairs,
    task_of_labels,
)
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.class_balance import ClassBalance, check_balance, single_labels
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.clips.windows import normalized, scaled
from keras_multigrid.data.positions import Share
from keras_multigrid.data.reading import ClipReader, Cut
from keras_multigrid.data.records.reading import make_reader
from keras_multigrid.data.stream import (
    check_num_videos,
    drawn_clips,
    training_stream,
    validation_stream,
    views_stream,
)
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import MultiLabel, SingleLabel, Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """Streams of batches from a set of videos.

    Args:
        videos: training and validation videos, and what the model learns to say about them.
        sampling: how clips are taken from videos.
        bad_videos: counts and lists files that cannot be read; None makes a new one.
        keep_decoded: keep every decoded video in memory: for sets that fit, in frames x height x
            width x 3 bytes per video.
        augment: changes each training batch before it is normalized. It takes clips, float32 (b, t,
            s, s, 3) in [0, 1]; labels; numbers, float32 (b, k), uniform in [0, 1), as many as its
            attribute `num_numbers` says (16 without it); and the work of a clip, t * s^2 / (T *
            S^2). It returns clips and labels. It must draw no random numbers itself: those given
            come from the seed and each clip's position, so that a resumed run gets the same. Ready
            ones are in `keras_multigrid.augmentation`.
        balance: how often classes are drawn, for videos with one class each: "inverse", all as
            often; "inverse_square_root" or "effective_number", in between; or a function, same as
            for `class_weights`. None takes every video once an epoch. Videos of a class still come
            in turn, and an epoch has as many clips.
        workers: clips read at a time; None takes the number of cores.
        service: address of an input service whose workers read the clips, grpc://HOST:PORT
            (keras-multigrid serve); the videos must be records. The batches are the same.

    Example:

    >>> source = Input(videos=videos, sampling=ClipSampling(stride=8))
    >>> model.fit(
    ...     source.training(schedule, seed=0),
    ...     steps_per_epoch=schedule.total_steps,
    ...     validation_data=source.validation(schedule.base),
    ...     callbacks=[MultigridCallback()])
    """

    videos: VideoSet
    sampling: ClipSampling = dataclasses.field(default_factory=ClipSampling)
    bad_videos: BadVideos | None = None
    keep_decoded: bool = False
    augment: Callable | None = None
    balance: str | Rule | None = None
    workers: int | None = None
    service: str | None = None

    def __post_init__(self):
        check_balance(self.balance, self.videos.task)
        if self.bad_videos is None:
            object.__setattr__(self, "bad_videos", BadVideos())
        check_augment(self.augment, self.sampling, self.videos.task)

    @property
    def task(self) -> Task:
        """What the labels of all batches are: soft ones if `augment` mixes them."""
        return task_of_labels(self.augment, self.videos.task)

    def training(
        self,
        schedule: MultigridSchedule,
        *,
        seed: int,
        start_step: int = 0,
        input_context: tf.distribute.InputContext | None = None,
    ) -> tf.data.Dataset:
        """An infinite data set with one batch per step, of the step's grid.

        Args:
            schedule: gives every step its grid; made for the number of training videos.
            seed: with the step, decides everything.
            start_step: the step to begin at; nothing before it is computed.
            input_context: of `Strategy.distribute_datasets_from_function`: gives the clips of one
                worker alone, a batch for each of its devices in turn. All workers together give
                the batches that one would, in order, whatever their number.

        Returns:
            A data set of (clips, labels): float32 (batch, frames, crop, crop, 3), and labels as
            the task encodes them.

        Raises:
            ValueError: if the number of videos is not the schedule's, the devices cannot share its
                batches evenly, or an input service cannot read the videos.
        """
        check_num_videos(len(self.videos.train), schedule, self.sampling.repeats)
        share = Share.of(input_context)
        check_pairs(self.augment, schedule, share.total, self.sampling.repeats)
        return training_stream(
            self._reader(self.videos.train),
            schedule,
            self.sampling,
            seed=seed,
            start_step=start_step,
            share=share,
            augment=self.augment,
            balance=self._class_balance(),
        )

    def validation(
        self, grid: Grid, *, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """Every validation video once: the clip in its middle, cropped in the centre.

        Videos that cannot be read are left out and counted: their batches are smaller, and so is
        the last one.

        Args:
            grid: shape of the batches. Use the schedule's `base` at all phases, so that their
                figures can be compared.
            input_context: same as for `training`. With one, a batch may be empty, so that all
                devices get as many: `distribute.prepare` makes models pass over it.

        Returns:
            A finite data set of (clips, labels).

        Raises:
            ValueError: if there are no validation videos.
        """
        if not len(self.videos.validation):
            raise ValueError("`videos` must have validation videos. Received: none.")
        reader = self._reader(self.videos.validation)
        return validation_stream(reader, grid, self.sampling, Share.of(input_context))

    def views(
        self, grid: Grid, views: Views, *, input_context: tf.distribute.InputContext | None = None
    ) -> tf.data.Dataset:
        """All views of every validation video for a test, the short side scaled to the crop.

        Args:
            grid: views at a time, their frames and size. The last batch may be smaller.
            views: clips and crops of each video.
            input_context: same as for `training`.

        Returns:
            A finite data set of (clips, numbers): float32 (batch, frames, crop, crop, 3), and int64
            (batch,) positions in `videos.validation`; -1 for padding and for videos that
            cannot be read.
        """
        reader = self._python_reader(self.videos.validation)
        return views_stream(reader, grid, views, self.sampling, Share.of(input_context))

    def still(self) -> "Input":
        """The same with one frame repeated in every clip, to measure what looks alone give away."""
        return dataclasses.replace(self, sampling=dataclasses.replace(self.sampling, still=True))

    def training_clips(
        self, schedule: MultigridSchedule, *, step: int, count: int, seed: int
    ) -> Iterator[tuple[Clip, Cut, np.ndarray]]:
        """The first clips of the batch that `training` gives at a step, augmented, to look at.

        Args:
            schedule, seed: same as for `training`.
            step: the step.
            count: how many clips.

        Yields:
            What was drawn for the clip; what was read for it, of another video than `Clip.video`
            where that one is unreadable, with the label as augmented; the clip, float32 (frames,
            crop, crop, 3), as the model gets it.
        """
        check_num_videos(len(self.videos.train), schedule, self.sampling.repeats)
        check_pairs(self.augment, schedule, 1, self.sampling.repeats)
        reader = self._python_reader(self.videos.train)
        balance = self._class_balance()
        drawn = drawn_clips(schedule, self.sampling, seed=seed, start_step=step, balance=balance)
        # Of two videos at a time: an augmentation may mix them.
        repeats = self.sampling.repeats
        pairs = drawn.take(-(-count // (2 * repeats)) * 2 * repeats).batch(2 * repeats)
        for number, rows in enumerate(pairs):
            clips = [Clip.unpacked(row) for row in rows.numpy().tolist()]
            cuts = [reader.training_cut(clip) for clip in clips]
            frames = [
                scaled(cut.cropped, clip.crop_size, clip.flip)
                for clip, cut in zip(clips, cuts, strict=True)
            ]
            if self.augment is None:
                labels = [cut.label for cut in cuts]
            else:
                colours = tf.cast(tf.stack(frames), tf.float32) / 255
                labels = tf.stack([cut.label for cut in cuts])
                frames, labels = augmented(
                    *(self.augment, schedule.base, seed, colours, labels, rows), repeats=repeats
                )
            shown = zip(clips, cuts, frames, np.asarray(labels), strict=True)
            for clip, cut, own, label in itertools.islice(shown, count - 2 * repeats * number):
                yield clip, cut._replace(label=label), normalized(own, self.sampling).numpy()

    def validation_clip(self, index: int, grid: Grid) -> tuple[Cut, np.ndarray] | None:
        """The clip of a video in `validation`, to look at; None if it cannot be read.

        Returns:
            What was read for it; the clip, float32 (frames, crop, crop, 3).
        """
        cut = self._python_reader(self.videos.validation).centre_cut(index, grid)
        if cut is None:
            return None
        return cut, normalized(scaled(cut.cropped, grid.crop_size), self.sampling).numpy()

    def _class_balance(self) -> ClassBalance | None:
        if self.balance is None:
            return None
        return ClassBalance.of(single_labels(self.videos.train), self.balance)

    def _reader(self, videos: Sequence[VideoRecord]) -> ClipReader:
        settings = {"keep_decoded": self.keep_decoded, "service": self.service}
        return self._python_reader(videos, make_reader, **settings)

    def _python_reader(
        self, videos: Sequence[VideoRecord], make: Callable = ClipReader, **settings
    ) -> ClipReader:
        settings |= {"bad_videos": self.bad_videos, "workers": self.workers}
        return make(videos, self.sampling, self.task, **settings)


def training_batches(
    videos: Sequence[VideoRecord],
    schedule: MultigridSchedule,
    *,
    seed: int,
    start_step: int = 0,
    num_classes: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
    **settings,
) -> tf.data.Dataset:
    """An infinite data set with one batch per step: `Input.training` for a list of videos.

    Args:
        videos: the training videos, as many as `schedule.num_clips`.
        schedule, seed, start_step, input_context: same as for `Input.training`.
        num_classes: length of the labels of videos with several classes; None for one class each.
        settings: `sampling`, `bad_videos`, `keep_decoded`, `balance`, `workers` and `service`, same
            as for `Input`.

    Returns:
        A data set of (clips, labels): float32 (batch, frames, crop, crop, 3), and int32 (batch,)
        or, with `num_classes`, float32 (batch, num_classes).

    Raises:
        ValueError: same as for `Input.training`.

    Example:

    >>> batches = training_batches(videos.train, schedule, seed=0)
    >>> next(iter(batches))[0].shape == schedule.grid(0).shape
    True
    """
    source = Input(videos=_set(train=videos, num_classes=num_classes), **settings)
    return source.training(schedule, seed=seed, start_step=start_step, input_context=input_context)


def evaluation_batches(
    videos: Sequence[VideoRecord],
    grid: Grid,
    *,
    num_classes: int | None = None,
    input_context: tf.distribute.InputContext | None = None,
    **settings,
) -> tf.data.Dataset:
    """Every video once: `Input.validation` for a list of videos.

    Other arguments: `grid` and `input_context` same as for `Input.validation`, `num_classes` and
    `settings` same as for `training_batches`, and so are the labels.
    """
    source = Input(videos=_set(validation=videos, num_classes=num_classes), **settings)
    return source.validation(grid, input_context=input_context)


def view_batches(
    videos: Sequence[VideoRecord],
    grid: Grid,
    *,
    views: Views,
    input_context: tf.distribute.InputContext | None = None,
    **settings,
) -> tf.data.Dataset:
    """All views of every video for a test: `Input.views` for a list of videos.

    Other arguments: `grid`, `views` and `input_context` same as for `Input.views`; `settings` are
    `sampling`, `bad_videos` and `workers`, same as for `Input`.
    """
    source = Input(videos=_set(validation=videos), **settings)
    return source.views(grid, views, input_context=input_context)


def _set(num_classes: int | None = None, **parts: Sequence[VideoRecord]) -> VideoSet:
    task: Task = SingleLabel(())
    if num_classes is not None:
        task = MultiLabel(tuple(map(str, range(num_classes))))
    return VideoSet(**{"train": (), "validation": (), **parts}, task=task)
