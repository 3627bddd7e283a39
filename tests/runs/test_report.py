"""The report of a run, as text."""

import dataclasses

from keras_multigrid.runs.report import Report

REPORT = Report(
    steps=20,
    baseline_steps=36,
    seconds=12.3,
    curve=(),
    metrics={"accuracy": 0.5},
    still_metrics=None,
    clips_per_second={},
    input_wait_share=0.25,
    bad_videos={},
    replaced_clips=0,
    work=19.6,
)


def first_line(**changes) -> str:
    return str(dataclasses.replace(REPORT, **changes)).splitlines()[0]


def test_steps_and_work_beside_the_baselines():
    assert first_line() == (
        "20 steps, the work of 20 of the baseline, in 12 s, 1.80 times fewer steps than the "
        "baseline's 36; 25% of the time waiting for input"
    )


def test_more_steps_of_less_work():
    # As with a batch that does not grow.
    assert first_line(steps=54) == (
        "54 steps, the work of 20 of the baseline, in 12 s, 1.50 times as many steps as the "
        "baseline's 36; 25% of the time waiting for input"
    )


def test_as_many_steps():
    assert "in 12 s, as many steps as the baseline; 25% of" in first_line(steps=36)


def test_reports_of_earlier_versions_lack_the_work():
    assert first_line(work=None).startswith("20 steps in 12 s, 1.80 times fewer steps")
