"""Videos to test a trained network on: a folder or a list, with the classes of its training."""

import dataclasses
from collections.abc import Sequence

from keras_multigrid.data.lists.own_videos import read_videos
from keras_multigrid.data.videos.video import VideoSet


def labelled_videos(source: str, class_names: Sequence[str]) -> VideoSet:
    """A folder of class folders or a list of paths and labels, as the validation part of a set.

    Of a folder with train/ and val/, the second. Labels are names of `class_names`, or, in a list,
    their numbers. Classes without videos stay.

    Args:
        source: same as for `finetune`.
        class_names: of the training, in its order.

    Raises:
        FileNotFoundError: there is no such folder or list, or it holds no classes.
        BadLinesError: lines of a list are wrong.
        ValueError: it has a class that the training had not.

    Example:

    >>> videos = labelled_videos("new_videos", ["walk", "run"])
    >>> len(videos.validation)
    12
    """
    own = read_videos(source)
    label_of = {str(label): label for label in range(len(class_names))}
    label_of |= {name: label for label, name in enumerate(class_names)}
    unknown = [name for name in own.class_names if name not in label_of]
    if unknown:
        raise ValueError(
            f"The classes of '{source}' must be those of the training: {', '.join(class_names)}. "
            f"Received: {', '.join(unknown)}. Rename or remove them."
        )
    is_tested = own.is_validation or (True,) * len(own.records)
    records = tuple(
        dataclasses.replace(record, label=label_of[own.class_names[record.label]])
        for record, is_own in zip(own.records, is_tested, strict=True)
        if is_own
    )
    return VideoSet(train=(), validation=records, class_names=tuple(class_names), notes=own.notes)
