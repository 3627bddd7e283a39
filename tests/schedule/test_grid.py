import dataclasses

import pytest

from keras_multigrid.schedule import Grid


def test_grid():
    grid = Grid(batch_size=2, num_frames=3, crop_size=5)
    assert grid.voxels == 150
    assert grid.shape == (2, 3, 5, 5, 3)
    assert str(grid) == "2 x 3 x 5²"
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.batch_size = 4
    with pytest.raises(TypeError, match="positional"):
        Grid(2, 3, 5)


@pytest.mark.parametrize("name", ["batch_size", "num_frames", "crop_size"])
@pytest.mark.parametrize("value", [0, -1, 1.5, 8.0, True, "8", None])
def test_wrong_grid(name, value):
    sizes = {"batch_size": 8, "num_frames": 8, "crop_size": 32, name: value}
    with pytest.raises(ValueError, match=f"`{name}` must be a positive integer. Received: {name}="):
        Grid(**sizes)
