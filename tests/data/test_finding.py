"""Which videos a path stands for."""

import os

import pytest

from keras_multigrid.data.videos.finding import find_videos


@pytest.fixture
def folder(tmp_path):
    for name in (
        *("b.mp4", "a.AVI", "note.txt", "cover.jpg", ".hidden.mp4", "deep/er/c.webm"),
        *("deep/.d.mp4", "frames/1.jpg", "frames/2.jpg", ".cache/e.mp4", "empty/readme.md"),
    ):
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def names_of(found, folder):
    return [os.path.relpath(path, folder) for path in found]


def test_a_folder_stands_for_the_videos_in_it(folder):
    found = names_of(find_videos(str(folder)), folder)
    assert found == ["a.AVI", "b.mp4", "deep/er/c.webm", "frames"]


def test_a_video_stands_for_itself(folder):
    for path in (folder / "b.mp4", folder / "frames", folder / "note.txt", folder / "none.mp4"):
        assert find_videos(str(path)) == [str(path)]
    assert find_videos("http://127.0.0.1:1/a.mp4") == ["http://127.0.0.1:1/a.mp4"]


def test_links_in_a_circle(folder):
    (folder / "deep" / "up").symlink_to(folder)
    found = names_of(find_videos(str(folder)), folder)
    assert found == ["a.AVI", "b.mp4", "deep/er/c.webm", "frames"]


def test_a_folder_without_videos(folder):
    with pytest.raises(ValueError, match=r"no videos in the folder '.*empty'.* \.mp4"):
        find_videos(str(folder / "empty"))
