import os
import pathlib
import pickle
import zipfile

import checkpoint_files
import formula
import keras
import numpy as np
import pytest

from keras_multigrid import models
from keras_multigrid.models.weights.pickles import CheckpointError, read_caffe2, read_pytorch
from keras_multigrid.models.weights.published import (
    inflate_weights,
    load_published_weights,
    published_arrays,
    published_key,
    published_shapes,
)

SMALL = {"classes": 3, "blocks": (1, 1, 1, 1), "width": 8}
CLIP = formula.clip(32, frames=8, seed=1)
KINDS = {
    "pyth": checkpoint_files.write_pytorch,
    "legacy.pyth": lambda path, arrays: checkpoint_files.write_pytorch(path, arrays, legacy=True),
    "pkl": checkpoint_files.write_caffe2,
}


@pytest.fixture(scope="module")
def network():
    return models.SlowFast(**SMALL, name="small")


@pytest.fixture(scope="module")
def arrays(network):
    return formula.arrays(published_shapes(network))


@pytest.fixture
def files(arrays, tmp_path):
    """A checkpoint of each kind: end of its name to path."""
    for kind, write in KINDS.items():
        # Blobs are named after the last blocks of depth 50: here they are the first.
        write(str(tmp_path / f"small.{kind}"), arrays)
    return {kind: str(tmp_path / f"small.{kind}") for kind in KINDS}


def outputs(network):
    return keras.ops.convert_to_numpy(network(CLIP, training=False))


def weights_of(network):
    return [keras.ops.convert_to_numpy(weight) for weight in network.weights]


# Loading.


@pytest.mark.parametrize("kind", KINDS)
def test_files_load_what_the_mapping_does(network, arrays, files, kind):
    load_published_weights(network, arrays)
    expected = outputs(network)
    assert np.ptp(expected) > 0.01
    other = models.SlowFast(**SMALL)
    load_published_weights(other, files[kind])
    np.testing.assert_array_equal(outputs(other), expected)


def test_a_published_file_of_caffe2(tmp_path):
    network = models.create("i3d_nln_8x8_r50", classes=5)
    arrays = formula.arrays(published_shapes(network))
    checkpoint_files.write_caffe2(str(tmp_path / "a.pkl"), arrays)
    load_published_weights(network, str(tmp_path / "a.pkl"))
    layer = network.get_layer("s4-pathway0_nonlocal3-conv_g")
    kernel = arrays["s4.pathway0_nonlocal3.conv_g.weight"]
    np.testing.assert_array_equal(np.transpose(layer.kernel, (4, 3, 0, 1, 2)), kernel)


@pytest.mark.parametrize(
    ("blob", "key"),
    [
        ("conv1_w", "s1.pathway0_stem.conv.weight"),
        ("t_conv1_w", "s1.pathway1_stem.conv.weight"),
        ("res_conv1_bn_s", "s1.pathway0_stem.bn.weight"),
        ("t_res_conv1_bn_riv", "s1.pathway1_stem.bn.running_var"),
        ("res2_0_branch1_w", "s2.pathway0_res0.branch1.weight"),
        ("res2_0_branch1_bn_b", "s2.pathway0_res0.branch1_bn.bias"),
        ("res4_22_branch2c_bn_rm", "s4.pathway0_res22.branch2.c_bn.running_mean"),
        ("t_res3_1_branch2b_w", "s3.pathway1_res1.branch2.b.weight"),
        ("t_pool1_subsample_w", "s1_fuse.conv_f2s.weight"),
        ("t_pool1_subsample_bn_s", "s1_fuse.bn.weight"),
        ("t_res4_5_branch2c_bn_subsample_w", "s4_fuse.conv_f2s.weight"),
        ("t_res4_5_branch2c_bn_subsample_bn_rm", "s4_fuse.bn.running_mean"),
        ("nonlocal_conv3_1_theta_b", "s3.pathway0_nonlocal1.conv_theta.bias"),
        ("nonlocal_conv4_5_bn_riv", "s4.pathway0_nonlocal5.bn.running_var"),
        ("pred_w", "head.projection.weight"),
        ("pred_b", "head.projection.bias"),
        ("conv1_w_momentum", None),
        ("lr", None),
        ("model_iter", None),
    ],
)
def test_names_of_caffe2(blob, key):
    assert published_key(blob) == key
    if key is not None and "22" not in blob:
        assert checkpoint_files.blob_name(key) == blob


