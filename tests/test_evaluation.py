import csv
import json

import av
import keras
import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from keras_multigrid import evaluation
from keras_multigrid.data.annotations import VideoRecord, VideoSet
from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.pipeline import view_batches
from keras_multigrid.data.reading import Views
from keras_multigrid.data.sampling import ClipSampling
from keras_multigrid.models import I3D
from keras_multigrid.schedule import Grid

# Colours stay as they are: 0 to 1.
PLAIN = ClipSampling(stride=1, mean=0.0, std=1.0)
GRID = Grid(batch_size=3, num_frames=2, crop_size=8)


def write_video(path, *, frames, height=16, width=16, picture=None):
    """Frame n is grey 10 n, or `picture` of it."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "1", "g": "4"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv444p"
        for number in range(frames):
            image = np.full((height, width, 3), 10 * number, np.uint8)
            if picture is not None:
                image[...] = picture
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return str(path)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Videos of 6, 10 and 21 frames, and one that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    records = [
        VideoRecord(path=write_video(folder / f"{n}.mp4", frames=n), label=i)
        for i, n in enumerate((6, 10, 21))
    ]
    (folder / "bad.mp4").write_text("This is no video.")
    records.insert(1, VideoRecord(path=str(folder / "bad.mp4"), label=0))
    return records


def brightness_model(*, classes=3, classifier_activation="softmax"):
    """Scores (b, 1 - b, b²) of the mean brightness b of a clip."""
    inputs = keras.Input((None, None, None, 3))
    b = keras.layers.GlobalAveragePooling3D()(inputs)[:, :1]
    return keras.Model(inputs, keras.layers.Concatenate()([b, 1 - b, b * b]))


def predictor(**settings):
    settings = {"sampling": PLAIN, "grid": GRID, "crop_size": 8, "batch_size": 3, **settings}
    return evaluation.Predictor(brightness_model(), **settings)


# Views.


@pytest.mark.parametrize(
    ("clips", "starts"), [(1, [4]), (2, [0, 8]), (3, [0, 4, 8]), (4, [0, 2, 5, 8])]
)
def test_clips_lie_evenly_from_the_start_to_the_end(videos, clips, starts):
    # 10 frames leave 8 beside a clip of 2.
    batches = view_batches(videos[2:3], GRID, views=Views(clips=clips, crops=1), sampling=PLAIN)
    seen = np.concatenate([clips.mean((2, 3, 4)) for clips, _ in batches.as_numpy_iterator()])
    expected = [[start, start + 1] for start in starts]
    np.testing.assert_allclose(seen * 25.5, expected, atol=0.2)


@pytest.mark.parametrize(("height", "width"), [(16, 32), (32, 16)])
def test_crops_lie_evenly_along_the_longer_side(tmp_path, height, width):
    ramp = np.linspace(0, 248, 32).astype(np.uint8)
    picture = ramp[None, :, None] if width == 32 else ramp[:, None, None]
    path = write_video(tmp_path / "ramp.mp4", frames=3, height=height, width=width, picture=picture)
    record = VideoRecord(path=path, label=0)
    batches = view_batches([record], GRID, views=Views(clips=1, crops=3), sampling=PLAIN)
    clips, numbers = next(batches.as_numpy_iterator())
    assert clips.shape == (3, 2, 8, 8, 3)
    assert numbers.tolist() == [0, 0, 0]
    # Windows of 16 pixels from 0, 8 and 16: their means are 8 times 7.5, 15.5 and 23.5.
    np.testing.assert_allclose(clips.mean((1, 2, 3, 4)) * 255, [60, 124, 188], atol=2)


@pytest.mark.parametrize("settings", [{"clips": 0}, {"crops": -1}, {"clips": 1.5}])
def test_wrong_views(settings):
    with pytest.raises(ValueError, match=r"must be a positive integer. Received"):
        Views(**settings)


# Scores, worked out by hand.


def test_scores_are_the_mean_or_the_largest_of_the_views(videos):
    # Clips of the video of 6 frames begin at 0, 2 and 4; their brightness is 0.5, 2.5, 4.5 tens.
    b = np.array([5, 25, 45]) / 255
    views = np.stack([b, 1 - b, b * b], axis=1)
    for combine, expected in (("mean", views.mean(axis=0)), ("max", views.max(axis=0))):
        scores, seen = predictor(views=Views(clips=3, crops=2), combine=combine).scores(
            videos[:1], verbose=False
        )
        assert seen.tolist() == [True]
        np.testing.assert_allclose(scores[0], expected, atol=2e-3)
    # The largest 1 - b comes from another view than the largest b.
    assert expected[0] + expected[1] > 1.1


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_every_view_counts_once_whatever_the_batches(videos, batch_size):
    bad_videos = BadVideos(max_share=1.0)
    tested = predictor(views=Views(clips=3, crops=2), batch_size=batch_size)
    scores, seen = tested.scores(videos, bad_videos=bad_videos, verbose=False)
    assert seen.tolist() == [True, False, True, True]
    assert tested.num_views == 18
    # 21 frames leave 19: clips begin at 0, 9 and 19.
    np.testing.assert_allclose(scores[seen][:, 0] * 255, [25, 45, 98.33], atol=1)
    assert list(bad_videos.errors) == [videos[1].path]


# Measures.


def test_top_k():
    scores = np.array([[0.1, 0.7, 0.2], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.4, 0.2]])
    labels = np.array([1, 2, 1, 0])
    assert evaluation.top_k(scores, labels, 1) == 0.5
    assert evaluation.top_k(scores, labels, 2) == 0.75
    assert evaluation.top_k(scores, labels, 5) == 1.0


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_average_precision_is_that_of_scikit_learn(levels):
    random = np.random.default_rng(levels)
    for count in (1, 2, 50):
        scores = random.integers(levels, size=count) / levels  # with ties
        is_positive = random.random(count) < 0.4
        is_positive[0] = True
        expected = average_precision_score(is_positive, scores)
        assert evaluation.average_precision(scores, is_positive) == pytest.approx(expected)
    assert np.isnan(evaluation.average_precision(scores, np.zeros(count, bool)))


def test_confusion_matrix():
    scores = np.eye(3)[[0, 0, 2, 1]]
    matrix = evaluation.confusion_matrix(scores, np.array([0, 1, 2, 1]))
    assert matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]


# Whole tests.


def evaluate(videos, run_dir, *, multi_label=False, **settings):
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
    model.save_weights(run_dir / "checkpoint.weights.h5")
    evaluation.save_classes(video_set, str(run_dir))
    return evaluation.evaluate(
        run_dir=str(run_dir),
        videos=video_set,
        model=brightness_model,
        sampling=PLAIN,
        grid=GRID,
        crop_size=8,
        views=Views(clips=2, crops=1),
        **settings,
    )


def test_evaluation_of_one_class_each(videos, tmp_path):
    result = evaluate(videos, tmp_path / "run")
    # All are darker than half: class 1 has the largest score, and is the label of the third.
    assert result.metrics == {"top1": pytest.approx(1 / 3), "top5": 1.0}
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


def test_predictions_of_own_videos(videos, tmp_path):
    evaluate(videos, tmp_path / "run")
    settings = {
        "run_dir": str(tmp_path / "run"),
        "model": brightness_model,
        "sampling": PLAIN,
        "grid": GRID,
        "crop_size": 8,
    }
    result = evaluation.predict([videos[3].path], top=2, **settings)
    (name, score), (second, _) = result[videos[3].path]
    assert (name, second) == ("half", "dark")
    assert score == pytest.approx(1 - 100 / 255, abs=0.03)
    with pytest.raises(FileNotFoundError, match=r"There is no video at '/none.mp4'"):
        evaluation.predict(["/none.mp4"], **settings)
    with pytest.raises(ValueError, match="Cannot decode"):
        evaluation.predict([videos[1].path], **settings)
    with pytest.raises(FileNotFoundError, match=r"no class names at .* Train first"):
        evaluation.predict([videos[0].path], **{**settings, "run_dir": str(tmp_path)})


def test_errors(videos, tmp_path):
    with pytest.raises(ValueError, match=r"one of \('mean', 'max'\). Received: 'median'"):
        evaluate(videos, tmp_path, combine="median")
    with pytest.raises(FileNotFoundError, match=r"no weights at '/none.weights.h5'. Train first"):
        evaluate(videos, tmp_path, weights="/none.weights.h5")
    with pytest.raises(ValueError, match="None of the 1 validation videos can be read"):
        evaluate(videos[1:2], tmp_path)
    with pytest.raises(ValueError, match="at least 2 frames"):
        evaluation.Predictor(
            I3D(classes=2, blocks=(1, 1, 1, 1), width=4),
            sampling=PLAIN,
            grid=Grid(batch_size=1, num_frames=1, crop_size=32),
        )


def test_larger_views_are_classified_at_each_position(tmp_path):
    network = I3D(classes=2, blocks=(1, 1, 1, 1), width=4)
    path = write_video(tmp_path / "a.mp4", frames=12, height=80, width=80)
    settings = {"sampling": PLAIN, "grid": Grid(batch_size=1, num_frames=4, crop_size=32)}
    tested = evaluation.Predictor(network, views=Views(clips=1, crops=1), crop_size=64, **settings)
    record = VideoRecord(path=path, label=0)
    scores, _ = tested.scores([record], verbose=False)
    batches = view_batches(
        [record],
        Grid(batch_size=1, num_frames=4, crop_size=64),
        views=Views(clips=1, crops=1),
        sampling=PLAIN,
    )
    clip, _ = next(iter(batches))
    expected = network.fully_convolutional(4, 32)(clip)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)
