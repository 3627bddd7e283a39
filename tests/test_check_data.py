"""tools/check_data.py, as a process."""

import pathlib

import numpy as np
import processes
from lists_gin import lists_gin
from PIL import Image

ROOT = pathlib.Path(__file__).parents[1]


def call(*gin_files, cwd):
    flags = [f"--gin_file={file}" for file in gin_files]
    return processes.run(ROOT / "tools" / "check_data.py", *flags, cwd=cwd)


def test_findings_and_cleaned_lists(tmp_path):
    for number in range(4):
        (tmp_path / f"v{number}").mkdir()
        image = np.full((16, 16, 3), 60 * number, np.uint8)
        Image.fromarray(image).save(tmp_path / f"v{number}" / "1.jpg")
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "train.txt").write_text("v0 0\nbad.mp4 0\nv1\nv2 1\nv3 0\n")
    (tmp_path / "val.txt").write_text("v3 1\n")
    (tmp_path / "data.gin").write_text(lists_gin(tmp_path))
    experiment = ("gin/i3d_weizmann.gin", "data.gin")
    result = call(*experiment, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "Videos: 4 training, 1 validation, 2 classes.\n" in result.stdout
    assert "Classes without a validation video: 1 (0).\n" in result.stdout
    assert f"\n0             3           0  {'#' * 40}\n1 " in result.stdout
    assert "3 findings in check/findings.tsv" in result.stdout
    assert "2 training and 1 validation videos can be used: check/cleaned.gin" in result.stdout
    table = (tmp_path / "check" / "findings.tsv").read_text().splitlines()
    header, bad_line, bad_video, leak = (line.split("\t") for line in table)
    assert header == ["path", "part", "reason"]
    assert bad_line[:2] == ["train.txt, line 3", "list"]
    assert bad_line[2] == "it must be a path, a space or comma, and a label: 'v1'"
    assert bad_video[:2] == [f"{tmp_path}/bad.mp4", "train"]
    assert "unreadable" in bad_video[2]
    assert leak[:2] == [f"{tmp_path}/v3", "train"]
    assert leak[2].endswith("/v3', with another label")
    train = (tmp_path / "check" / "train.txt").read_text()
    assert train == f"{tmp_path}/v0 0\n{tmp_path}/v2 1\n"
    # With the cleaned lists the data are whole; what was checked is not checked again.
    journal = (tmp_path / "check" / "journal.jsonl").read_text()
    result = call(*experiment, "check/cleaned.gin", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "0 findings" in result.stdout
    assert (tmp_path / "check" / "journal.jsonl").read_text() == journal
    assert "NUM_CLIPS = 2\n" in (tmp_path / "check" / "cleaned.gin").read_text()


def test_a_set_that_cannot_be_meant_is_a_finding(tmp_path):
    (tmp_path / "v0").mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "v0" / "1.jpg")
    for kind in ("flow_x", "img"):
        (tmp_path / "v1").mkdir(exist_ok=True)
        Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(tmp_path / "v1" / f"{kind}_1.jpg")
    (tmp_path / "train.txt").write_text("v0 0\nv1 0\n")
    (tmp_path / "val.txt").write_text("v0 0\n")
    (tmp_path / "data.gin").write_text(lists_gin(tmp_path))
    result = call("gin/i3d_weizmann.gin", "data.gin", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "No model can be trained: there is one class, '0'" in result.stdout
    _, one_class, leak, flow = (tmp_path / "check" / "findings.tsv").read_text().splitlines()
    assert one_class.startswith("the whole set\tset\tthere is one class, '0'")
    assert "listed before" in leak
    assert "Received: 'flow_x_*' (1) and 'img_*' (1)" in flow
