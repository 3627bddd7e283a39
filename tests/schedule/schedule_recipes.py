"""Schedules that several tests use, and a hypothesis strategy for any schedule."""

from hypothesis import assume, settings
from hypothesis import strategies as st

from keras_multigrid.schedule import LONG_CYCLE, SHORT_CYCLE, Grid, MultigridSchedule

KINETICS = {
    "base": Grid(batch_size=64, num_frames=32, crop_size=224),
    "num_clips": 239_975,
    "epochs": 239,
    "boundaries": (94, 154, 196),
}
CHARADES = {
    "base": Grid(batch_size=16, num_frames=64, crop_size=224),
    "num_clips": 7_985,
    "epochs": 57,
    "boundaries": (41, 49),
}
TOY = {
    "base": Grid(batch_size=16, num_frames=8, crop_size=112),
    "num_clips": 239_975,
    "epochs": 16,
    "boundaries": (8, 12),
}
SMALL = {
    "base": Grid(batch_size=4, num_frames=8, crop_size=32),
    "num_clips": 500,
    "epochs": 6,
    "boundaries": (3, 5),
}
CYCLES = {
    "both": {},
    "long only": {"short_cycle": ()},
    "short only": {"long_cycle": ()},
    "none": {"long_cycle": (), "short_cycle": ()},
    "no boundaries": {"boundaries": ()},
    "no boundaries, three times": {"boundaries": (), "long_cycles": 3},
}


@st.composite
def schedules(draw):
    epochs = draw(st.integers(1, 40))
    boundaries = draw(st.lists(st.integers(1, epochs), unique=True, max_size=3).map(sorted))
    boundaries = tuple(boundary for boundary in boundaries if boundary < epochs)
    base = Grid(
        batch_size=draw(st.integers(1, 64)),
        num_frames=draw(st.integers(4, 64)),
        crop_size=draw(st.integers(8, 256)),
    )
    config = {
        "base": base,
        "num_clips": draw(st.integers(1, 20_000)),
        "epochs": epochs,
        "boundaries": boundaries,
        "epoch_factor": draw(st.floats(0.5, 3)),
        "long_cycle": draw(st.sampled_from(((), LONG_CYCLE, ((0.5, 1.0), (1.0, 1.0))))),
        "short_cycle": draw(st.sampled_from(((), SHORT_CYCLE, (0.6,), (0.3, 0.5, 1.0)))),
        "round_to_epochs": draw(st.booleans()),
        "long_cycles": 1 if boundaries else draw(st.integers(1, 3)),
        "batch_growth": draw(st.sampled_from((1.0, 1.0, 0.5, 0.0))),
        "min_frames": draw(st.sampled_from((1, 1, base.num_frames // 2))),
        "min_crop": draw(st.sampled_from((1, 1, base.crop_size // 2 + 1))),
        "base_share": 0.0 if boundaries else draw(st.sampled_from((0.0, 0.0, 0.25, 0.9))),
    }
    try:
        return MultigridSchedule(**config)
    except ValueError as error:
        assert "has no steps" in str(error) or "`round_to_epochs` needs" in str(error)
        assume(False)


random_schedules = settings(max_examples=100, deadline=None, database=None)
