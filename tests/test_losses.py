import keras
import numpy as np
import pytest

from keras_multigrid.losses import ClassWeightedCrossentropy

LABELS = np.array([[1, 0, 1], [0, 0, 1]], np.float32)
PROBABILITIES = np.array([[0.5, 0.25, 0.8], [0.1, 0.6, 0.3]], np.float32)


def test_by_hand():
    loss = ClassWeightedCrossentropy([3.0, 5.0, 0.5], reduction=None)
    first = -3 * np.log(0.5) - np.log(0.75) - 0.5 * np.log(0.8)
    second = -np.log(0.9) - np.log(0.4) - 0.5 * np.log(0.3)
    found = keras.ops.convert_to_numpy(loss(LABELS, PROBABILITIES))
    np.testing.assert_allclose(found, [first / 3, second / 3], rtol=1e-5)


def test_weights_of_1_are_binary_crossentropy_of_probabilities_and_logits():
    mixed = 0.7 * LABELS + 0.1
    for from_logits in (False, True):
        ours = ClassWeightedCrossentropy([1, 1, 1], from_logits=from_logits)
        keras_loss = keras.losses.BinaryCrossentropy(from_logits=from_logits)
        found, expected = (float(f(mixed, PROBABILITIES)) for f in (ours, keras_loss))
        assert found == pytest.approx(expected, rel=1e-5)


def test_it_is_saved_with_a_model(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="sigmoid")(inputs))
    model.compile("sgd", loss=ClassWeightedCrossentropy([1, 2, 3]))
    x = np.ones((2, 4), np.float32)
    expected = model.evaluate(x, LABELS, verbose=0)
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").evaluate(
        x, LABELS, verbose=0
    ) == pytest.approx(expected)


def test_another_number_of_classes_is_refused():
    with pytest.raises(ValueError, match=r"each of the 3 classes. Received: 2 weights"):
        ClassWeightedCrossentropy([1, 2])(LABELS, PROBABILITIES)
