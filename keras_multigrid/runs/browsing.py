"""Clips as the model will see them at each grid of a schedule, as a page or a picture."""

import base64
import dataclasses
import html
import io
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_multigrid import figures, files
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.clip import Clip
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.input import Input
from keras_multigrid.data.reading import Cut
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.schedule import Grid, MultigridSchedule
from keras_multigrid.task import Task


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownClip:
    """A clip and where it comes from.

    Args:
        frames: its colours, uint8 (frames, height, width, 3).
        region: where it lies in the first of its frames, from `outlined`.
        label: names of its classes.
        path: the video that it was read from.
        details: how it was taken from the video, in words.
        fault: why it replaces another one, or None.
    """

    frames: np.ndarray
    region: np.ndarray
    label: str
    path: str
    details: str
    fault: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridClips:
    """Clips of one grid.

    Args:
        title: what they are.
        details: the steps that train on the grid, in words.
        clips: the clips.
    """

    title: str
    details: str
    clips: Sequence[ShownClip]


def browse(
    *,
    videos: VideoSet,
    schedule: MultigridSchedule,
    sampling: ClipSampling,
    seed: int = 0,
    num_clips: int = 4,
    augment: Callable | None = None,
) -> Iterator[GridClips]:
    """The first clips of the first step at each grid, as training reads them, and of validation.

    Args:
        videos: training and validation videos.
        schedule: the schedule of the training.
        sampling: how clips are taken from videos.
        seed: the seed of the training.
        num_clips: clips of each grid, as far as its batch has as many.
        augment: changes training clips, same as for `Input`.

    Yields:
        The clips of one grid, in the order in which the schedule comes to the grids; at last those
        of validation.

    Raises:
        ValueError: if the number of training videos is not the schedule's.

    Example:

    >>> pathlib.Path("clips.html").write_text(to_html(browse(
    ...     videos=videos, schedule=schedule, sampling=ClipSampling())))
    """
    for grid, step in schedule.first_steps().items():
        # Faults of one grid are no reason to stop: they are what is looked for.
        source = Input(
            videos=videos,
            sampling=sampling,
            bad_videos=BadVideos(max_share=1.0),
            augment=augment,
        )
        count = min(num_clips, grid.batch_size)
        clips = source.training_clips(schedule, step=step, count=count, seed=seed)
        yield GridClips(
            title=f"{grid.batch_size} clips x {grid.num_frames} frames x {grid.crop_size}²",
            details=f"{_phases(schedule, grid)}. Shown: step {step:,}",
            clips=[_training_clip(source, *clip) for clip in clips],
        )
    source = Input(videos=videos, sampling=sampling, bad_videos=BadVideos(max_share=1.0))
    yield _validation_clips(source, schedule.base, num_clips)


def _training_clip(source: Input, clip: Clip, cut: Cut, frames: np.ndarray) -> ShownClip:
    fault = None
    if cut.video != clip.video:
        path = files.redacted(source.videos.train[clip.video].path)
        fault = f"replaces {path}, which cannot be read: {source.bad_videos.errors[path]}"
    scale = f"scaled to a short side of {clip.short_side}, random crop {clip.crop_size}²"
    frames_in_words = _in_words(source.sampling, clip.num_frames, clip.stride, clip.span)
    details = f"{frames_in_words}, {scale}, {'mirrored' if clip.flip else 'not mirrored'}"
    return _shown(source, cut, frames, source.videos.train[cut.video].path, details, fault)