def test_bare_state_and_other_numbers(tmp_path):
    path = str(tmp_path / "bare.pt")
    halves = np.arange(6, dtype=np.float16).reshape(2, 3)
    checkpoint_files.write_pytorch(path, {"a": halves, "b": np.int64(3)})
    arrays = read_pytorch(path)
    np.testing.assert_array_equal(arrays["a"], halves)
    assert arrays["b"] == 3


@pytest.mark.parametrize("legacy", [False, True])
def test_tensors_that_stand_for_the_negative_of_their_numbers(tmp_path, legacy):
    # As torch.save writes `x.conj().imag`; {} is of all other tensors of some versions.
    path, ones = str(tmp_path / "a.pt"), {"a": np.ones(2, np.float32)}
    checkpoint_files.write_pytorch(path, ones, legacy=legacy, metadata=({},))
    np.testing.assert_array_equal(read_pytorch(path)["a"], [1, 1])
    checkpoint_files.write_pytorch(path, ones, legacy=legacy, metadata=({"neg": True},))
    with pytest.raises(CheckpointError, match=r"the negative or .* after `resolve_neg\(\)`"):
        read_pytorch(path)


def test_what_programs_keep_beside_weights_is_passed_over(tmp_path):
    path, name = str(tmp_path / "a.ckpt"), checkpoint_files.Name
    others = {"precision": name("torch", "float32"), "folder": pathlib.PurePosixPath("a")}
    ones = {"a": np.ones(2, np.float32)}
    checkpoint_files.write_pytorch(path, ones, where="state_dict", seen=frozenset({3}), **others)
    np.testing.assert_array_equal(read_pytorch(path)["a"], [1, 1])


def test_other_kinds_of_tensors_are_refused_with_what_to_save(tmp_path):
    path, sparse = str(tmp_path / "a.pt"), ("torch._utils", "_rebuild_sparse_tensor")
    ones = {"a": np.ones(2, np.float32)}
    checkpoint_files.write_pytorch(path, ones, other=checkpoint_files.Name(*sparse))
    with pytest.raises(CheckpointError, match=r"_rebuild_sparse_tensor: .*model.state_dict\(\)"):
        read_pytorch(path)


# What does not fit.


def test_another_number_of_classes(network, arrays, files):
    other = models.SlowFast(**{**SMALL, "classes": 4}, name="four")
    before = weights_of(other)
    with pytest.raises(ValueError, match=r"trained on 3 classes, four has 4. Use skip_head=True"):
        load_published_weights(other, files["pyth"])
    for weight, same in zip(weights_of(other), before, strict=True):
        np.testing.assert_array_equal(weight, same)
    with pytest.warns(UserWarning, match="The classifier of four keeps its own weights"):
        load_published_weights(other, files["pyth"], skip_head=True)
    np.testing.assert_array_equal(other.get_layer("head-projection").kernel, before[-2])
    with pytest.warns(UserWarning, match="The classifier of four keeps its own weights"):
        load_published_weights(other, files["pyth"], skip_head=None)
    network.get_layer("head-projection").kernel.assign(0 * before[-2][:, :3])
    load_published_weights(network, arrays, skip_head=None)
    assert np.abs(network.get_layer("head-projection").kernel).max() > 0
    for layer in ("s1-pathway1_stem-conv", "s5-pathway0_res0-branch2-c_bn"):
        for weight, same in zip(
            other.get_layer(layer).weights, network.get_layer(layer).weights, strict=True
        ):
            np.testing.assert_array_equal(weight, same)


