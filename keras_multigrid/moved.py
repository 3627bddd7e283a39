"""Module paths of version 0.1.0, which are still found for one release, with a warning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings

_PACKAGE = "keras_multigrid"

# Earlier module to where its public names are now, all below the package.
MOVED = {
    "browse": ("runs.browsing",),
    "checkpoint": ("callbacks.checkpoint",),
    "checkpoint_folder": ("callbacks.checkpoint_folder",),
    "data.annotations": (
        "data.videos.video",
        "data.videos.pictures",
        "data.lists.folders",
        "data.lists.path_lists",
        "data.lists.frame_lists",
        "data.lists.parts",
    ),
    "data.beam_preparing": ("data.records.beam",),
    "data.checking": ("data.check.videos",),
    "data.decode": (
        "data.videos.decode",
        "data.videos.video_file",
        "data.videos.containers",
    ),
    "data.frame_lists": ("data.lists.frame_lists",),
    "data.lines": ("data.lists.lines",),
    "data.list_files": ("data.lists.writing",),
    "data.motion": ("data.synthetic.motion",),
    "data.pipeline": ("data.stream", "data.input", "data.resampling"),
    "data.preparing": ("data.records.preparing", "data.records.shards"),
    "data.published_sets": ("data.lists.published_sets",),
    "data.record_folder": ("data.records.folder",),
    "data.record_reading": ("data.records.reading",),
    "data.recorded_videos": ("data.records.record_set",),
    "data.sampling": (
        "data.clips.sampling",
        "data.clips.clip",
        "data.clips.draws",
        "data.clips.indices",
    ),
    "data.segments": ("data.videos.segments", "data.videos.orientation"),
    "data.serving": ("data.records.serving",),
    "data.split_rules": ("data.lists.split_rules",),
    "data.transforms": ("data.clips.windows",),
    "data.verifying": ("data.records.verifying",),
    "data.video_check": ("data.check.video",),
    "evaluation": ("runs.former", "runs.evaluation", "runs.run_folder"),
    "event_file": ("callbacks.event_file",),
    "grid": ("schedule.grid",),
    "input_monitor": ("monitor",),
    "model_state": ("callbacks.groups", "compat"),
    "models.checkpoints": ("models.weights.pickles",),
    "models.fused_normalization": ("layers.fused_normalization",),
    "models.sub_batch_normalization": ("layers.sub_batch_normalization",),
    "phases": ("schedule.phase", "schedule.phase_lengths"),
    "plan": ("runs.plan",),
    "plan_table": ("runs.plan_table",),
    "precise_batch_normalization": ("callbacks.batch_statistics",),
    "predictor": ("runs.predictor",),
    "remote": ("remote_files",),
    "sgd": ("optimizers.reference_sgd",),
    "storage": ("files",),
    "termination": ("callbacks.termination",),
    "training": ("runs.former", "runs.training"),
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds an earlier module as one whose names come from where they are now."""

    def find_spec(self, name, path=None, target=None):
        if name.removeprefix(f"{_PACKAGE}.") in MOVED:
            return importlib.machinery.ModuleSpec(name, self)
        return None

    def create_module(self, spec):
        return None

    def exec_module(self, module: types.ModuleType) -> None:
        new = MOVED[module.__name__.removeprefix(f"{_PACKAGE}.")]
        sources = [f"{_PACKAGE}.{name}" for name in new]
        warnings.warn(
            f"{module.__name__} is now {' and '.join(sources)}; the earlier path will be gone in "
            "the next release.",
            DeprecationWarning,
            stacklevel=2,
        )

        def get(name: str):
            for found in map(importlib.import_module, sources):
                if hasattr(found, name):
                    return getattr(found, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = get


def find_moved_modules() -> None:
    """Let earlier module paths be imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
