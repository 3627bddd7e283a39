"""Networks for pictures, frame by frame: what the backbone sees, every grid, saving."""

import keras
import numpy as np
import pytest

from keras_multigrid.layers import ConvLSTM
from keras_multigrid.models import FrameModel

TEMPORAL = ("mean", "attention", "gru", "convlstm")


def make_backbone(pooling=None):
    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV3Small(
        input_shape=(None, None, 3), include_top=False, weights=None, pooling=pooling
    )


def make_tiny(maps=True):
    keras.utils.set_random_seed(0)
    layers = [keras.Input((None, None, 3)), keras.layers.Conv2D(6, 3, strides=4, padding="same")]
    return keras.Sequential(
        layers if maps else [*layers, keras.layers.GlobalMaxPooling2D()], name="tiny"
    )


def test_the_backbone_sees_frames_from_0_to_255():
    backbone = make_backbone()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 3, 40, 36, 3)).astype(np.float32)
    model = FrameModel(backbone, include_top=False)
    features = model.predict((pictures / 255 - 0.45) / 0.225, verbose=0)
    alone = backbone.predict(pictures.reshape(6, 40, 36, 3), verbose=0)
    expected = alone.mean((1, 2)).reshape(2, 3, -1).mean(1)
    np.testing.assert_allclose(features, expected, rtol=2e-3, atol=2e-4)


def test_pictures_as_a_backbone_expects_them():
    preprocess = keras.applications.mobilenet_v2.preprocess_input
    seen = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Activation("linear")])
    model = FrameModel(seen, include_top=False, preprocess=preprocess, mean=0.5, std=0.25)
    # Black, then white: -1, then 1.
    clips = np.stack([np.full((1, 4, 4, 3), -2.0), np.full((1, 4, 4, 3), 2.0)])
    np.testing.assert_allclose(model.predict(clips, verbose=0), [[-1.0] * 3, [1.0] * 3], atol=1e-6)


@pytest.mark.parametrize("temporal", TEMPORAL)
def test_every_grid(temporal, tmp_path):
    model = FrameModel(make_tiny(), temporal=temporal, classes=5, units=8)
    for shape in ((2, 1, 8, 8, 3), (4, 7, 23, 23, 3), (1, 16, 32, 45, 3)):
        scores = model.predict(np.zeros(shape, np.float32), verbose=0)
        assert scores.shape == (shape[0], 5)
        np.testing.assert_allclose(scores.sum(1), 1, rtol=1e-5)
    clips = np.random.default_rng(0).normal(size=(2, 4, 16, 16, 3)).astype(np.float32)
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    expected = model.predict(clips, verbose=0)
    np.testing.assert_array_equal(read.predict(clips, verbose=0), expected)


def test_frozen_layers_and_the_precision_of_all_are_saved(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = FrameModel(make_tiny(), temporal="gru", classes=5, units=8)
    finally:
        keras.config.set_dtype_policy(before)
    model.get_layer("temporal-gru").trainable = False
    model.backbone.layers[0].trainable = False
    model.save(tmp_path / "model.keras")
    read = keras.models.load_model(tmp_path / "model.keras")
    assert [layer.name for layer in read.layers if not layer.trainable] == ["temporal-gru"]
    assert not read.backbone.layers[0].trainable and read.backbone.trainable
    assert len(read.trainable_variables) == len(model.trainable_variables)
    ours, theirs = (
        {layer.name: layer.compute_dtype for layer in (*one.layers, *one.backbone.layers)}
        for one in (model, read)
    )
    # A container computes nothing.
    del ours["tiny"], theirs["tiny"]
    assert ours == theirs and ours["temporal-gru"] == "bfloat16"


@pytest.mark.parametrize("temporal", TEMPORAL[:3])
def test_which_see_the_order_of_frames(temporal):
    model = FrameModel(
        make_tiny(maps=False), temporal=temporal, include_top=False, units=8, mean=0.0, std=1 / 255
    )
    clips = np.random.default_rng(0).normal(size=(2, 6, 16, 16, 3)).astype(np.float32)
    forward, backward = (model.predict(x, verbose=0) for x in (clips, clips[:, ::-1]))
    assert np.allclose(forward, backward, rtol=1e-4, atol=1e-4) is (temporal == "mean")


def test_places_are_those_of_the_clip_not_of_its_frames():
    layer = keras.layers.deserialize({"class_name": "keras_multigrid>FramePositions", "config": {}})
    few, many = (np.asarray(layer(np.zeros((1, t, 4), np.float32)))[0] for t in (2, 4))
    # Two frames lie in the middle of each half of a clip, of four frames that begin and end there.
    # Channels: sines of half a wave and of 64 waves, and their cosines.
    quarter = np.pi * 0.25
    np.testing.assert_allclose(few[0, [0, 2]], [np.sin(quarter), np.cos(quarter)], rtol=1e-5)
    eighth = np.pi * 0.125
    np.testing.assert_allclose(many[0, [0, 2]], [np.sin(eighth), np.cos(eighth)], rtol=1e-5)


def test_bad_arguments():
    with pytest.raises(ValueError, match="`temporal` must be one of"):
        FrameModel(make_tiny(), temporal="lstm")
    with pytest.raises(ValueError, match="feature maps"):
        FrameModel(make_tiny(maps=False), temporal="convlstm")
    with pytest.raises(TypeError, match="no argument 'head'; did you mean 'heads'"):
        FrameModel(make_tiny(), head=3)
    with pytest.raises(ValueError, match="`heads` must be a positive integer"):
        FrameModel(make_tiny(), temporal="attention", heads=0)
    with pytest.raises(ValueError, match=r"even number of units.*units=7"):
        FrameModel(make_tiny(), temporal="attention", units=7)
    for backbone in ("resnet", keras.applications.MobileNetV3Small):
        with pytest.raises(ValueError, match="`backbone` must be a Keras model of pictures"):
            FrameModel(backbone)
    tiny = make_tiny()
    maps = tiny.outputs[0]
    both = keras.Model(tiny.inputs, [maps, keras.ops.mean(maps, axis=(1, 2))])
    with pytest.raises(ValueError, match=r"one output. Received: .* with 2, of shapes \(None"):
        FrameModel(both)


def test_a_convolutional_lstm_is_that_of_keras():
    maps = np.random.default_rng(0).normal(size=(2, 5, 6, 7, 3)).astype(np.float32)
    ours, theirs = ConvLSTM(4, 3), keras.layers.ConvLSTM2D(4, 3, padding="same")
    ours(maps), theirs(maps)
    # Keras's gates: in, keep, new, out; its sigmoid is the same.
    weights = [w.reshape(*w.shape[:-1], 4, 4) for w in theirs.get_weights()]
    weights = [w[..., [0, 1, 3, 2], :].reshape(*w.shape[:-2], 16) for w in weights]
    ours.set_weights(weights)
    expected = keras.ops.convert_to_numpy(theirs(maps))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(ours(maps)), expected, atol=1e-5)


def test_the_mean_of_tokens_is_taken():
    maps = make_tiny()
    tokens = keras.Sequential([*maps.layers, keras.layers.Reshape((-1, 6))], name="tokens")
    clips = np.random.default_rng(0).normal(size=(2, 3, 16, 16, 3)).astype(np.float32)
    one, other = (
        FrameModel(backbone, include_top=False).predict(clips, verbose=0)
        for backbone in (maps, tokens)
    )
    np.testing.assert_allclose(one, other, rtol=1e-5)
    with pytest.raises(ValueError, match="'convlstm' needs feature maps"):
        FrameModel(tokens, temporal="convlstm")