def _validation_clips(source: Input, grid: Grid, num_clips: int) -> GridClips:
    """Of videos spread over the list: neighbours are often of one class."""
    videos, sampling = source.videos.validation, source.sampling
    total, count = len(videos), min(num_clips, len(videos))
    span = (grid.num_frames - 1) * sampling.stride + 1
    short_side = max(sampling.scales(grid.crop_size)[0], grid.crop_size)
    details = (
        f"{_in_words(sampling, grid.num_frames, sampling.stride, span)}, "
        f"scaled to a short side of {short_side}, centre crop {grid.crop_size}²"
    )
    indices = [number * total // count for number in range(count)]
    found = [(index, source.validation_clip(index, grid)) for index in indices]
    return GridClips(
        title=f"Validation: {grid.num_frames} frames x {grid.crop_size}²",
        details="The clip in the middle of each video; unreadable videos are left out",
        clips=[
            _shown(source, *clip, videos[index].path, details)
            for index, clip in found
            if clip is not None
        ],
    )


def _shown(
    source: Input, cut: Cut, clip: np.ndarray, path: str, details: str, fault: str | None = None
) -> ShownClip:
    sampling = source.sampling
    # Differences from the clip's mean lie around 0: grey is where nothing moves.
    mean = 0.5 if sampling.subtract_clip_mean else sampling.mean
    return ShownClip(
        frames=(np.clip(clip * sampling.std + mean, 0, 1) * 255).round().astype(np.uint8),
        region=outlined(cut),
        label=_label_in_words(source.task, cut.label),
        path=path,
        details=details,
        fault=fault,
    )


def _label_in_words(task: Task, label: np.ndarray) -> str:
    """The names of a clip's classes; of mixed labels those that matter, with their shares."""
    if getattr(task, "soft", False):
        order = [k for k in np.argsort(-label, kind="stable") if label[k] >= _SHOWN_SHARE]
        shares = [f"{task.class_names[k]} {label[k]:.0%}" for k in order]
        return ", ".join(shares).replace(" 100%", "") or "no class"
    return ", ".join(task.names(task.decode(label))) or "no class"


def _in_words(sampling: ClipSampling, num_frames: int, stride: float, span: int) -> str:
    if sampling.still:
        return "one frame repeated"
    if sampling.segments:
        return f"one frame of each of {num_frames} segments"
    return f"stride {stride:.3g}, span {span}"


def _phases(schedule: MultigridSchedule, grid: Grid) -> str:
    """Where in the training a grid comes: "phase 1: 12 of steps 0 to 33; phase 5: ..."."""
    return "; ".join(
        f"phase {number}: {steps:,} of steps {phase.first_step:,} to {phase.end_step - 1:,}"
        for number, phase in enumerate(schedule.phases, start=1)
        if (steps := phase.steps_by_grid().get(grid, 0))
    )


def outlined(cut: Cut) -> np.ndarray:
    """The first frame of a clip whole: what it shows within an orange line, the rest dimmed.

    Returns:
        uint8 (height, width, 3), at most 160 pixels high.
    """
    picture = Image.fromarray(cut.frames[0])
    # Small enough for a page of hundreds of clips.
    picture.thumbnail((4 * _REGION_HEIGHT, _REGION_HEIGHT))
    shrunk = picture.height / cut.frames[0].shape[0]
    left, top = cut.window.left * shrunk, cut.window.top * shrunk
    right, bottom = (at + cut.window.side * shrunk - 1 for at in (left, top))
    bright, picture = picture, picture.point(lambda colour: colour * 2 // 5)
    box = tuple(map(round, (left, top, right, bottom)))
    ImageDraw.Draw(bright).rectangle(box, outline=figures.ORANGE)
    box = (*box[:2], box[2] + 1, box[3] + 1)
    picture.paste(bright.crop(box), box[:2])
    return np.asarray(picture)


def to_png(grids: Iterable[GridClips]) -> bytes:
    """A sheet of film strips, at most 8 frames of each clip."""
    sections = {}
    for grid in grids:
        sections["\n".join([grid.title, *textwrap.wrap(grid.details, 130)])] = [
            ("\n".join([f"{clip.label} | {clip.details}", *_source_lines(clip)]), _strip(clip))
            for clip in grid.clips
        ]
    return figures.to_png(figures.draw_strips(sections))


def _strip(clip: ShownClip) -> np.ndarray:
    """The region of a clip, and beside it the film strip: uint8 (height, width, 3)."""
    strip = figures.film_strips(clip.frames[None])
    height = strip.shape[0]
    width = max(1, round(clip.region.shape[1] * height / clip.region.shape[0]))
    region = np.asarray(Image.fromarray(clip.region).resize((width, height)))
    gap = np.full((height, 8, 3), 255, np.uint8)
    return np.concatenate([region, gap, strip], axis=1)


def _source_lines(clip: ShownClip) -> list[str]:
    path = files.redacted(clip.path)
    return [path] if clip.fault is None else [path, clip.fault]


def to_html(grids: Iterable[GridClips]) -> str:
    """A page in one file: of each clip a moving picture and its frames."""
    return _PAGE.format(
        body="\n".join(
            f"<section><h2>{grid.title}</h2>\n<p>{grid.details}</p>\n"
            + "\n".join(map(_figure, grid.clips))
            + "</section>"
            for grid in grids
        )
    )


def _figure(clip: ShownClip) -> str:
    strip = figures.film_strips(clip.frames[None], max_frames=_PAGE_FRAMES)
    path, *fault = map(html.escape, _source_lines(clip))
    return _FIGURE.format(
        moving=data_uri(clip.frames),
        region=data_uri([clip.region]),
        strip=data_uri([strip]),
        label=html.escape(clip.label),
        details=clip.details,
        path=path,
        fault="".join(f"<div class='fault'>{text}</div>" for text in fault),
    )


def data_uri(pictures: Sequence[np.ndarray]) -> str:
    """A WebP file in an address: moving if there are several pictures."""
    first, *others = map(Image.fromarray, pictures)
    file = io.BytesIO()
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_MILLISECONDS,
        loop=0,
        lossless=sum(picture.nbytes for picture in pictures) <= _LOSSLESS_BYTES,
        quality=90,
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")


# Whole frames on the page are at most this high, in pixels.
_REGION_HEIGHT = 160
# Of a mixed label, smaller shares are not named: smoothing gives every class one.
_SHOWN_SHARE = 0.05
# Frames of a strip on the page.
_PAGE_FRAMES = 16
_MILLISECONDS = 150
# Above this, lossless pictures would make a page of a hundred megabytes.
_LOSSLESS_BYTES = 1_000_000

_FIGURE = """<figure><img class='moving' src='{moving}' alt='moving clip'>
<img class='region' src='{region}' alt='what the clip shows of the whole frame'>
<figcaption><b>{label}</b><br>{details}
<div class='path'>{path}</div>
{fault}</figcaption><div class='frames'><img src='{strip}' alt='frames'></div></figure>"""

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Clips by grid</title><style>
body {{ font: 14px/1.4 sans-serif; color: #333; margin: 2em }}
h2 {{ font-size: 1.2em; margin: 2em 0 0 }}
figure {{ display: flex; gap: 1em; margin: 1em 0; align-items: flex-start }}
figcaption {{ width: 18em; flex: none; overflow-wrap: anywhere }}
.moving {{ width: 160px; height: 160px; flex: none; image-rendering: pixelated }}
.region {{ height: 160px; flex: none; image-rendering: pixelated }}
.frames {{ min-width: 0 }}
.frames img {{ max-width: 100% }}
.path {{ color: #777 }}
.fault {{ color: #b00020 }}
</style></head><body>
<h1>Clips as the model sees them, by grid</h1>
{body}
</body></html>
"""
