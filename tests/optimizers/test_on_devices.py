"""Optimizers update the weights of two devices as those of one."""

import pathlib

import numpy as np
import pytest
from processes import Process

SCRIPT = pathlib.Path(__file__).parent / "device_run.py"


@pytest.mark.slow
def test_two_devices_train_as_one(tmp_path):
    # One replica of a strategy, too: TensorFlow lets it meet itself.
    runs = {devices: Process(SCRIPT, tmp_path / f"{devices}.npz", devices) for devices in (1, 2)}
    for run in runs.values():
        assert run.wait(timeout=600) == 0, run.stderr.read()[-3000:]
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "2.npz") as two:
        assert one.files == two.files
        for name in one.files:
            np.testing.assert_allclose(two[name], one[name], atol=2e-5, err_msg=name)
        # The one video came in each of two epochs, and its step was skipped.
        assert one["float16 7"] == one["float16+accumulation 7"] == 2**15 / 2**2
