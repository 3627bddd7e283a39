"""From the settings of a schedule to its phases: their lengths by the published rule, rounded.

The lengths are real numbers of epochs. They are rounded to whole steps, or, as the published
schedules are, to whole epochs.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from keras_multigrid.schedule.grid import Grid
from keras_multigrid.schedule.phase import Phase
from keras_multigrid.schedule.settings import ScheduleSettings


def make_phases(settings: ScheduleSettings) -> tuple[Phase, ...]:
    """All phases of a schedule, in order; those too short for a single step are left out."""
    lengths = _phase_lengths(settings)
    cycles = [_short_cycle(settings, length.shape, length.has_short_crops) for length in lengths]
    round_ends = _whole_epochs if settings.round_to_epochs else _nearest_steps
    phases, end, clips, progress = [], (0, 0), 0, 0.0
    for length, grids, next_end in zip(
        lengths, cycles, round_ends(settings, lengths, cycles), strict=True
    ):
        # Rounding may have left it no step.
        if next_end[0] == end[0]:
            continue
        relative = grids[-1].batch_size // settings.baseline_grid.batch_size
        phase = Phase(
            first_step=end[0],
            end_step=next_end[0],
            first_epoch=end[1],
            end_epoch=next_end[1],
            first_clip=clips,
            base=grids[-1],
            short_cycle=grids,
            lr_stage=length.lr_stage,
            relative_batch_size=relative,
            relative_learning_rate=settings.decay**length.lr_stage * relative,
            first_progress=progress,
            end_progress=length.end_progress,
            clips_per_group=settings.clips_per_group,
        )
        phases.append(phase)
        end, clips, progress = next_end, phase.clips_before(phase.end_step), phase.end_progress
    return tuple(phases)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Length:
    """A phase before rounding: what it is and how long it lasts, in epochs."""

    epochs: float
    shape: tuple[float, float]
    lr_stage: int
    end_progress: float
    has_short_crops: bool = True


def _phase_lengths(settings: ScheduleSettings) -> list[_Length]:
    """Real-valued phases; both ways of rounding start from this list."""
    lengths = _cycle_lengths(settings)
    return _ending_at_base(settings, lengths) if settings.ends_at_base else lengths


def _ending_at_base(settings: ScheduleSettings, lengths: Sequence[_Length]) -> list[_Length]:
    """The same epochs, in which the last steps, `base_share` of all, have the base grid alone."""
    share = settings.base_share
    steps = sum(length.epochs / _mean_relative_batch(settings, length.shape) for length in lengths)
    epochs = sum(length.epochs for length in lengths)
    scale = epochs / ((1 - share) * epochs + share * steps)
    before = [
        dataclasses.replace(
            length,
            epochs=(1 - share) * scale * length.epochs,
            end_progress=(1 - share) * length.end_progress,
        )
        for length in lengths
    ]
    alone = _Length(
        epochs=share * scale * steps,
        shape=(1.0, 1.0),
        lr_stage=0,
        end_progress=1.0,
        has_short_crops=False,
    )
    return [*before, alone]


def _cycle_lengths(settings: ScheduleSettings) -> list[_Length]:
    """Those of the cycles, which may end with the base grid alone."""
    if settings.long_cycle:
        return _long_cycle_lengths(settings)
    factor = settings.epoch_factor if settings.short_cycle else 1.0
    ends = (*settings.boundaries, settings.epochs)
    return [
        _Length(
            epochs=(end - start) * factor,
            shape=(1.0, 1.0),
            lr_stage=stage,
            end_progress=end / settings.epochs,
        )
        for stage, (start, end) in enumerate(itertools.pairwise((0, *ends)))
    ]


def _long_cycle_lengths(settings: ScheduleSettings) -> list[_Length]:
    """Paper, section 3.3: all base grids of a stage get as many steps, or each its share."""
    means = [_mean_relative_batch(settings, shape) for shape in settings.long_cycle]
    shares = settings.phase_shares or (1.0,) * len(means)
    epochs = [mean * share for mean, share in zip(means, shares, strict=True)]
    lengths = []
    for stage, (start, end) in enumerate(_long_cycle_stages(settings)):
        for index, shape in enumerate(settings.long_cycle):
            progress = start + (end - start) * sum(shares[: index + 1]) / sum(shares)
            lengths.append(
                _Length(
                    epochs=(end - start) * epochs[index] / sum(epochs),
                    shape=shape,
                    lr_stage=stage if settings.boundaries else 0,
                    end_progress=progress / settings.epochs,
                )
            )
    lengths += _fine_tuning(settings, saving=sum(epochs) / sum(shares), mean=means[-1])
    scale = settings.epochs * settings.epoch_factor / sum(length.epochs for length in lengths)
    return [dataclasses.replace(length, epochs=length.epochs * scale) for length in lengths]


def _long_cycle_stages(settings: ScheduleSettings) -> Iterator[tuple[float, float]]:
    """First and end epoch of the baseline for every turn of the long cycle."""
    if settings.boundaries:
        return itertools.pairwise((0, *settings.boundaries))
    turns = settings.long_cycles
    return itertools.pairwise(settings.epochs * turn / turns for turn in range(turns + 1))


def _fine_tuning(settings: ScheduleSettings, *, saving: float, mean: float) -> list[_Length]:
    """The baseline's last stage at the last grid: half at the LR before the cut, half after it."""
    if not settings.boundaries:
        return []
    stages, last = len(settings.boundaries), settings.boundaries[-1]
    epochs = (settings.epochs - last) / saving * mean
    middle = (last + settings.epochs) / 2
    shape = settings.long_cycle[-1]
    return [
        _Length(epochs=epochs / 2, shape=shape, lr_stage=stage, end_progress=end / settings.epochs)
        for stage, end in ((stages - 1, middle), (stages, settings.epochs))
    ]


