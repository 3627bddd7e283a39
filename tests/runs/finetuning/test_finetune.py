"""The whole command on a folder of small videos, as a process."""

import html.parser
import json
import pathlib
import re
import shlex
import shutil
import signal
import time

import numpy as np
import phone_videos
import processes
import pytest

from keras_multigrid.runs import run_folder
from keras_multigrid.runs.finetuning import Request, finetune

ROOT = pathlib.Path(__file__).parents[3]
# A few steps of a small network.
TINY = ("batch_size=4", "num_frames=4", "crop_size=32", "stride=1", "epochs=4")
ODD = 'move_up <i>&"'


def call(*arguments, cwd):
    return processes.run(ROOT / "tools" / "finetune.py", *arguments, cwd=cwd)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three videos of each of four classes, and one file that is none."""
    root = tmp_path_factory.mktemp("finetune")
    phone_videos.write_phone_videos(root / "mine", videos=12, short_side=40)
    (root / "mine" / "move_up").rename(root / "mine" / ODD)
    (root / "mine" / ODD / "cut.mp4").write_bytes(b"no video")
    return root


@pytest.fixture(scope="module")
def run(folder):
    result = call("mine", "--out=run", *TINY, cwd=folder)
    assert result.returncode == 0, result.stderr
    return result


class Page(html.parser.HTMLParser):
    """Texts, pictures and links of a page, all of whose tags are closed."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.tags, self.links, self._open = [], [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_every_choice_is_printed_with_what_changes_it(run):
    for text in (
        "Videos: 8 training, 4 validation, 4 classes.",
        "Frames a second: 24, 29.97, 30, 60.",
        "Left out: Cannot decode 'mine/move_up <i>&\"/cut.mp4'",
        "split: 20% of each class, seed 0: 8 training and 4 validation videos\n"
        "    names show no groups clearly.",
        "model: i3d_small\n",
        "initial_weights: none\n",
        "crop_size: 32\n    as given  [crop_size=112]",
        "flip: false\n    the class 'move_left' tells left from right  [flip=true]",
        "Time: about ",
        "report:  run/report.html",
        "predict: keras-multigrid predict --run=run my_video.mp4",
    ):
        assert text in run.stdout
    # Said before it begins.
    assert run.stdout.index("Time: about") < run.stdout.index("Keras epoch 1 of")


