"""What is known of a network beside its weights: classes, clips, where it is from."""

import dataclasses
from collections.abc import Mapping, Sequence

from keras_multigrid.checks import check_integer, check_positive
from keras_multigrid.models.weights.published_files import PublishedFile

UNKNOWN = "not known"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The clips that a network takes: float32, red, green, blue, `(colour - mean) / std`.

    Args:
        num_frames: frames of a clip.
        stride: source frames from one of them to the next.
        crop_size: height and width in training, in pixels.
        test_crop_size: the same in tests; None takes 256 / 224 of `crop_size`, or `crop_size`
            itself if that is less than 112.
        segments: one frame is taken from each segment of the video, instead of at the stride.
        mean, std: of colours in [0, 1].
        subtract_clip_mean: each clip's mean picture is subtracted, same as for `ClipSampling`.

    Raises:
        ValueError: if a number is not positive.
    """

    num_frames: int
    stride: int
    crop_size: int
    test_crop_size: int | None = None
    segments: bool = False
    mean: float = 0.45
    std: float = 0.225
    subtract_clip_mean: bool = False

    def __post_init__(self):
        for name in ("num_frames", "stride", "crop_size", "test_crop_size"):
            if getattr(self, name) is not None:
                check_integer(name, getattr(self, name))
        check_positive("std", self.std)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Preset:
    """What a preset says beside the network.

    Args:
        class_names: of the network's outputs, in their order.
        preprocessing: the clips that the network takes.
        multi_label: whether a clip may have several classes.
    """

    class_names: Sequence[str]
    preprocessing: Preprocessing
    multi_label: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class Origin:
    """Where weights are from.

    Args:
        source: who published or trained them.
        url: of the file.
        data: what they were trained on.
        licence: of the weights.
        accuracy: of what its authors measured, by the name of the measure.
        measured: how: views and crops.
        notes: what else there is to know, in sentences.
    """

    source: str = UNKNOWN
    url: str = UNKNOWN
    data: str = UNKNOWN
    licence: str = UNKNOWN
    accuracy: Mapping[str, float] = dataclasses.field(default_factory=dict)
    measured: str = ""
    notes: str = ""


def published_preset(file: PublishedFile, class_names: Sequence[str] | None = None) -> Preset:
    """What is known of a published network.

    Args:
        file: its weights.
        class_names: of its classes; None for their numbers, since no names are published with it.

    Example:

    >>> preset = published_preset(published_file("x3d_s", "kinetics400"))
    >>> preset.preprocessing.num_frames, preset.preprocessing.stride
    (13, 6)
    """
    names = map(str, range(file.classes)) if class_names is None else class_names
    clips = ("num_frames", "stride", "crop_size", "test_crop_size", "segments")
    return Preset(
        class_names=tuple(names),
        preprocessing=Preprocessing(**{name: getattr(file, name) for name in clips}),
        multi_label=file.classifier_activation == "sigmoid",
    )


def published_origin(file: PublishedFile) -> Origin:
    """Where a published network is from."""
    clips, crops = file.views
    return Origin(
        source=file.source,
        url=file.url,
        data=file.tag,
        licence=file.licence,
        accuracy=file.accuracy,
        measured=f"{clips} x {crops} views of {file.test_crop_size} pixels",
        notes=file.note,
    )