def _mean_relative_batch(settings: ScheduleSettings, shape: tuple[float, float]) -> float:
    """Mean clips over the short cycle relative to the baseline's.

    Phases whose lengths are as these means have the same number of steps. As published, the short
    crops enter unrounded, the base grid's own rounded; where batches are not the published ones,
    the mean is that of the grids.
    """
    if not settings.has_published_batches:
        sizes = [grid.batch_size for grid in _short_cycle(settings, shape)]
        return sum(sizes) / len(sizes) / settings.baseline_grid.batch_size
    base = settings.base
    frames, crop = _frames_and_crop(settings, shape)
    crops = [min(base.crop_size * share, crop) for share in settings.short_cycle] + [crop]
    work = base.num_frames * base.crop_size**2
    return sum(round(work / (frames * crop**2)) for crop in crops) / len(crops)


def _frames_and_crop(settings: ScheduleSettings, shape: tuple[float, float]) -> tuple[int, int]:
    frames = round(settings.base.num_frames * shape[0])
    crop = round(settings.base.crop_size * shape[1])
    return max(frames, settings.min_frames), max(crop, settings.min_crop)


def _short_cycle(
    settings: ScheduleSettings, shape: tuple[float, float], has_short_crops: bool = True
) -> tuple[Grid, ...]:
    """The grids of a phase, that of the long cycle last.

    Paper, section 3.2: small crops with more clips, never larger than the base grid's crop. Without
    them, all are that of the long cycle: the turns of all phases have as many steps.
    """
    base = settings.baseline_grid
    frames, base_crop = _frames_and_crop(settings, shape)
    small = [round(base.crop_size * share) for share in settings.short_cycle]
    least = settings.min_crop if has_short_crops else base_crop
    small = [min(max(crop, least), base_crop) for crop in small]
    times_less_work = base.num_frames * base.crop_size**2 / (frames * base_crop**2)
    clips = base.batch_size * _times_more_clips(settings, times_less_work)
    return tuple(
        Grid(
            batch_size=clips * _times_more_clips(settings, (base_crop / crop) ** 2),
            num_frames=frames,
            crop_size=crop,
        )
        for crop in (*small, base_crop)
    )


def _times_more_clips(settings: ScheduleSettings, times_less_work: float) -> int:
    """How many times more clips a batch has whose clips are so many times less work.

    A whole number, so that replicas share every batch as evenly as the baseline's.
    """
    return round(times_less_work**settings.batch_growth)


def _nearest_steps(
    settings: ScheduleSettings, lengths: Sequence[_Length], cycles: Sequence[Sequence[Grid]]
) -> Iterator[tuple[int, float]]:
    """Nearest step and exact epoch at which each phase ends."""
    epochs, steps = 0.0, 0.0
    for length, grids in zip(lengths, cycles, strict=True):
        mean_batch = sum(grid.batch_size for grid in grids) / len(grids)
        epochs += length.epochs
        steps += length.epochs * settings.num_clips / mean_batch
        yield round(steps), epochs


def _whole_epochs(
    settings: ScheduleSettings, lengths: Sequence[_Length], cycles: Sequence[Sequence[Grid]]
) -> Iterator[tuple[int, int]]:
    """Step and whole epoch at which each phase ends; an epoch has the whole steps it can fill."""
    step, epoch = 0, 0
    for grids, end in zip(cycles, _rounded_ends(settings, lengths), strict=True):
        clips = sum(grid.batch_size for grid in grids)
        steps_per_epoch = settings.num_clips * len(grids) // clips
        if end > epoch and not steps_per_epoch:
            raise ValueError(
                f"`round_to_epochs` needs epochs of at least one step. Received: "
                f"num_clips={settings.num_clips} at batches of {clips / len(grids):.0f} clips on "
                "average. Use round_to_epochs=False or a smaller base batch."
            )
        step, epoch = step + (end - epoch) * steps_per_epoch, end
        yield step, epoch


def _rounded_ends(settings: ScheduleSettings, lengths: Sequence[_Length]) -> list[int]:
    """Whole epochs at which the phases end, by the published rules."""
    ends = list(itertools.accumulate(length.epochs for length in lengths))
    # Sums may be a little below the whole number that they stand for.
    ends = [round(end) if settings.long_cycle else int(end + 1e-6) for end in ends]
    if settings.long_cycle and settings.boundaries:
        # Fine-tuning is rounded as one phase, then halved downwards.
        ends[-2] = (ends[-3] + ends[-1]) // 2
    if settings.ends_at_base:
        # Who asks for it gets at least one epoch.
        most = max(ends[-1] - 1, 0)
        ends = [*(min(end, most) for end in ends[:-1]), ends[-1]]
    return ends
