import pytest
from grey_videos import GRID, PLAIN, brightness_model, write_videos

from keras_multigrid import files
from keras_multigrid.data.videos.video import VideoSet
from keras_multigrid.runs import evaluation, run_folder
from keras_multigrid.runs.finished_run import finished_run


def test_a_run_predicts_by_its_folder_alone(tmp_path):
    videos = write_videos(tmp_path)
    run_dir = str(tmp_path / "run")
    run_folder.save_clips(GRID, PLAIN, run_dir)
    with pytest.raises(FileNotFoundError, match=r"model.keras': the run has not finished"):
        finished_run(run_dir)
    run_folder.save_model(brightness_model(), run_dir)
    names = ("dark", "half", "bright")
    run_folder.save_classes(VideoSet(train=[], validation=videos, class_names=names), run_dir)
    found = evaluation.predict([videos[3].path], top=2, **finished_run(run_dir))
    # 21 frames of brightness 0, 10, ..., 200 of 255.
    (name, score), (second, _) = found[videos[3].path]
    assert (name, second) == ("half", "dark")
    assert score == pytest.approx(1 - 100 / 255, abs=0.03)


def test_what_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no '.*clips.json', which says what clips"):
        finished_run(str(tmp_path))
    (tmp_path / "clips.json").write_text('{"grid": {"crop_size": 8}, "sampling": {}}')
    with pytest.raises(files.StorageError, match="must hold the grid and the sampling of a run"):
        finished_run(str(tmp_path))
