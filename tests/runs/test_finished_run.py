import pytest
from grey_videos import GRID, PLAIN, brightness_model, write_video, write_videos

from keras_multigrid import files
from keras_multigrid.data.clips.views import Views
from keras_multigrid.data.lists.writing import write_lists
from keras_multigrid.data.videos.video import VideoRecord, VideoSet
from keras_multigrid.runs import evaluation, run_folder
from keras_multigrid.runs.finished_run import finished_run, settings_of_test


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


def test_a_run_is_tested_on_videos_with_their_classes(tmp_path, caplog):
    # The network names the first where it is bright, the second where it is dark.
    run_dir, names = str(tmp_path / "run"), ("light", "dark", "none")
    run_folder.save_clips(GRID, PLAIN, run_dir)
    run_folder.save_model(brightness_model(), run_dir)
    run_folder.save_classes(VideoSet(train=[], validation=[], class_names=names), run_dir)
    new = tmp_path / "new"
    # In the order of letters, dark is the first.
    for name, value in (("dark", 20), ("light", 230), ("light", 10)):
        (new / name).mkdir(parents=True, exist_ok=True)
        write_video(new / name / f"{value}.mp4", frames=4, picture=value)
    with pytest.raises(FileNotFoundError, match="only finetune keeps the lists of its videos"):
        settings_of_test(run_dir)
    settings = settings_of_test(run_dir, str(new), Views(clips=1, crops=1))
    assert "trained on" not in caplog.text
    result = evaluation.evaluate(**settings)
    assert result.metrics["top1"] == pytest.approx(2 / 3)
    assert [row["num_videos"] for row in result.per_class] == [2, 1, 0]
    # Those of the run's own validation are not overwritten.
    assert (tmp_path / "run" / "tests" / "new" / "evaluation.json").exists()
    assert not (tmp_path / "run" / "evaluation.json").exists()
    # A run that kept its lists knows what it has seen, by whatever path.
    (tmp_path / "link").symlink_to(new)
    seen = VideoRecord(path=f"{tmp_path}/link/dark/20.mp4", label=1)
    write_lists(VideoSet(train=[seen], validation=[seen], class_names=names), f"{run_dir}/videos")
    settings_of_test(run_dir, str(new))
    assert "The run was trained on 1 of these 3 videos" in caplog.text
    (new / "grey").mkdir()
    write_video(new / "grey" / "1.mp4", frames=4)
    with pytest.raises(ValueError, match=r"those of the training: light, dark, none\. Rec"):
        settings_of_test(run_dir, str(new))


def test_what_is_no_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no '.*clips.json', which says what clips"):
        finished_run(str(tmp_path))
    (tmp_path / "clips.json").write_text('{"grid": {"crop_size": 8}, "sampling": {}}')
    with pytest.raises(files.StorageError, match="must hold the grid and the sampling of a run"):
        finished_run(str(tmp_path))
