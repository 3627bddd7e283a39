"""The settings of a run, in groups. All are frozen: nothing changes them during a run."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_multigrid import distribute, files
from keras_multigrid.checks import check_choice
from keras_multigrid.class_weights import Rule, check_rule
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.class_balance import check_balance
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.input import Input
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.learning_rate import MultigridLearningRate
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.schedule.suggestion import SMALL_CROP

_DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
    """What a run reads.

    Args:
        videos: training and validation videos.
        sampling: how clips are taken from them.
        keep_decoded: keep decoded videos in memory.
        augment: changes each training batch, same as for `Input`: `augmentation.Compose(...)` or a
            function of your own.
        balance: how often classes are drawn, same as for `Input`: "inverse" draws all as often.
        workers: clips read at a time; None takes the number of cores.
        service: address of an input service that reads the clips, grpc://HOST:PORT
            (keras-multigrid serve); the videos must be records.
        max_bad_share: share of clips of unreadable videos at which the run stops.
    """

    videos: VideoSet
    sampling: ClipSampling = dataclasses.field(default_factory=ClipSampling)
    keep_decoded: bool = False
    augment: Callable | None = None
    balance: str | Rule | None = None
    workers: int | None = None
    service: str | None = None
    max_bad_share: float = 0.05

    def __post_init__(self):
        check_balance(self.balance, self.videos.task)

    def source(self, bad_videos: BadVideos) -> Input:
        """The streams of batches."""
        return Input(
            videos=self.videos,
            sampling=self.sampling,
            bad_videos=bad_videos,
            keep_decoded=self.keep_decoded,
            augment=self.augment,
            balance=self.balance,
            workers=self.workers,
            service=self.service,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """The network of a run, and what it begins with.

    Args:
        model: makes the network. Called with `classes` and `classifier_activation`; where `head` is
            set, with `include_top=False`, which leaves out the classifier.
        head: a function from the network's features, (batch, channels), to its outputs, instead of
            the classifier of `model`.
        initial_weights: what a new run begins with: the name of published weights, such as
            "kinetics400" (`models.published_tags`), a published checkpoint (`.pyth`, `.pkl`) or the
            `model.keras` of a run, whose classifier is left out if it has another number of
            classes; or `.weights.h5` of the same network. A run that resumes has its own.
        inflate: `initial_weights` are those of a network for pictures: a published checkpoint, or
            the `.keras` file of a `keras.applications.ResNet50`.
        frozen: layers that do not learn, nor their statistics: their names, or a function from a
            layer to a boolean, such as `AllBut(("head",))`.
        dtype_policy: precision of the layers, such as "mixed_bfloat16" or "mixed_float16", which
            compute in half precision and keep weights in float32; None leaves Keras's global one.
            Normalization, outputs and loss stay in float32.

    Raises:
        ValueError: if Keras has no such `dtype_policy`.
    """

    model: Callable[..., keras.Model]
    head: Callable[[Any], Any] | None = None
    initial_weights: str | None = None
    inflate: bool = False
    frozen: Sequence[str] | Callable[[keras.layers.Layer], bool] = ()
    dtype_policy: str | None = None

    def __post_init__(self):
        _expand(self, "initial_weights")
        if self.dtype_policy is not None:
            check_choice("dtype_policy", self.dtype_policy, _DTYPE_POLICIES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a run learns.

    Args:
        schedule: gives every step its grid. Its clips are rounded to a multiple of the devices.
        learning_rate: makes the learning rate; called with the schedule, for the devices that there
            are.
        optimizer: makes the optimizer; called with `learning_rate`. With `use_ema=True`,
            validations and `model.keras` have the averaged weights, which need `precise_batches`.
        loss: in any form that `Model.compile` takes; None takes that of the task.
        metrics: in any form that `Model.compile` takes; None takes those of the task.
        class_weight: weights of the classes in the loss: of clips, for videos with one class each;
            of classes that are there, for videos with several (`ClassWeightedCrossentropy`). A rule
            weighs them by the training videos of each: "inverse", "inverse_square_root",
            "effective_number", or a function, same as for `class_weights`. A mapping gives the
            weights themselves, those left out being 1. Against rare classes, use this or
            `Data.balance`; a rule with both is refused.
        precise_batches: batches of the base grid over which the statistics of batch normalization
            are computed anew before each validation (precise BN); published recipes take 200. 0
            uses moving averages.
    """

    schedule: MultigridSchedule
    learning_rate: Callable[[MultigridSchedule], MultigridLearningRate]
    optimizer: Callable[..., keras.optimizers.Optimizer]
    loss: Any = None
    metrics: Sequence[Any] | None = None
    class_weight: Mapping[int, float] | str | Rule | None = None
    precise_batches: int = 0

    def __post_init__(self):
        if not isinstance(self.class_weight, Mapping):
            check_rule("class_weight", self.class_weight)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Logging:
    """What a run reports.

    Args:
        validations: how often to validate and save; each is the end of a Keras epoch.
        log_every: steps from one point of TensorBoard's curves to the next.
        still_control: at the end, validate on one repeated frame as well, which has no motion.
        callbacks: further Keras callbacks.
        texts: called when all is built; file name to text, saved with the run and shown in
            TensorBoard: the settings.
    """

    validations: int = 10
    log_every: int = 10
    still_control: bool = False
    callbacks: Sequence[keras.callbacks.Callback] = ()
    texts: Callable[[], Mapping[str, str]] = dict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """What a run can resume from.

    Args:
        folder: local or remote like s3://bucket/run, shared by all workers; None takes one in the
            run's folder.
        every: steps from one checkpoint to the next; there is one after each validation, too, and
            one at SIGTERM.
        keep: how many of the last to keep; that of the best validation is kept, too.
        allow_changes: resume even if settings have changed.
    """

    folder: str | None = None
    every: int = 500
    keep: int = 3
    allow_changes: bool = False

    def __post_init__(self):
        _expand(self, "folder")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hardware:
    """Where a run trains.

    Args:
        strategy: finds the distribution strategy. Of several workers one writes. On JAX it sets
            `keras.distribution`, for all devices of the machine; PyTorch trains on one.
    """

    strategy: Callable[[], tf.distribute.Strategy] = distribute.find_strategy


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiViewTest:
    """How a trained network is tested.

    Args:
        run_dir: folder of the training run, local or remote.
        grid: base grid of the training: frames, and the size that the network was trained on.
        weights: `.weights.h5`, `.keras`, or a published `.pyth` or `.pkl` file; the name of
            published weights, such as "kinetics400"; a folder of checkpoints, whose last is taken;
            None for the run's last checkpoint, "best" for that of its best validation.
        views: clips and crops of each video: 10 x 3 by default, 1 x 1 for the centre alone.
        combine: "mean" or "max" of the views' scores (Charades: max).
        crop_size: height and width of the views, in pixels. None takes 256 / 224 of the training
            crop, as published; the training crop itself if that is less than 112, where larger
            views cost a small network most of its accuracy. Where views are larger than the
            training crop, the network works fully convolutionally.
        batch_size: views at a time on each device.

    Raises:
        ValueError: if `combine` is neither.
    """

    run_dir: str
    grid: Grid
    weights: str | None = None
    views: Views = dataclasses.field(default_factory=Views)
    combine: str = "mean"
    crop_size: int | None = None
    batch_size: int = 8

    def __post_init__(self):
        check_choice("combine", self.combine, ("mean", "max"))
        _expand(self, "run_dir", "weights")

    @property
    def view_size(self) -> int:
        """Height and width of the views, in pixels."""
        side = self.grid.crop_size
        if self.crop_size is not None:
            return self.crop_size
        return side if side < SMALL_CROP else round(side * 256 / 224)

    def of_predictor(self) -> dict[str, Any]:
        """What a `Predictor` takes of these settings."""
        names = ("grid", "views", "combine", "crop_size", "batch_size")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of a run.

    Args:
        run_dir: folder for checkpoints, TensorBoard's files and the report, local or remote like
            s3://bucket/run.
        seed: of weights, clips and dropout.
        data, model, optimization, logging, checkpoints, hardware: the groups.

    Example:

    >>> settings = Settings(
    ...     run_dir="runs/mine",
    ...     data=Data(videos=videos),
    ...     model=Model(model=I3D),
    ...     optimization=Optimization(
    ...         schedule=schedule,
    ...         learning_rate=lambda schedule: MultigridLearningRate(schedule, 0.1),
    ...         optimizer=keras.optimizers.SGD))
    """

    run_dir: str
    data: Data
    model: Model
    optimization: Optimization
    seed: int = 0
    logging: Logging = dataclasses.field(default_factory=Logging)
    checkpoints: Checkpoints = dataclasses.field(default_factory=Checkpoints)
    hardware: Hardware = dataclasses.field(default_factory=Hardware)

    def __post_init__(self):
        _expand(self, "run_dir")


def _expand(settings: Any, *names: str) -> None:
    """Put the user's home in place of `~` in the paths of settings that are being made."""
    for name in names:
        object.__setattr__(settings, name, files.expanded(getattr(settings, name)))
