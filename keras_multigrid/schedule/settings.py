"""The settings of a multigrid schedule, checked."""

import dataclasses
import itertools
import math

from keras_multigrid.checks import check_boolean, check_integer, check_not_negative, check_positive
from keras_multigrid.schedule.grid import Grid

SQRT_HALF = math.sqrt(0.5)

# Paper, section 3.2: frames and crop of the four base grids, as shares of the baseline's.
LONG_CYCLE = ((0.25, SQRT_HALF), (0.5, SQRT_HALF), (0.5, 1.0), (1.0, 1.0))
# Paper, section 3.2: the two small crops of the short cycle; the third is the base grid's own.
SHORT_CYCLE = (0.5, SQRT_HALF)

_SHARES = "Use 0.25, or 0 as published."
_GROWTHS = "Use 1 for constant work of a step, 0 for the baseline's batch, or a number between."


@dataclasses.dataclass(frozen=True)
class ScheduleSettings:
    """The settings of a `MultigridSchedule`; its docstring explains each of them."""

    base: Grid
    num_clips: int
    epochs: int
    boundaries: tuple[int, ...] = ()
    decay: float = 0.1
    epoch_factor: float = 1.5
    long_cycle: tuple[tuple[float, float], ...] = LONG_CYCLE
    short_cycle: tuple[float, ...] = SHORT_CYCLE
    round_to_epochs: bool = False
    long_cycles: int = 1
    replicas: int = 1
    clips_per_group: int = 8
    batch_growth: float = 1.0
    min_frames: int = 1
    min_crop: int = 1
    phase_shares: tuple[float, ...] = ()
    base_share: float = 0.0

    def __post_init__(self):
        _check_values(self)
        _check_boundaries(self)
        _check_cycles(self)
        # gin and JSON give lists: a frozen value must be hashable.
        object.__setattr__(self, "boundaries", tuple(self.boundaries))
        object.__setattr__(self, "long_cycle", tuple(tuple(shape) for shape in self.long_cycle))
        object.__setattr__(self, "short_cycle", tuple(self.short_cycle))
        object.__setattr__(self, "phase_shares", tuple(self.phase_shares))

    @property
    def baseline_grid(self) -> Grid:
        """`base`, with its clips rounded to the nearest multiple of `replicas` (half: upwards)."""
        share = (2 * self.base.batch_size + self.replicas) // (2 * self.replicas)
        return dataclasses.replace(self.base, batch_size=max(1, share) * self.replicas)

    @property
    def ends_at_base(self) -> bool:
        """Whether the last steps train at the base grid alone, which a baseline always does."""
        return self.base_share > 0 and bool(self.long_cycle or self.short_cycle)

    @property
    def has_published_batches(self) -> bool:
        """Whether batches grow as published, at constant work, and no grid meets a floor."""
        shapes = self.long_cycle or ((1.0, 1.0),)
        frames = min(share for share, _ in shapes)
        crop = min([share for _, share in shapes] + list(self.short_cycle))
        return (
            self.batch_growth == 1
            and round(self.base.num_frames * frames) >= self.min_frames
            and round(self.base.crop_size * crop) >= self.min_crop
        )


def _check_values(settings: ScheduleSettings) -> None:
    if not isinstance(settings.base, Grid):
        raise ValueError(
            f"`base` must be a Grid. Received: base={settings.base!r}. "
            "Use Grid(batch_size=64, num_frames=32, crop_size=224)."
        )
    for name in ("num_clips", "epochs", "long_cycles", "replicas", "clips_per_group"):
        check_integer(name, getattr(settings, name))
    for name in ("decay", "epoch_factor"):
        check_positive(name, getattr(settings, name))
    check_not_negative("batch_growth", settings.batch_growth, _GROWTHS)
    if settings.batch_growth > 1:
        raise ValueError(
            "`batch_growth` must be at most 1: above, coarse grids would be more work than the "
            f"baseline's. Received: batch_growth={settings.batch_growth!r}. {_GROWTHS}"
        )
    check_not_negative("base_share", settings.base_share, _SHARES)
    if settings.base_share >= 1:
        raise ValueError(
            "`base_share` must be below 1: all steps at the base grid are the baseline's. "
            f"Received: base_share={settings.base_share!r}. {_SHARES}"
        )
    base = settings.base
    for name, most in (("min_frames", base.num_frames), ("min_crop", base.crop_size)):
        remedy = f"The baseline's grid is {base}; no other has more. Use 1 for no floor."
        check_integer(name, getattr(settings, name), most=most, remedy=remedy)
    check_boolean("round_to_epochs", settings.round_to_epochs)
    for name in ("boundaries", "long_cycle", "short_cycle", "phase_shares"):
        value = getattr(settings, name)
        if not isinstance(value, (tuple, list)):
            raise ValueError(f"`{name}` must be a tuple, () for none. Received: {name}={value!r}.")


