"""Clips as the model will see them at each grid of a schedule, as a page or a picture."""

import base64
import dataclasses
import html
import io
import textwrap
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw

from keras_multigrid import figures
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
        region: where it lies in the first of its frames, as of `outlined`.
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
) -> Iterator[GridClips]:
    """The first clips of the first step at each grid, as training reads them, and of validation.

    Args:
        videos: training and validation videos.
        schedule: the schedule of the training.
        sampling: how clips are taken from videos.
        seed: the seed of the training.
        num_clips: clips of each grid, as far as its batch has as many.

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
        source = Input(videos=videos, sampling=sampling, bad_videos=BadVideos(max_share=1.0))
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
    videos, fault = source.videos.train, None
    if cut.video != clip.video:
        path = videos[clip.video].path
        fault = f"replaces {path}, which cannot be read: {source.bad_videos.errors[path]}"
    return ShownClip(
        frames=_colours(frames, source.sampling),
        region=outlined(cut),
        label=_label(cut, source.videos.task),
        path=videos[cut.video].path,
        details=f"{_frames_in_words(source.sampling, clip.num_frames, clip.stride, clip.span)}, "
        f"{_scale_in_words(clip.short_side)}, random crop {clip.crop_size}², "
        f"{'mirrored' if clip.flip else 'not mirrored'}",
        fault=fault,
    )


def _validation_clips(source: Input, grid: Grid, num_clips: int) -> GridClips:
    """Of videos spread over the list: neighbours are often of one class."""
    videos, sampling = source.videos.validation, source.sampling
    total = len(videos)
    count = min(num_clips, total)
    span = (grid.num_frames - 1) * sampling.stride + 1
    details = (
        f"{_frames_in_words(sampling, grid.num_frames, sampling.stride, span)}, "
        f"{_scale_in_words(max(sampling.scales(grid.crop_size)[0], grid.crop_size))}, "
        f"centre crop {grid.crop_size}²"
    )
    clips = []
    for index in (number * total // count for number in range(count)):
        found = source.validation_clip(index, grid)
        # Validation leaves out what it cannot read.
        if found is not None:
            cut, frames = found
            clips.append(
                ShownClip(
                    frames=_colours(frames, sampling),
                    region=outlined(cut),
                    label=_label(cut, source.videos.task),
                    path=videos[index].path,
                    details=details,
                )
            )
    return GridClips(
        title=f"Validation: {grid.num_frames} frames x {grid.crop_size}²",
        details="The clip in the middle of each video; unreadable videos are left out",
        clips=clips,
    )


def to_html(grids: Sequence[GridClips]) -> str:
    """A page in one file: of each clip a moving picture and its frames."""
    return _PAGE.format(body="\n".join(_section(grid) for grid in grids))


def to_png(grids: Sequence[GridClips]) -> bytes:
    """A sheet of film strips, at most 8 frames of each clip."""
    sections = {}
    for grid in grids:
        sections["\n".join([grid.title, *textwrap.wrap(grid.details, 130)])] = [
            (_caption(clip), _strip(clip)) for clip in grid.clips
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


def _colours(clip: np.ndarray, sampling: ClipSampling) -> np.ndarray:
    """What `normalized` made, as a picture."""
    # Differences from the clip's mean lie around 0: grey is where nothing moves.
    mean = 0.5 if sampling.subtract_clip_mean else sampling.mean
    return (np.clip(clip * sampling.std + mean, 0, 1) * 255).round().astype(np.uint8)


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


def _label(cut: Cut, task: Task) -> str:
    return ", ".join(task.names(task.decode(cut.label))) or "no class"


def _frames_in_words(sampling: ClipSampling, num_frames: int, stride: float, span: int) -> str:
    if sampling.still:
        return "one frame repeated"
    if sampling.segments:
        return f"one frame of each of {num_frames} segments"
    return f"stride {stride:.3g}, span {span}"


def _scale_in_words(short_side: int) -> str:
    return f"scaled to a short side of {short_side}"


def _phases(schedule: MultigridSchedule, grid: Grid) -> str:
    """Where in the training a grid comes: "phase 1: 12 of steps 0 to 33; phase 5: ..."."""
    found = []
    for number, phase in enumerate(schedule.phases, start=1):
        turn = len(phase.short_cycle)
        steps = sum(
            len(range(index, phase.num_steps, turn))
            for index, other in enumerate(phase.short_cycle)
            if other == grid
        )
        if steps:
            among = f"{phase.first_step:,} to {phase.end_step - 1:,}"
            found.append(f"phase {number}: {steps:,} of steps {among}")
    return "; ".join(found)


def _caption(clip: ShownClip) -> str:
    lines = [f"{clip.label} | {clip.details}", clip.path]
    return "\n".join(lines if clip.fault is None else [*lines, clip.fault])


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

# Whole frames on the page are at most this high, in pixels.
_REGION_HEIGHT = 160
# Frames of a strip on the page.
_PAGE_FRAMES = 16
_MILLISECONDS = 150
# Above this, lossless pictures would make a page of a hundred megabytes.
_LOSSLESS_BYTES = 1_000_000


def _section(grid: GridClips) -> str:
    clips = "\n".join(_figure(clip) for clip in grid.clips)
    return f"<section><h2>{grid.title}</h2>\n<p>{grid.details}</p>\n{clips}</section>"


def _figure(clip: ShownClip) -> str:
    path, *fault = _caption(clip).split("\n")[1:]
    moving = _data_uri([Image.fromarray(frame) for frame in clip.frames])
    strip = figures.film_strips(clip.frames[None], max_frames=_PAGE_FRAMES)
    return "\n".join(
        [
            f"<figure><img class='moving' src='{moving}' alt='moving clip'>",
            f"<img class='region' src='{_data_uri([Image.fromarray(clip.region)])}' "
            "alt='what the clip shows of the whole frame'>",
            f"<figcaption><b>{html.escape(clip.label)}</b><br>{clip.details}",
            f"<div class='path'>{html.escape(path)}</div>",
            *(f"<div class='fault'>{html.escape(text)}</div>" for text in fault),
            "</figcaption><div class='frames'><img "
            f"src='{_data_uri([Image.fromarray(strip)])}' alt='frames'></div></figure>",
        ]
    )


def _data_uri(pictures: Sequence[Image.Image]) -> str:
    """A WebP file in an address: moving if there are several pictures."""
    size = sum(3 * picture.width * picture.height for picture in pictures)
    file = io.BytesIO()
    first, *others = pictures
    first.save(
        file,
        "WEBP",
        save_all=True,
        append_images=others,
        duration=_MILLISECONDS,
        loop=0,
        lossless=size <= _LOSSLESS_BYTES,
        quality=90,
    )
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode("ascii")