def test_every_key_that_does_not_fit_is_listed(network, arrays):
    changed = {key: array for key, array in arrays.items() if "s3.pathway1" not in key}
    changed["extra.weight"] = np.zeros(3)
    changed["s1_fuse.bn.bias"] = np.zeros(5)
    before = weights_of(network)
    with pytest.raises(ValueError, match=r"does not fit small\. Nothing was loaded") as error:
        load_published_weights(network, changed)
    message = str(error.value)
    for key in arrays:
        assert (f"\n  {key}\n" in message) == ("s3.pathway1" in key)
    assert "1 unexpected:\n  extra.weight\n" in message
    assert "1 of another shape:\n  s1_fuse.bn.bias: (5,), expected (2,)\n" in message
    for weight, same in zip(weights_of(network), before, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda array: array.astype("int8"), "int8"),
        (lambda array: array.astype("complex64"), "complex64"),
        (lambda array: np.full(array.shape, "x"), "<U1"),
        (lambda array: np.full(array.shape, np.nan, "float16"), "NaN or infinity"),
        # More than the float32 of the variables holds.
        (lambda array: np.full(array.shape, 1e300), "NaN or infinity"),
    ],
)
@pytest.mark.parametrize("make", [models.SlowFast, models.MViT])
def test_numbers_that_are_no_weights_are_refused(make, wrong, said):
    network = make(**SMALL)
    before = published_arrays(network)
    # A table of positions, in the one that has some, of another size.
    key = next((key for key in before if "rel_pos_t" in key), "head.projection.bias")
    array = before[key][1:] if "rel_pos" in key else before[key]
    with pytest.raises(ValueError, match=r"Nothing was loaded(.|\n)*finite floats:") as error:
        load_published_weights(network, {**before, key: wrong(array)})
    if "rel_pos" not in key:
        assert f"\n  {key}: {said}\n" in str(error.value)
    for key, array in published_arrays(network).items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize("key", ["head.projection.bias", 3])
def test_a_number_instead_of_an_array_and_a_number_as_a_key(network, arrays, key):
    with pytest.raises(ValueError, match=r"does not fit small\. Nothing was loaded"):
        load_published_weights(network, {**arrays, key: np.float32(1)})


def test_a_table_without_rows_is_refused():
    network = models.MViT(**SMALL)
    arrays = published_arrays(network)
    key = next(key for key in arrays if "rel_pos_t" in key)
    with pytest.raises(ValueError, match=rf"of another shape:\n  {key}: \(0, "):
        load_published_weights(network, {**arrays, key: arrays[key][:0]})


def test_another_model(files):
    with pytest.raises(ValueError, match=r"\d+ unexpected:(.|\n)*of another shape:") as error:
        load_published_weights(models.I3D(**SMALL), files["pyth"])
    assert "Make the model with the depth, pathways and blocks" in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.999])
def test_truncated_files(network, files, kind, share):
    path = files[kind]
    size = int(os.path.getsize(path) * share)
    os.truncate(path, size)
    with pytest.raises(CheckpointError, match=rf"{path}.*({size:,} bytes|.*)") as error:
        load_published_weights(network, path)
    assert path in str(error.value)


