import numpy as np
import pytest
from grey_videos import GRID, PLAIN, brightness_model, write_video, write_videos

from keras_multigrid.data.bad_videos import BadVideos
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.input import view_batches
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.models import I3D
from keras_multigrid.runs import predictor as of_views
from keras_multigrid.runs.predictor import Predictor
from keras_multigrid.runs.settings import MultiViewTest
from keras_multigrid.schedule import Grid


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return write_videos(tmp_path_factory.mktemp("videos"))


def predictor(**settings):
    settings = {"sampling": PLAIN, "grid": GRID, "crop_size": 8, "batch_size": 3, **settings}
    return Predictor(brightness_model(), **settings)


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


def test_larger_views_are_classified_at_each_position(tmp_path):
    network = I3D(classes=2, blocks=(1, 1, 1, 1), width=4)
    path = write_video(tmp_path / "a.mp4", frames=12, height=80, width=80)
    settings = {"sampling": PLAIN, "grid": Grid(batch_size=1, num_frames=4, crop_size=32)}
    tested = Predictor(network, views=Views(clips=1, crops=1), crop_size=64, **settings)
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


@pytest.mark.parametrize(
    "crop_size, given, expected", [(224, None, 256), (112, None, 128), (96, None, 96), (64, 73, 73)]
)
def test_the_size_of_views(crop_size, given, expected):
    grid = Grid(batch_size=1, num_frames=4, crop_size=crop_size)
    test = MultiViewTest(run_dir="", grid=grid, crop_size=given)
    assert test.view_size == expected
    network = I3D(classes=2, blocks=(1, 1, 1, 1), width=4)
    tested, size = of_views.tested_network(network, test)
    assert size == expected
    # Views of the training crop are seen whole.
    assert (tested is network) == (expected == crop_size)


def test_a_grid_of_too_few_frames_is_refused():
    with pytest.raises(ValueError, match="at least 2 frames"):
        Predictor(
            I3D(classes=2, blocks=(1, 1, 1, 1), width=4),
            sampling=PLAIN,
            grid=Grid(batch_size=1, num_frames=1, crop_size=32),
        )