def _check_boundaries(settings: ScheduleSettings) -> None:
    for boundary in settings.boundaries:
        check_positive("boundaries", boundary)
    ends = (*settings.boundaries, settings.epochs)
    if any(first >= second for first, second in itertools.pairwise(ends)):
        raise ValueError(
            "`boundaries` must rise and lie before the last epoch. "
            f"Received: boundaries={tuple(settings.boundaries)}, epochs={settings.epochs}."
        )
    if settings.boundaries and settings.long_cycles != 1:
        raise ValueError(
            "`long_cycles` is for training without `boundaries`: with them the long cycle runs "
            f"once in each learning-rate stage. Received: long_cycles={settings.long_cycles}, "
            f"boundaries={tuple(settings.boundaries)}. Leave one of them out."
        )
    if settings.boundaries and settings.base_share > 0:
        raise ValueError(
            "`base_share` is for training without `boundaries`: what follows the last of them is "
            f"fine-tuning already. Received: base_share={settings.base_share}, "
            f"boundaries={tuple(settings.boundaries)}. Leave one of them out."
        )


def _check_cycles(settings: ScheduleSettings) -> None:
    """Every share must give a grid of at least one frame, one pixel and one clip."""
    for shape in settings.long_cycle:
        if not isinstance(shape, (tuple, list)) or len(shape) != 2:
            raise ValueError(
                "`long_cycle` must hold pairs (share of frames, share of crop). "
                f"Received: {shape!r}."
            )
        _check_share("long_cycle", shape[0], settings.base.num_frames, settings.min_frames)
        _check_share("long_cycle", shape[1], settings.base.crop_size, settings.min_crop)
    for share in settings.short_cycle:
        _check_share("short_cycle", share, settings.base.crop_size, settings.min_crop)
    if settings.long_cycle and tuple(settings.long_cycle[-1]) != (1.0, 1.0):
        raise ValueError(
            "`long_cycle` must end with the base grid, (1.0, 1.0), which training ends with. "
            f"Received: long_cycle={settings.long_cycle}."
        )
    # Without a long cycle, as in the baseline of a schedule, they say nothing.
    if settings.long_cycle and len(settings.phase_shares) not in (0, len(settings.long_cycle)):
        raise ValueError(
            "`phase_shares` must name a share for each base grid of `long_cycle`. Received: "
            f"phase_shares={settings.phase_shares}, {len(settings.long_cycle)} base grids. Use () "
            "for equal shares."
        )
    for share in settings.phase_shares:
        check_positive("phase_shares", share)
    if list(settings.short_cycle) != sorted(settings.short_cycle):
        raise ValueError(
            "`short_cycle` must name the smallest crop first. "
            f"Received: short_cycle={settings.short_cycle}."
        )


def _check_share(name: str, share: object, size: int, floor: int) -> None:
    check_positive(name, share)
    # A floor of 1 is none: nobody asked for clips of one frame.
    if share > 1 or (round(size * share) < 1 and floor == 1):
        raise ValueError(
            f"`{name}` must hold shares of the baseline's size, at most 1 and large enough to "
            f"leave one frame and one pixel. Received: {share!r} of {size}. "
            "Use a larger base grid or a larger share."
        )
