"""The examples of docs/extending.md run as they stand there."""

import pathlib
import re

import pytest

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_examples_have_at_most_25_lines():
    assert len(BLOCKS) == 15
    for block in BLOCKS:
        assert len(block.strip().splitlines()) <= 25


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the examples define, after all of them have run."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("examples"))
        for block in BLOCKS:
            exec(compile(block, str(PAGE), "exec"), found)
    return found


def test_all_examples_train_together(names):
    report = names["report"]
    assert set(report.metrics) == {"loss", "mean_absolute_error"}
    assert len(report.curve) == 2
    assert "mean_absolute_error" in str(report)


def test_a_head_of_ones_own_and_frozen_layers(names):
    from keras_multigrid.runs.building import make_network

    network = make_network(names["network"], names["videos"].task)
    assert network.output_shape == (None, 12)
    with pytest.raises(ValueError, match="at least"):
        network.check_clip_size(0, 32)
    frozen = {layer.name for layer in network.layers if not layer.trainable}
    assert frozen and all(name.startswith("s1") for name in frozen)


def test_two_outputs(names):
    assert {"loss", "motion_loss", "is_first_loss"} <= set(names["history"].history)


def test_weights_by_class_and_by_clip_reach_the_loss(names):
    losses = [names[name].history.history["loss"][0] for name in ("by_class", "by_clip")]
    # A class of 12 weighs 5 times: a third more than without, ln(12) at the start.
    assert all(3 < loss < 4 for loss in losses)


def test_a_train_step_of_ones_own_trains_each_batch_once(names):
    from keras_multigrid.callbacks.lookup import steps_trained

    assert steps_trained(names["distilled"]) == names["schedule"].total_steps
    assert not names["distilled"].teacher.trainable_variables
