"""Scores and segments of long videos."""

import keras
import numpy as np
import pytest
from grey_videos import GRID, PLAIN, brightness_model, write_video, write_videos

from keras_multigrid import models
from keras_multigrid.data.clips.passages import Passages
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.long_videos import Passage
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.runs import prediction
from keras_multigrid.runs.passage_scores import PassageNetwork, Segment, Segments
from keras_multigrid.runs.settings import MultiViewTest
from keras_multigrid.runs.trained_model import TrainedModel
from keras_multigrid.task import SingleLabel

NAMES = ("bright", "dark", "very bright")


def trained(network=None, **settings):
    settings = {"grid": GRID, "crop_size": 8, "views": Views(clips=2, crops=1), **settings}
    return TrainedModel(
        network=brightness_model() if network is None else network,
        task=SingleLabel(NAMES),
        sampling=PLAIN,
        test=MultiViewTest(run_dir="", **settings),
    )


# Scores, worked out by hand.


@pytest.mark.parametrize("batch_size", [1, 2, 3, 8])
def test_every_passage_is_scored_once(tmp_path, batch_size):
    path = write_video(tmp_path / "a.mp4", frames=11)
    of_passages = PassageNetwork(
        network=brightness_model(),
        sampling=PLAIN,
        num_frames=2,
        crop_size=8,
        passages=Passages(window=4, hop=3),
        batch_size=batch_size,
    )
    found = list(of_passages.outputs(VideoRecord(path=path, label=0)))
    # Frames 0 and 2, 3 and 5, 6 and 8, 7 and 9 of grey 10 n.
    np.testing.assert_allclose([row[0] * 255 for _, row in found], [10, 40, 70, 80], atol=1)
    assert [passage.first for passage, _ in found] == [0, 3, 6, 7]


def test_a_long_video_is_classified(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=24)
    found = prediction.classify_passages(trained(), [path], Passages(window=4), top=1)
    video = found[path]
    assert len(video.passages) == 11
    # 1 - b is highest up to grey 127, in frames 0 to 12: b of the passage from 12 on, frames 12 and
    # 14, is 130 / 255.
    assert [scores[0][0] for _, scores in video.passages] == ["dark"] * 6 + ["bright"] * 5
    dark, bright = video.segments
    assert (dark.name, dark.first, dark.end) == ("dark", 0, 13)
    assert (bright.name, bright.first, bright.end) == ("bright", 13, 24)
    np.testing.assert_allclose((dark.start_seconds, dark.end_seconds), (0, 1.3), atol=1e-6)
    np.testing.assert_allclose((bright.start_seconds, bright.end_seconds), (1.3, 2.4), atol=1e-6)
    # Frames 0 and 2 to 10 and 12.
    assert dark.score == pytest.approx(1 - 60 / 255, abs=3e-3)


def test_videos_that_cannot_be_read_do_not_hide_others(tmp_path):
    records = write_videos(tmp_path)
    paths = [record.path for record in records] + [str(tmp_path / "none.mp4")]
    for call in (
        lambda: prediction.classify(trained(), paths),
        lambda: prediction.classify_passages(trained(), paths, Passages(window=4)),
    ):
        with pytest.raises(prediction.UnreadableVideosError) as caught:
            call()
        assert set(caught.value.errors) == {paths[1], paths[4]}
        assert list(caught.value.predictions) == [paths[0], paths[2], paths[3]]
    with pytest.raises(FileNotFoundError, match=r"no video at '/none\.mp4'"):
        prediction.classify(trained(), ["/none.mp4"])


# Features.


def small_network():
    return models.X3D(classes=3, blocks=(1, 1, 1, 1), width=8, head_width=16)


def test_features_are_what_the_classifier_sees(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=8, height=32, width=32)
    grid = {"grid": type(GRID)(batch_size=1, num_frames=4, crop_size=32), "crop_size": 32}
    one = trained(small_network(), **grid)
    features = prediction.extract_features(one, [path])
    assert (features.features.shape, features.features.dtype) == ((1, 16), np.float32)
    of_passages = prediction.extract_features(one, [path], passages=Passages(window=4))
    assert of_passages.features.shape == (3, 16)
    assert of_passages.paths == [path] * 3
    # The classifier makes the scores of them.
    projection = one.network.get_layer("head-projection")
    scores = prediction.classify_passages(one, [path], Passages(window=4), top=3)[path]
    expected = [dict(found) for _, found in scores.passages]
    computed = keras.ops.convert_to_numpy(projection(of_passages.features))
    for row, found in zip(computed, expected, strict=True):
        np.testing.assert_allclose(row, [found[name] for name in NAMES], rtol=1e-4)


def test_features_of_another_network(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=4)
    with pytest.raises(ValueError, match="'head-projection' sees"):
        prediction.extract_features(trained(), [path])


# Segments.


def segments_of(rows, threshold=None):
    """Of passages of 64 frames every 32, of 10 frames a second."""
    segments = Segments(NAMES, threshold)
    for number, scores in enumerate(rows):
        first, end = 32 * number, 32 * number + 64
        segments.add(Passage(first, end, first / 10, end / 10), np.array(scores))
    return segments.finish()


def test_neighbours_of_one_class_are_joined():
    rows = [[0.9, 0.1, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.6, 0.4, 0]]
    # Borders are in the middle of what overlaps: 64 to 96, and 96 to 128.
    assert segments_of(rows) == [
        Segment(
            name="bright",
            score=pytest.approx(0.8),
            first=0,
            end=80,
            start_seconds=0.0,
            end_seconds=8.0,
        ),
        Segment(name="dark", score=0.8, first=80, end=112, start_seconds=8.0, end_seconds=11.2),
        Segment(name="bright", score=0.6, first=112, end=160, start_seconds=11.2, end_seconds=16.0),
    ]


def test_several_labels_overlap():
    rows = [[0.9, 0.6, 0.1], [0.8, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, 0.7, 0.1]]
    found = [(s.name, s.first, s.end) for s in segments_of(rows, threshold=0.5)]
    assert found == [("dark", 0, 48), ("bright", 0, 80), ("dark", 112, 160)]


def test_no_passages():
    assert Segments(NAMES).finish() == []


def test_frames_without_times():
    segments = Segments(NAMES)
    segments.add(Passage(0, 4, None, None), np.array([1.0, 0, 0]))
    segments.add(Passage(2, 6, None, None), np.array([0.0, 1, 0]))
    first, second = segments.finish()
    assert (first.end, first.end_seconds, second.first, second.start_seconds) == (3, None, 3, None)
