"""Lines of a log that tell how far training is."""

import re

import pytest
from small_fit import SCHEDULE, make_batches, make_model

from keras_multigrid.callbacks import MultigridCallback, ProgressLog
from keras_multigrid.runs.long_run import LongRun


def fit(seconds):
    make_model().fit(
        make_batches(),
        steps_per_epoch=SCHEDULE.total_steps // 2,
        epochs=3,
        callbacks=[MultigridCallback(log_dir=None), ProgressLog(seconds=seconds)],
        verbose=0,
    )


def test_a_line_with_step_grid_loss_rate_and_time_left(capsys):
    fit(seconds=0)
    output = capsys.readouterr().out
    total = SCHEDULE.total_steps
    # The first step, which is traced, says nothing of the others.
    for step, left in ((0, ""), *((step, ", [0-9]+ (s|min) left") for step in (1, total - 1))):
        line = (
            rf"^step {step + 1} of {total}: {re.escape(str(SCHEDULE.grid(step)))}, loss [0-9.]+, "
            rf"learning rate [0-9.e-]+{left}$"
        )
        assert re.search(line, output, flags=re.MULTILINE), output
    # The last step leaves nothing to do.
    assert re.search(rf"^step {total} of {total}: .* 0 s left$", output, flags=re.MULTILINE)


def test_no_line_before_its_time_but_at_ends_of_keras_epochs(capsys):
    fit(seconds=3600)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        f"step {SCHEDULE.total_steps // 2} of {SCHEDULE.total_steps}: Keras epoch 1 of 3 ended, "
    )
    assert all("Keras epoch" in line and "accuracy 0." in line for line in lines)


def test_time_left_follows_the_work():
    log = ProgressLog(SCHEDULE)
    log._schedule = SCHEDULE
    work = [SCHEDULE.grid(step).voxels for step in range(SCHEDULE.total_steps)]
    for step in (0, *(phase.end_step for phase in SCHEDULE.phases)):
        left = sum(work[step:]) / SCHEDULE.baseline_grid.voxels
        assert log._work_left(step) == pytest.approx(left)


@pytest.mark.parametrize("limit, number", [(0, 1), (3600, 0)])
def test_a_long_run_is_noticed_once(limit, number):
    noticed = []
    make_model().fit(
        make_batches(),
        steps_per_epoch=4,
        epochs=2,
        callbacks=[MultigridCallback(log_dir=None), LongRun(noticed.append, after=0, limit=limit)],
        verbose=0,
    )
    assert len(noticed) == number
    assert all(0 < seconds < 3600 for seconds in noticed)
