import csv
import json

import pytest
from grey_videos import GRID, PLAIN, brightness_model, write_videos

from keras_multigrid import runs
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.runs import former, run_folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"))


def evaluate(videos, run_dir, *, multi_label=False, **settings):
    return former.evaluate(**settings_of(videos, run_dir, multi_label=multi_label, **settings))


def settings_of(videos, run_dir, *, multi_label=False, **settings):
    records = videos
    if multi_label:
        labels = [(0,), (1,), (0, 2), ()]
        records = [VideoRecord(path=v.path, label=y) for v, y in zip(videos, labels, strict=True)]
    video_set = VideoSet(
        train=[],
        validation=records,
        class_names=("dark", "half", "bright"),
        multi_label=multi_label,
    )
    model = brightness_model()
    run_dir.mkdir(exist_ok=True)
    model.save_weights(run_dir / "mine.weights.h5")
    settings = {"weights": str(run_dir / "mine.weights.h5"), **settings}
    run_folder.save_classes(video_set, str(run_dir))
    return {
        "run_dir": str(run_dir),
        "videos": video_set,
        "model": brightness_model,
        "sampling": PLAIN,
        "grid": GRID,
        "crop_size": 8,
        "views": Views(clips=2, crops=1),
        **settings,
    }


def test_evaluation_of_one_class_each(videos, tmp_path):
    result = evaluate(videos, tmp_path / "run")
    # All are darker than half: class 1 has the largest score, and is the label of the third.
    third = pytest.approx(1 / 3)
    assert result.metrics == {"top1": third, "top5": 1.0, "balanced_accuracy": third}
    assert [row["num_videos"] for row in result.per_class] == [1, 1, 1]
    assert [row["top1"] for row in result.per_class] == [0.0, 1.0, 0.0]
    assert (result.num_videos, result.views, len(result.bad_videos)) == (3, 6, 1)
    assert "top1 0.3333" in str(result)
    assert "1 unreadable videos do not count" in str(result)
    saved = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert saved["metrics"]["top5"] == 1.0
    with open(tmp_path / "run" / "predictions.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["path", "label", "dark", "half", "bright"]
    assert [row[:2] for row in table[1:]] == [
        [videos[0].path, "dark"],
        [videos[2].path, "half"],
        [videos[3].path, "bright"],
    ]
    assert (tmp_path / "run" / "confusion.png").read_bytes()[:4] == b"\x89PNG"


def test_evaluation_of_several_classes_a_video(videos, tmp_path):
    result = evaluate(videos, tmp_path / "run", multi_label=True, combine="max")
    rows = {row["name"]: row for row in result.per_class}
    # Class 0 belongs to the two darker of three videos: precisions 1/2 and 2/3.
    assert rows["dark"]["average_precision"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert rows["half"] == {"name": "half", "num_videos": 0, "average_precision": None}
    assert result.metrics["mAP"] == pytest.approx(((1 / 2 + 2 / 3) / 2 + 1 / 2) / 2)
    assert "mAP" in str(result)


def by_camera(videos, run_dir, table, **settings):
    settings = settings_of(videos, run_dir, **settings)
    test = {"combine": settings.pop("combine", "mean")}
    test |= {name: settings.pop(name) for name in ("run_dir", "grid", "crop_size", "views")}
    test |= {"weights": settings.pop("weights")}
    return runs.evaluate(
        model=runs.Model(model=settings.pop("model")),
        test=runs.MultiViewTest(**test),
        data=runs.Data(**settings),
        by="camera",
        table=str(table),
    )


def test_evaluation_by_group(videos, tmp_path):
    table = tmp_path / "cameras.csv"
    # The second video cannot be read.
    table.write_text("path,camera\n6.mp4,front\nbad.mp4,top\n10.mp4,side\n21.mp4,front\n")
    result = by_camera(videos, tmp_path / "run", table)
    rows = [(row["name"], row["num_videos"], row["top1"]) for row in result.per_group]
    assert rows == [("front", 2, 0.0), ("side", 1, 1.0)]
    assert str(result).splitlines()[-4:] == [
        f"groups by the column 'camera' of {table}, the worst first:",
        "group  videos   top-1  ± standard error",
        "front       2  0.0000  ± 0.1925",
        # 3 of 5.
        "side        1  1.0000  ± 0.2191",
    ]
    saved = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert saved["per_group"][0]["name"] == "front"
    several = by_camera(videos, tmp_path / "other", table, multi_label=True)
    # Of one video, the class has the only place; its labels are (0, 2) and none in the front.
    assert [(row["name"], row["mAP"]) for row in several.per_group][-1][0] == "side"
    with pytest.raises(ValueError, match=r"Received: by='camera'\. There are: 'path'"):
        table.write_text("path\n6.mp4\n")
        by_camera(videos, tmp_path / "run", table)


def test_predictions_of_own_videos(videos, tmp_path):
    evaluate(videos, tmp_path / "run")
    settings = {
        "run_dir": str(tmp_path / "run"),
        "weights": str(tmp_path / "run" / "mine.weights.h5"),
        "model": brightness_model,
        "sampling": PLAIN,
        "grid": GRID,
        "crop_size": 8,
    }
    result = former.predict([videos[3].path], top=2, **settings)
    (name, score), (second, _) = result[videos[3].path]
    assert (name, second) == ("half", "dark")
    assert score == pytest.approx(1 - 100 / 255, abs=0.03)
    with pytest.raises(FileNotFoundError, match=r"There is no video at '/none.mp4'"):
        former.predict(["/none.mp4"], **settings)
    with pytest.raises(ValueError, match="Cannot decode"):
        former.predict([videos[1].path], **settings)
    with pytest.raises(FileNotFoundError, match=r"no class names at .* Train first"):
        former.predict([videos[0].path], **{**settings, "run_dir": str(tmp_path)})


def test_a_set_without_validation_videos_is_refused(videos, tmp_path):
    with pytest.raises(ValueError, match="must have validation videos"):
        evaluate([], tmp_path)
    away = [VideoRecord(path=f"/away{video.path}", label=0) for video in videos]
    with pytest.raises(FileNotFoundError, match=f"Tried: '{away[0].path}', '{away[1].path}'"):
        evaluate(away, tmp_path)


def test_errors(videos, tmp_path):
    with pytest.raises(ValueError, match=r"one of 'mean', 'max'. Received: combine='median'"):
        evaluate(videos, tmp_path, combine="median")
    with pytest.raises(FileNotFoundError, match=r"no weights at '/none.weights.h5'. Train first"):
        evaluate(videos, tmp_path, weights="/none.weights.h5")
    for weights, what in ((None, "no checkpoint in"), ("best", "a result named 'val_accuracy'")):
        with pytest.raises(FileNotFoundError, match=what):
            evaluate(videos, tmp_path, weights=weights)
    with pytest.raises(ValueError, match="None of the 1 validation videos can be read"):
        evaluate(videos[1:2], tmp_path)
