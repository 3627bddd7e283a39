import pytest

from keras_multigrid import ClipSampling, Grid, models
from keras_multigrid.runs import run_folder
from keras_multigrid.runs.finetuning.weights import (
    find_initial_weights,
    network_of,
    subtracts_clip_mean,
)


def test_networks_by_the_names_of_files(tmp_path):
    assert network_of("a/SLOWFAST_8x8_R50.pkl") == "slowfast_8x8_r50"
    assert network_of("SLOWFAST_8x8_R101_101_101.pkl") == "slowfast_8x8_r101_101_101"
    assert network_of("x3d_s.pyth") == "x3d_s"
    with pytest.raises(ValueError, match=r"Received: 'best.pkl'. Name the network, too"):
        network_of("best.pkl")


def test_the_network_of_another_run(tmp_path):
    path = tmp_path / "model.keras"
    models.create("i3d_small", classes=2).save(path)
    assert network_of(str(path)) == "i3d_small"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match="must tell their network by their name"):
        network_of(str(path))


def test_weights_that_are_given_or_not(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path / "offline"))
    path = tmp_path / "I3D_8x8_R50.pkl"
    path.touch()
    assert find_initial_weights("i3d_8x8_r50", str(path)) == (str(path), "as given")
    assert find_initial_weights("i3d_8x8_r50", "none") == (None, "as given")
    found, why = find_initial_weights("i3d_8x8_r50", None)
    assert found is None and "KERAS_MULTIGRID_WEIGHTS" in why and "from scratch" in why
    assert "nobody has published" in find_initial_weights("i3d_small", None)[1]
    with pytest.raises(FileNotFoundError, match=r"Received: 'none.pkl', which is no file"):
        find_initial_weights("i3d_8x8_r50", "none.pkl")


def test_colours_that_weights_were_trained_with(tmp_path):
    grid = Grid(batch_size=1, num_frames=2, crop_size=8)
    sampling = ClipSampling(subtract_clip_mean=True)
    assert subtracts_clip_mean(f"{tmp_path}/model.keras") is None
    run_folder.save_clips(grid, sampling, str(tmp_path))
    assert subtracts_clip_mean(f"{tmp_path}/model.keras") is True
    # Published files are of no run, wherever they lie.
    assert subtracts_clip_mean(f"{tmp_path}/I3D_8x8_R50.pkl") is None
    assert subtracts_clip_mean(None) is None


def test_published_weights_by_their_name(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_MULTIGRID_WEIGHTS", str(tmp_path))
    assert network_of("kinetics400") == "slowfast_8x8_r50"
    with pytest.raises(models.WeightsUnavailable):
        find_initial_weights("x3d_s", "kinetics400")
    path = tmp_path / models.published_file("x3d_s", "kinetics400").file
    path.touch()
    found = find_initial_weights("x3d_s", "kinetics400")
    assert found == (str(path), "published, trained on kinetics400")
