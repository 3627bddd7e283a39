"""The folder of checkpoints by itself; what a run makes of it is in test_checkpoint.py."""

import math

import keras
import numpy as np
import pytest

from keras_multigrid import files
from keras_multigrid.callbacks.checkpoint_folder import (
    Saved,
    digest,
    find_best,
    load_checkpoint,
    read_index,
    read_last,
    write_index,
)

# Of the content b"abc" (FIPS 180-2, appendix B.1).
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def saved(step, results=None, its_digest=ABC):
    return Saved(step=step, file=f"{step}.weights.h5", digest=its_digest, results=results)


def make_model():
    return keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


def test_the_index_is_read_as_it_was_written(tmp_path):
    assert read_index(str(tmp_path)) == []
    entries = [saved(3), saved(8, {"val_accuracy": 0.5})]
    write_index(str(tmp_path), entries)
    assert read_index(str(tmp_path)) == entries


def test_checkpoints_without_index_are_not_written_over(tmp_path):
    (tmp_path / "step-00000003.weights.h5").write_bytes(b"abc")
    with pytest.raises(files.StorageError, match=r"holds checkpoints but no index\.json"):
        read_index(str(tmp_path))


def test_an_index_names_no_file_of_another_folder(tmp_path):
    write_index(str(tmp_path), [Saved(step=1, file="../mine.txt", digest=ABC, results=None)])
    with pytest.raises(files.StorageError, match=r"'\.\./mine\.txt' is not a name of this folder"):
        read_index(str(tmp_path))


def test_the_first_of_the_best():
    results = [{"a": math.nan}, {"a": 0.5}, {"a": 0.7}, {"a": 0.7}, {"a": 0.6, "b": 9.0}, {}, None]
    entries = [saved(step, result) for step, result in enumerate(results)]
    assert find_best(entries, "a", "max").step == 2
    assert find_best(entries, "a", "min").step == 1
    assert find_best(entries, "b", "min").step == 4
    assert find_best(entries, "c", "max") is None
    assert find_best(entries, None, "max") is None


def test_the_last_whole_is_read(tmp_path):
    entries = [saved(1), saved(2), saved(3), saved(4)]
    for step, content in ((1, b"abc"), (2, b"abc"), (3, b"abd")):
        (tmp_path / f"{step}.weights.h5").write_bytes(content)
    assert read_last(str(tmp_path), entries) == (entries[1], b"abc")
    with pytest.raises(files.StorageError, match=r"None of the 2 checkpoints .* can be read"):
        read_last(str(tmp_path), entries[2:])


def test_weights_of_the_last_and_of_the_best(tmp_path):
    model = make_model()
    entries = []
    for step, accuracy in ((1, 0.5), (2, 0.75), (3, 0.25)):
        model.set_weights([np.full((1, 1), step), np.zeros(1)])
        path = tmp_path / f"{step}.weights.h5"
        model.save_weights(path)
        entries.append(saved(step, {"val_accuracy": accuracy}, digest(path.read_bytes())))
    write_index(str(tmp_path), entries)
    for best, step in ((None, 3), ("val_accuracy", 2)):
        copy = make_model()
        assert load_checkpoint(copy, str(tmp_path), best=best) == step
        assert copy.get_weights()[0] == step
    with pytest.raises(FileNotFoundError, match="no checkpoint with a result named 'val_mAP'"):
        load_checkpoint(copy, str(tmp_path), best="val_mAP")
