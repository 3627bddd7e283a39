"""The validation clips that a network is most wrong about, and where it looked."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from keras_multigrid.data.clips.windows import scaled
from keras_multigrid.data.input import Input
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.runs.activation_maps import activation_maps
from keras_multigrid.schedule import Grid

# Warm where the network looked, as strong as this where it looked most.
_WARM = np.array([255, 70, 0], np.float32)
_OPACITY = 0.7
_DIMMED = 0.75


@dataclass(frozen=True, kw_only=True)
class HardClip:
    """A clip that is hard for a network.

    Args:
        path: of its video.
        label, predicted: classes.
        label_score, predicted_score: what the network gave them.
        frames: uint8 (frames, height, width, 3).
        heat: the frames with what spoke for `predicted` in warm colours; None: not known.
    """

    path: str
    label: int
    predicted: int
    label_score: float
    predicted_score: float
    frames: np.ndarray
    heat: np.ndarray | None


def hardest_clips(
    network: keras.Model,
    source: Input,
    grid: Grid,
    *,
    records: Sequence[VideoRecord],
    scores: np.ndarray,
    count: int = 8,
) -> list[HardClip]:
    """Clips of the videos whose own class has the lowest scores, the lowest first.

    Args:
        network: what scored them.
        source: reads the clips of its validation videos.
        grid: frames and size of the clips.
        records: validation videos with one class each.
        scores: (videos, classes) of them.
        count: how many.

    Example:

    >>> hardest_clips(model, source, schedule.base, records=videos.validation, scores=scores)
    """
    own = scores[np.arange(len(records)), [record.label for record in records]]
    index_of = {id(record): index for index, record in enumerate(source.videos.validation)}
    order = np.argsort(own, kind="stable")[:count].tolist()
    found = [(n, source.validation_clip(index_of[id(records[n])], grid)) for n in order]
    # Some may be gone since they were scored.
    found = [(n, *clip) for n, clip in found if clip is not None]
    if not found:
        return []
    predicted = [int(scores[n].argmax()) for n, _, _ in found]
    # All at once: a network compiles a function for each call of this.
    maps = activation_maps(network, np.stack([clip for _, _, clip in found]), predicted)
    frames = [
        np.asarray(scaled(cut.cropped, grid.crop_size)).round().astype(np.uint8)
        for _, cut, _ in found
    ]
    return [
        HardClip(
            path=records[n].path,
            label=records[n].label,
            predicted=predicted[place],
            label_score=float(own[n]),
            predicted_score=float(scores[n, predicted[place]]),
            frames=frames[place],
            heat=None if maps is None else warmed(frames[place], maps[place]),
        )
        for place, (n, _, _) in enumerate(found)
    ]


def warmed(frames: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Frames with warm colours where a map is above its mean, in proportion.

    Args:
        frames: uint8 (frames, height, width, 3).
        heat: float (frames, height, width).

    Returns:
        uint8 as `frames`.
    """
    above = np.maximum(heat - heat.mean(), 0)
    share = (_OPACITY * above / max(above.max(), 1e-9))[..., None]
    grey = frames.mean(axis=-1, keepdims=True) * _DIMMED
    return (grey * (1 - share) + _WARM * share).round().astype(np.uint8)
