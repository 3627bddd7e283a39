"""The whole quickstart, as a user runs it, watched step by step."""

import json
import pathlib

import processes
import pytest

CHANCE = 1 / 12


@pytest.mark.slow
def test_quickstart(tmp_path):
    probe = pathlib.Path(__file__).parent / "quickstart_probe.py"
    result = processes.run(
        probe,
        f"--out={tmp_path}/run.json",
        "--gin_file=gin/quickstart.gin",
        f"--gin_param=DATA_DIR='{tmp_path}/data'",
        f"--gin_param=RUN_DIR='{tmp_path}/run'",
    )
    assert result.returncode == 0, result.stderr[-3000:]
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["shapes"] == run["expected"]
    assert run["traces"] <= 4
    memory = run["memory"][run["all_grids_seen"] :]
    assert len(memory) > 100
    assert max(memory) < 1.05 * memory[0]
    assert run["metrics"]["accuracy"] >= 0.9
    assert run["still_metrics"]["accuracy"] < 2 * CHANCE
