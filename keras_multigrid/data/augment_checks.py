"""What an augmentation says that it needs, checked before any video is read.

An augmentation may have the attributes of `keras_multigrid.augmentation.Augmentation`, and need not
be one.
"""

from collections.abc import Callable

from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.schedule import MultigridSchedule
from keras_multigrid.task import Task


def check_augment(augment: Callable | None, sampling: ClipSampling, task: Task) -> None:
    """Refuse an augmentation that does not fit the sampling of clips or the classes."""
    if getattr(augment, "flips", False) and sampling.flip:
        raise ValueError(
            "`augment` mirrors clips, and so does `sampling`: clips mirrored by the latter would "
            "keep their classes. Received: ClipSampling(flip=True). Use ClipSampling(flip=False)."
        )
    least = getattr(augment, "least_classes", 0)
    if 0 < task.num_outputs < least:
        raise ValueError(
            f"`augment` names class {least - 1}: there must be at least {least} classes. "
            f"Received: {task.num_outputs} classes. Classes are counted from 0."
        )


def check_pairs(augment: Callable | None, schedule: MultigridSchedule, replicas: int) -> None:
    """Refuse a schedule of which a device gets an odd number of clips, where pairs are mixed."""
    if not getattr(augment, "pairs_clips", False):
        return
    for grid in schedule.grids:
        if grid.batch_size % (2 * replicas):
            shared = "" if replicas == 1 else f", shared by {replicas} replicas"
            raise ValueError(
                "`augment` mixes clips in pairs: every device must have an even number of clips at "
                f"every step. Received: {grid}{shared}. Use a base grid whose batch_size is a "
                f"multiple of {2 * replicas}."
            )


def task_of_labels(augment: Callable | None, task: Task) -> Task:
    """The task that encodes the labels: with soft ones if the augmentation mixes them."""
    return task.with_soft_labels() if getattr(augment, "mixes_labels", False) else task
