"""How a run went."""

import dataclasses
from collections.abc import Mapping, Sequence


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """How a run went.

    Args:
        steps: steps trained, with those before the last checkpoint.
        baseline_steps: steps that the baseline would have taken.
        seconds: wall-clock of this call's fit, validation included.
        curve: of each validation, the step, the seconds of training before it (validation left
            out) and the results.
        metrics: results on the validation videos at the baseline's grid.
        still_metrics: the same with one frame repeated, if asked for.
        clips_per_second: throughput by grid, named like "8 x 16 x 48²".
        input_wait_share: share of the fit that was spent waiting for input.
        input_wait_shares: the same of the steps at each grid; empty in reports of earlier versions.
        work: clips * frames * crop² of all these steps, in steps of the baseline; None in reports
            of earlier versions.
        bad_videos: path to error of every unreadable file.
        replaced_clips: training clips replaced because of them, or validation clips left out.
    """

    steps: int
    baseline_steps: int
    seconds: float
    curve: Sequence[Mapping[str, float]]
    metrics: Mapping[str, float]
    still_metrics: Mapping[str, float] | None
    clips_per_second: Mapping[str, float]
    input_wait_share: float
    bad_videos: Mapping[str, str]
    replaced_clips: int
    input_wait_shares: Mapping[str, float] = dataclasses.field(default_factory=dict)
    work: float | None = None

    def __str__(self) -> str:
        work = "" if self.work is None else f", the work of {self.work:,.0f} of the baseline,"
        lines = [
            f"{self.steps:,} steps{work} in {self.seconds:.0f} s, {self._versus_baseline()}; "
            f"{self.input_wait_share:.0%} of the time waiting for input",
            "validation at the base grid: " + named(self.metrics),
        ]
        if self.still_metrics is not None:
            lines.append("control, one frame repeated:  " + named(self.still_metrics))
        lines.append("clips per second by grid (clips x frames x crop²), time waiting for input:")
        for grid, rate in self.clips_per_second.items():
            share = self.input_wait_shares.get(grid)
            lines.append(
                f"  {grid:>20}  {rate:8.1f}" + ("" if share is None else f"  {share:4.0%}")
            )
        if self.bad_videos:
            lines.append(
                f"{len(self.bad_videos)} unreadable videos, {self.replaced_clips} clips replaced"
            )
        return "\n".join(lines)

    def _versus_baseline(self) -> str:
        ours, baseline = self.steps, self.baseline_steps
        if ours == baseline:
            return "as many steps as the baseline"
        if ours > baseline:
            return f"{ours / baseline:.2f} times as many steps as the baseline's {baseline:,}"
        return f"{baseline / ours:.2f} times fewer steps than the baseline's {baseline:,}"


def named(metrics: Mapping[str, float]) -> str:
    """Metrics as text: "accuracy 0.9500, loss 0.3411"."""
    return ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