def test_the_page_is_whole_and_loads_nothing(run, folder):
    text = (folder / "run" / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    shown = " ".join(page.texts)
    for title in ("Learning curve", "Confusions", "Classes", "Hardest clips", "Settings"):
        assert title in shown
    assert ODD in page.texts
    assert "<i>" not in text
    assert {"svg", "polyline", "details"} <= set(page.tags)
    assert not {"script", "link", "iframe", "i"} & set(page.tags)
    # Four videos were tested: each a clip and what the network looked at.
    assert page.tags.count("img") == 8
    assert all(link.startswith("data:image/webp;base64,") for link in page.links)
    assert "keras-multigrid predict --run=run my_video.mp4" in page.texts
    assert "keras-multigrid export --run=run --out=mine.onnx" in page.texts
    assert "10 clips of each" not in shown and "5 clips of each" in shown


def test_the_run_folder_holds_what_any_run_has(run, folder):
    assert (folder / "run" / "model.keras").exists()
    assert len((folder / "run" / "videos" / "train.txt").read_text().splitlines()) == 8
    assert "crop_size: 32" in (folder / "run" / "choices.txt").read_text()
    report = run_folder.read_report(str(folder / "run"))
    assert report.metrics["accuracy"] == report.curve[-1]["val_accuracy"]
    grid, sampling = run_folder.read_clips(str(folder / "run"))
    assert (grid.num_frames, grid.crop_size, sampling.flip) == (4, 32, False)


def test_the_line_that_is_printed_predicts(run, folder):
    (line,) = re.findall(r"^predict: keras-multigrid predict (.*) my_video.mp4$", run.stdout, re.M)
    video = next((folder / "mine" / "grow").iterdir())
    arguments = (ROOT / "tools" / "predict.py", *shlex.split(line))
    result = processes.run(*arguments, video, "--top=2", cwd=folder)
    assert result.returncode == 0, result.stderr
    scores = re.findall(r"^  (\d\.\d{4})  (.+)$", result.stdout, re.M)
    assert len(scores) == 2
    assert {name for _, name in scores} < {*phone_videos.CLASSES, ODD}
    # A preset of the run has its clips and classes, and so says the same.
    convert = (ROOT / "tools" / "convert_weights.py", "--source=run", "--out=preset")
    assert processes.run(*convert, cwd=folder).returncode == 0
    preset = (ROOT / "tools" / "predict.py", "--preset=preset", video, "--top=2")
    printed = processes.run(*preset, cwd=folder).stdout
    seconds = re.compile(r", \d+ s$", re.M)
    assert seconds.sub("", printed) == seconds.sub("", result.stdout)
    result = processes.run(*arguments, video, "--gin_file=quickstart", cwd=folder)
    assert result.returncode == 2
    assert "--preset and --run go without --gin_file" in result.stderr
    result = processes.run(ROOT / "tools" / "predict.py", "--run=mine", video, cwd=folder)
    assert result.returncode == 2
    assert "There is no 'mine/clips.json', which says what clips" in result.stderr


def test_the_run_is_tested_by_its_folder(run, folder):
    arguments = (ROOT / "tools" / "evaluate.py", "--run=run", "--clips=1", "--crops=1")
    result = processes.run(*arguments, r"--by=_(\d+)", "--out=own.json", cwd=folder)
    assert result.returncode == 0, result.stderr
    own = json.loads((folder / "own.json").read_text())
    assert own["num_videos"] == 4 and own["per_group"]
    result = processes.run(*arguments, "mine", "--per_class=false", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "12 videos, 12 views" in result.stdout
    result = processes.run(*arguments, "mine", "more", cwd=folder)
    assert result.returncode == 2
    assert "Expected one folder of videos, or a list" in result.stderr
    result = processes.run(arguments[0], "--gin_file=quickstart", "--clips=1", cwd=folder)
    assert result.returncode == 2
    assert "--clips and --crops go with --run." in result.stderr


def test_a_finished_run_is_left_as_it_is(run, folder):
    model = folder / "run" / "model.keras"
    before = model.stat().st_mtime_ns
    (folder / "run" / "report.html").unlink()
    # What came since is not in its lists.
    (folder / "mine" / "grow" / "new.mp4").write_bytes(b"new")
    result = call("mine", "--out=run", *TINY, cwd=folder)
    (folder / "mine" / "grow" / "new.mp4").unlink()
    assert result.returncode == 0, result.stderr
    assert model.stat().st_mtime_ns == before
    assert "Keras epoch" not in result.stdout
    assert (folder / "run" / "report.html").exists()
    result = call("mine", "--out=run", *TINY[:-1], "epochs=5", "--minutes=9", cwd=folder)
    assert result.returncode == 2
    assert "--minutes was 30.0, is now 9.0; `epochs` was 4, is now 5. Give" in result.stderr


@pytest.mark.slow
def test_other_settings_begin_a_run_anew_until_it_has_trained(run, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    shutil.copytree(folder / "run" / "videos", folder / "anew" / "videos")
    shutil.copy(folder / "run" / "finetune.json", folder / "anew")
    given = {"batch_size": 4, "num_frames": 4, "crop_size": 32, "stride": 1, "epochs": 5}
    request = Request(source="mine", run_dir="anew", given=given)
    finetune(request, dry_run=True)
    assert "epochs: 5\n    as given" in capsys.readouterr().out
    (folder / "anew" / "checkpoints").mkdir()
    with pytest.raises(ValueError, match="began with: `epochs` was 4, is now 5"):
        finetune(request, dry_run=True)


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(run, folder):
    arguments = ("mine", "--out=stopped", *TINY)
    process = processes.Process(ROOT / "tools" / "finetune.py", *arguments, cwd=folder)
    checkpoints = folder / "stopped" / "checkpoints"
    while process.poll() is None and not list(checkpoints.glob("*.json")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 143, process.stderr.read()
    assert not (folder / "stopped" / "report.html").exists()
    result = call(*arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    assert (folder / "stopped" / "report.html").exists()
    curves = [json.loads((folder / name / "curve.json").read_text()) for name in ("run", "stopped")]
    losses = [[point["val_loss"] for point in curve] for curve in curves]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


@pytest.mark.slow
def test_small_copies_and_the_weights_of_another_run(run, folder):
    flags = ("--out=copied", "--copies=true", "--weights=run/model.keras")
    result = call("mine", *flags, *TINY[:-1], "epochs=2", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "model: i3d_small\n    the network of the weights" in result.stdout
    assert "subtract_clip_mean: false\n    as the weights were trained" in result.stdout
    assert "12 of 12 videos" in result.stdout
    assert (folder / "copied" / "records" / "manifest.json").exists()
    text = (folder / "copied" / "report.html").read_text(encoding="utf-8")
    # Its clips are those of the files.
    assert "mine/grow/" in text and "records" not in "".join(Page(text).links)


def test_a_dry_run_writes_nothing(folder):
    result = call("mine", "--out=dry", "--dry_run", *TINY, "--group=none", "flip=true", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "no groups, as asked for" in result.stdout
    assert "flip: true\n    as given" in result.stdout
    assert "Time: about " in result.stdout
    assert not (folder / "dry").exists() or not list((folder / "dry").iterdir())


@pytest.mark.slow
def test_the_example_of_the_documents(folder, tmp_path, monkeypatch, capsys):
    text = (ROOT / "docs" / "own_videos.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    (tmp_path / "my_videos").symlink_to(folder / "mine")
    monkeypatch.chdir(tmp_path)
    # Of this process, which has imported TensorFlow.
    exec(compile(example, "own_videos.md", "exec"), {"__name__": "__main__"})
    shown = capsys.readouterr().out
    assert "flip: false\n    as given" in shown
    assert not (tmp_path / "runs").exists()


def test_what_was_typed_wrong(folder):
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    for path in ("other/thesis.txt", "thesis.mp4"):
        (folder / path).touch()
    for arguments, message in (
        (("mine",), "--out is missing"),
        (("--out=x",), "Expected one folder of videos, or a list of them. Received: none"),
        (("mine", "--out=x", "boundaries=3"), "no setting 'boundaries' of this command"),
        (("mine", "--out=x", "--balance=some"), "balance"),
        (("nothing", "--out=x"), "There is no folder and no list of videos 'nothing'"),
        (("empty", "--out=x"), "The folder 'empty' is empty"),
        (("thesis.mp4", "--out=x"), "'thesis.mp4' is one file"),
        (("mine", "--out=thesis.mp4"), "--out must be a folder. Received a file"),
        (("mine", "--out=mine/run"), "--out must not be in the folder of the videos"),
        (("mine", "--out=other"), "which holds something else"),
    ):
        result = call(*arguments, cwd=folder)
        assert result.returncode == 2, result.stderr
        assert message in result.stderr


@pytest.mark.parametrize(
    "source, settings, message",
    [
        ("nothing", {}, "'nothing', which is missing or holds no folders"),
        ("mine/grow", {}, "which is missing or holds no folders"),
        ("mine", {"weights": "no.pkl"}, "must tell their network by their name"),
        ("mine", {"weights": "I3D_8x8_R50.pkl"}, "'I3D_8x8_R50.pkl', which is no file"),
        ("mine", {"group": "([a-"}, r"must be a regular expression. Received: '\(\[a-'"),
        ("mine", {"minutes": 0}, "`minutes` must be"),
        ("mine", {"given": {"batch_size": 0}}, "`batch_size` must be a positive integer"),
        ("mine", {"given": {"learning_rate": 0}}, "`learning_rate` must be a positive number"),
        ("mine", {"epoch_factor": -1}, "`epoch_factor` must be a positive number"),
        ("mine", {"workers": 0}, "`workers` must be a positive integer"),
        ("mine", {"given": {"rate": 1}}, "must name settings. Received: rate"),
    ],
)
def test_what_cannot_be_done_is_told_first(folder, monkeypatch, source, settings, message):
    monkeypatch.chdir(folder)
    with pytest.raises((ValueError, OSError), match=message):
        finetune(Request(source=source, run_dir="x", **settings))
    assert not (folder / "x").exists()
