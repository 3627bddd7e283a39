"""The settings of a run, from what was chosen."""

import functools
from collections.abc import Mapping

from keras_multigrid import models
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.learning_rate import MultigridLearningRate, half_cosine
from keras_multigrid.optimizers import ReferenceSGD
from keras_multigrid.runs.finetuning.choices import Choice
from keras_multigrid.runs.finetuning.request import Request
from keras_multigrid.runs.settings import Data, Logging, Model, Optimization, Settings
from keras_multigrid.schedule import Grid, MultigridSchedule

# Clips of the base grid for the statistics of batch normalization, before each validation.
PRECISE_BATCHES = 25
VALIDATIONS = 10


def run_settings(
    choice: Choice,
    videos: VideoSet,
    *,
    request: Request,
    schedule: MultigridSchedule | None = None,
    texts: Mapping[str, str] | None = None,
) -> Settings:
    """Ordinary `runs.Settings`, for `runs.train`.

    Args:
        choice: what was chosen.
        videos: the set.
        request: what was asked for.
        schedule: None takes that of the rule, `MultigridSchedule.suggest`.
        texts: file name to text, saved with the run.
    """
    schedule = rule_schedule(choice, len(videos.train), request) if schedule is None else schedule
    return Settings(
        run_dir=request.run_dir,
        seed=request.seed,
        data=Data(
            videos=videos,
            sampling=ClipSampling(
                stride=choice.stride,
                flip=choice.flip,
                subtract_clip_mean=choice.subtract_clip_mean,
            ),
            keep_decoded=choice.keep_decoded,
            balance=choice.balance,
            workers=request.workers,
        ),
        model=Model(
            model=functools.partial(models.create, choice.model),
            initial_weights=choice.initial_weights,
            dtype_policy=choice.dtype_policy,
        ),
        optimization=Optimization(
            schedule=schedule,
            learning_rate=functools.partial(learning_rate, rate=choice.learning_rate),
            optimizer=functools.partial(ReferenceSGD, momentum=0.9, nesterov=True),
            precise_batches=PRECISE_BATCHES,
        ),
        logging=Logging(validations=VALIDATIONS, texts=lambda: dict(texts or {})),
    )


def rule_schedule(choice: Choice, num_clips: int, request: Request) -> MultigridSchedule:
    """The schedule of the rule, `schedule.suggest`."""
    given = schedule_settings(request)
    return MultigridSchedule.suggest(base_grid(choice), num_clips, choice.epochs, **given)


def schedule_settings(request: Request) -> dict[str, float]:
    """What is asked for of the schedule."""
    return {} if request.epoch_factor is None else {"epoch_factor": request.epoch_factor}


def base_grid(choice: Choice) -> Grid:
    """The baseline's grid."""
    return Grid(
        batch_size=choice.batch_size, num_frames=choice.num_frames, crop_size=choice.crop_size
    )


def learning_rate(schedule: MultigridSchedule, *, rate: float) -> MultigridLearningRate:
    """Half a cosine after as long a warm-up as the first phase needs."""
    return MultigridLearningRate(schedule, half_cosine(schedule, rate), warmup_epochs="auto")