def test_files_of_other_kinds(tmp_path, files):
    text = tmp_path / "readme.pyth"
    text.write_text("This is a text.")
    with pytest.raises(CheckpointError, match="It may be cut off, or of another kind"):
        read_pytorch(str(text))
    with pytest.raises(CheckpointError, match="no Caffe2 checkpoint: expected a mapping with 'bl"):
        with open(tmp_path / "list.pkl", "wb") as file:
            pickle.dump([1, 2], file)
        read_caffe2(str(tmp_path / "list.pkl"))
    with zipfile.ZipFile(tmp_path / "numbers.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"model_state": {"a": 3}}, protocol=2))
    with pytest.raises(CheckpointError, match="holds no weights of a model"):
        read_pytorch(str(tmp_path / "numbers.pt"))
    with pytest.raises(FileNotFoundError):
        read_pytorch(str(tmp_path / "none.pyth"))


# Files that carry code.


class Evil:
    """Pickled, it becomes a call."""

    def __init__(self, function, *arguments):
        self._call = function, arguments

    def __reduce__(self):
        return self._call


def evil_values(marker):
    command = f"touch {marker}"
    yield "system", Evil(os.system, command)
    yield "eval", Evil(eval, f"open({str(marker)!r}, 'w')")
    yield "getattr", Evil(getattr, np.ndarray, "tofile")
    yield "numpy", Evil(np.savetxt, str(marker), [1])


@pytest.mark.parametrize("name", ["system", "eval", "getattr", "numpy"])
def test_code_in_files_is_refused_and_not_run(tmp_path, arrays, name):
    marker = tmp_path / "marker"
    evil = dict(evil_values(marker))[name]
    # The payload works where nothing stops it.
    pickle.loads(pickle.dumps(evil))
    assert name == "getattr" or marker.exists()
    marker.unlink(missing_ok=True)
    caffe2 = str(tmp_path / "evil.pkl")
    checkpoint_files.write_caffe2(caffe2, arrays, extra=evil)
    paths = [caffe2]
    for number, legacy in enumerate((False, True)):
        paths.append(str(tmp_path / f"evil{number}.pyth"))
        checkpoint_files.write_pytorch(paths[-1], arrays, legacy=legacy, extra=evil)
    for path in paths:
        with pytest.raises(CheckpointError, match=r"asks for .* which no array needs") as error:
            (read_caffe2 if path == caffe2 else read_pytorch)(path)
        assert path in str(error.value)
        assert not marker.exists()


def test_code_in_the_headers_of_legacy_files(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "evil.pyth"
    path.write_bytes(pickle.dumps(Evil(os.system, f"touch {marker}")))
    with pytest.raises(CheckpointError, match="nothing was executed"):
        read_pytorch(str(path))
    assert not marker.exists()


def test_types_of_the_process_stay_as_they_are(tmp_path):
    # A state that would swap the bytes of every float32 from here on.
    before = np.float32(1.5).tobytes(), np.dtype("float32").byteorder

    class Swapped:
        def __reduce__(self):
            state = (3, ">", None, None, None, -1, -1, 0)
            return np.dtype, ("f4", 0, 0), state

    with open(tmp_path / "swapped.pkl", "wb") as file:
        pickle.dump({"blobs": {}, "dtype": Swapped()}, file, protocol=2)
    assert read_caffe2(str(tmp_path / "swapped.pkl")) == {}
    assert (np.float32(1.5).tobytes(), np.dtype("float32").byteorder) == before


def test_arrays_of_objects_and_tensors_beyond_their_numbers(tmp_path):
    objects = str(tmp_path / "objects.pkl")
    with open(objects, "wb") as file:
        pickle.dump({"blobs": {"a": np.array([{}], object)}}, file, protocol=2)
    with pytest.raises(CheckpointError, match="array of Python objects"):
        read_caffe2(objects)

    beyond = str(tmp_path / "beyond.pt")
    array = np.lib.stride_tricks.as_strided(np.zeros(4, np.float32), (4,), (4,))
    checkpoint_files.write_pytorch(beyond, {"a": array})
    with zipfile.ZipFile(beyond) as archive:
        content = archive.read("archive/data.pkl")
    # The shape (4,) becomes (200,).
    assert content.count(b"K\x04\x85") == 1
    with zipfile.ZipFile(beyond, "w") as archive:
        archive.writestr("archive/data.pkl", content.replace(b"K\x04\x85", b"K\xc8\x85"))
        archive.writestr("archive/data/0", array.tobytes())
    with pytest.raises(CheckpointError, match="reaches beyond its numbers"):
        read_pytorch(beyond)


# From pictures.


@pytest.fixture(scope="module")
def image_model():
    keras.utils.set_random_seed(0)
    network = keras.applications.ResNet50(False, weights=None, input_shape=(64, 64, 3))
    for layer in network.layers:
        for weight in layer.weights:
            if not weight.name.startswith("kernel"):
                noise = np.random.default_rng(1).uniform(0.2, 1, weight.shape)
                weight.assign(noise * (-1 if "bias" in weight.name else 1))
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, saved", [(models.C2D, False), (models.I3D, False), (models.Slow, True)]
)
def test_a_still_clip_has_the_features_of_the_picture(image_model, tmp_path, kind, saved):
    network = kind(classes=7)
    if saved:
        image_model.save(tmp_path / "pictures.keras")
    inflate_weights(network, tmp_path / "pictures.keras" if saved else image_model)
    picture = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype("float32")
    # Stage 2: behind it, keras.applications strides in another convolution.
    features = keras.Function(image_model.inputs, image_model.get_layer("conv2_block3_out").output)(
        [keras.applications.resnet.preprocess_input(picture.copy())]
    )
    clip = np.repeat(((picture / 255 - 0.45) / 0.225)[:, None], 9, axis=1)
    actual = keras.Function(network.inputs, network.get_layer("s2-pathway0_res2-relu").output)(
        [clip]
    )
    expected, actual = (keras.ops.convert_to_numpy(x)[0] for x in (features, actual))
    # Far from the borders of the picture and of the clip, which are padded by other colours.
    np.testing.assert_allclose(
        actual[4, 6:-6, 6:-6], expected[6:-6, 6:-6], rtol=0, atol=1e-3 * np.abs(expected).max()
    )
    # Later stages have the kernels, too.
    kernel = keras.ops.convert_to_numpy(network.get_layer("s5-pathway0_res1-branch2-a").kernel)
    image_kernel = image_model.get_layer("conv5_block2_1_conv").kernel
    image_kernel = keras.ops.convert_to_numpy(image_kernel)[0]
    np.testing.assert_allclose(kernel.sum(axis=0)[0], image_kernel, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("frames", [(), (1,)], ids=["no frames", "one frame"])
def test_a_published_network_for_pictures(tmp_path, frames):
    network = models.I3D(**SMALL, non_local=((), (0,), (0,), ()))
    before = {key: array.copy() for key, array in published_arrays(network).items()}
    pictures = {
        key: array[:, :, 0].reshape(*array.shape[:2], *frames, *array.shape[3:])
        if array.ndim == 5
        else array
        for key, array in formula.arrays(published_shapes(models.I3D(**SMALL))).items()
    }
    checkpoint_files.write_pytorch(str(tmp_path / "pictures.pyth"), pictures)
    inflate_weights(network, tmp_path / "pictures.pyth")
    after = published_arrays(network)
    for key, array in after.items():
        if "nonlocal" in key or key.startswith("head."):
            np.testing.assert_array_equal(array, before[key])
        elif array.ndim == 5:
            # A still clip gives what the picture does: each of 5, 3 or 1 frames has its share.
            kernel = pictures[key].reshape(array[:, :, 0].shape)
            np.testing.assert_allclose(array.sum(axis=2), kernel, rtol=1e-5, atol=1e-7)
            np.testing.assert_array_equal(array[:, :, 0], array[:, :, -1])
        else:
            np.testing.assert_array_equal(array, pictures[key])


def test_a_saved_network_with_another_classifier(tmp_path):
    models.I3D(**SMALL).save(tmp_path / "model.keras")
    network = models.I3D(**{**SMALL, "classes": 5})
    with pytest.warns(UserWarning, match="The classifier of .* keeps its own weights"):
        load_published_weights(network, tmp_path / "model.keras", skip_head=None)
    expected = published_arrays(keras.models.load_model(tmp_path / "model.keras"))
    for key, array in published_arrays(network).items():
        if not key.startswith("head."):
            np.testing.assert_array_equal(array, expected[key])


def test_pictures_of_another_depth(image_model):
    with pytest.raises(ValueError, match=r"255 missing:(.|\n)*s4\.pathway0_res22\.branch2\.c"):
        inflate_weights(models.I3D(depth=101, classes=7), image_model)
