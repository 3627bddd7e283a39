"""Trained networks for other programs: from decoded frames to scores, in one graph."""

import dataclasses
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from keras_multigrid import backend, files
from keras_multigrid.checks import check_integer
from keras_multigrid.data.clips.sampling import ClipSampling
from keras_multigrid.data.clips.windows import (
    centre_views,
    centre_window,
    cropped,
    normalized,
    scaled,
)
from keras_multigrid.models.preset import Preprocessing
from keras_multigrid.models.preset_folder import CLASSES, PREPROCESSING
from keras_multigrid.runs.predictor import tested_network
from keras_multigrid.runs.trained_model import TrainedModel
from keras_multigrid.task import MultiLabel

# Where TensorFlow Serving and others expect what is no part of the graph.
EXTRA_FILES = "assets.extra"
# Of the largest score. What rounds differently in another program is below a thousandth.
_TOLERANCE = 2e-3
_ONNX = ".onnx"
_OTHER_FORMATS = (".h5", ".keras", ".tflite", ".pb", ".pt", ".pth", ".pkl")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exported:
    """What `export` has written.

    Args:
        path: the folder or file.
        input_shape: of its frames, (batch, frames, height, width, 3); None for any number.
        largest_difference: between its scores and those of Keras, for the frames of the check.
    """

    path: str
    input_shape: tuple[int | None, ...]
    largest_difference: float

    def __str__(self) -> str:
        shape = " x ".join("any" if size is None else str(size) for size in self.input_shape)
        return (
            f"{self.path}: uint8 frames {shape} to scores, run and compared with Keras: the "
            f"largest difference is {self.largest_difference:.1e}"
        )


class ExportError(RuntimeError):
    """An export that does not give the scores of its network; it has been deleted."""


def export(
    trained: TrainedModel,
    path: str,
    *,
    num_frames: int | None = None,
    frame_size: tuple[int, int] | None = None,
    open_sizes: bool = False,
) -> Exported:
    """Write a network with its preprocessing, for programs without this package.

        uint8 frames, RGB ─> middle square ─> scaled to the crop ─> normalized ─> network ─> scores

    The input are the frames of one clip for each element of a batch; which frames of a video these
    are is for the program to choose: every `stride`-th one, or one of each segment, as
    `preprocessing.json` says. The scores are those of `classify` with `Views(clips=1, crops=1)`.

    The export is then run, by TensorFlow or ONNX Runtime, on frames of random colours, and compared
    with Keras.

    Args:
        trained: the network, its classes and its clips. Needs Keras on TensorFlow.
        path: an ONNX file to write, which ends in .onnx, or the folder of a SavedModel; local, and
            not there yet. `classes.json` and `preprocessing.json`, the same as in presets, are in
            its folder assets.extra; in ONNX, the metadata `classes` and `preprocessing`.
        num_frames: frames of a clip; None for those of the training.
        frame_size: height and width of the frames, for programs that need to know them; None takes
            frames of any size.
        open_sizes: any number of frames will do, from `num_frames` on.

    Returns:
        The `Exported`.

    Raises:
        ValueError: the network does not take such clips, or a setting is wrong.
        FileExistsError: there is something at `path`.
        ImportError: packages that write and run ONNX files are missing.
        ExportError: the scores differ. Nothing is left.

    Example:

    >>> trained = TrainedModel.from_preset("presets/mine")
    >>> export(trained, "exported/mine.onnx").largest_difference < 1e-3
    True
    """
    path = check_target(path)
    _check_frame_size(frame_size)
    clip = _Clip.of(trained, num_frames, frame_size, open_sizes)
    write, read = (_write_onnx, _read_onnx) if path.endswith(_ONNX) else (_write_saved, _read_saved)
    # Keras and others look at the ending.
    unfinished = f"{path.removesuffix(_ONNX)}.unfinished{_ONNX * path.endswith(_ONNX)}"
    _remove(unfinished)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    # First: to write a large network takes minutes.
    expected = [(frames, clip.scores(frames)) for frames in clip.examples()]
    try:
        write(clip.network(), unfinished, clip.texts(trained))
        difference = _checked(read(unfinished), expected, path)
        os.replace(unfinished, path)
    finally:
        _remove(unfinished)
    return Exported(path=path, input_shape=clip.shape, largest_difference=difference)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Clip:
    """The clips of an export.

    Args:
        scorer: from clips to scores.
        sampling: their colours.
        crop_size: their height and width, in pixels.
        num_frames: their frames, at least.
        shape: of the frames that the export takes.
    """

    scorer: keras.Model
    sampling: ClipSampling
    crop_size: int
    num_frames: int
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, trained: TrainedModel, num_frames, frame_size, open_sizes: bool) -> "_Clip":
        test = trained.test
        if num_frames is not None:
            check_integer("num_frames", num_frames)
            grid = dataclasses.replace(test.grid, num_frames=num_frames)
            test = dataclasses.replace(test, grid=grid)
        scorer, crop_size = tested_network(trained.network, test)
        num_frames = test.grid.num_frames
        frames = None if open_sizes else num_frames
        return cls(
            scorer=scorer,
            sampling=trained.sampling,
            crop_size=crop_size,
            num_frames=num_frames,
            shape=(None, frames, *(frame_size or (None, None)), 3),
        )

    def network(self) -> keras.Model:
        """From frames to scores."""
        frames = keras.Input(self.shape[1:], dtype="uint8", name="frames")
        clips = _Views(self.crop_size, self.sampling, name="views")(frames)
        return keras.Model(
            frames, {"scores": self.scorer(clips)}, name=f"{self.scorer.name}_of_frames"
        )

    def texts(self, trained: TrainedModel) -> dict[str, str]:
        """What a program must know beside the graph, by the file names of presets."""
        own = ("stride", "segments", "mean", "std", "subtract_clip_mean")
        preprocessing = Preprocessing(
            num_frames=self.num_frames,
            crop_size=trained.test.grid.crop_size,
            test_crop_size=self.crop_size,
            **{name: getattr(self.sampling, name) for name in own},
        )
        classes = {
            "names": list(trained.task.class_names),
            "multi_label": isinstance(trained.task, MultiLabel),
        }
        return {
            CLASSES: json.dumps(classes, indent=1),
            PREPROCESSING: json.dumps(dataclasses.asdict(preprocessing), indent=1),
        }

    def examples(self) -> list[np.ndarray]:
        """Frames for the check: high and wide ones, of all numbers that may be."""
        _, frames, height, width, _ = self.shape
        short, long = self.crop_size * 5 // 4, self.crop_size * 7 // 4
        sizes = [(short, long), (long, short)] if height is None else [(height, width)]
        counts = [self.num_frames, self.num_frames * (1 if frames else 2)]
        random = np.random.default_rng(0)
        return [
            random.integers(0, 256, (batch, count, *sizes[batch % len(sizes)], 3), np.uint8)
            for batch, count in zip((1, 2), counts, strict=True)
        ]

    def scores(self, frames: np.ndarray) -> np.ndarray:
        """Keras' scores of clips, read as `predict` reads them: float32 (batch, outputs)."""
        size = {"crop_size": self.crop_size, "scale": self.crop_size}
        window = centre_window(*frames.shape[2:4], **size)
        clips = [scaled(tf.constant(cropped(own, window)), self.crop_size) for own in frames]
        clips = normalized(tf.stack(clips), self.sampling)
        try:
            return np.asarray(self.scorer.predict_on_batch(clips), np.float32)
        except (ValueError, tf.errors.InvalidArgumentError) as error:
            raise ValueError(
                f"{self.scorer.name} must take {frames.shape[1]} frames of {self.crop_size} "
                "pixels, for this export. It does not. Leave `open_sizes` out, or set `crop_size` "
                "of the test to that of the training."
            ) from error


class _Views(keras.layers.Layer):
    """From frames to the clips of a network."""

    def __init__(self, crop_size: int, sampling: ClipSampling, **kwargs):
        super().__init__(dtype="float32", autocast=False, **kwargs)
        self._crop_size, self._sampling = crop_size, sampling

    def call(self, frames):
        return centre_views(frames, crop_size=self._crop_size, sampling=self._sampling)

    def compute_output_spec(self, frames):
        shape = (*frames.shape[:2], self._crop_size, self._crop_size, 3)
        return keras.KerasTensor(shape, dtype="float32")


def _checked(run: Callable, expected: Sequence[tuple], path: str) -> float:
    """The largest difference between the scores of an export and of Keras, which is small."""
    largest = 0.0
    for frames, scores in expected:
        received = np.asarray(run(frames), np.float32)
        most = _TOLERANCE * float(np.abs(scores).max())
        is_alike = received.shape == scores.shape
        difference = float(np.abs(received - scores).max()) if is_alike else np.inf
        # Not `>`, which is False for what is no number.
        if not difference <= most:
            raise ExportError(
                f"The scores of an export must be those of Keras within {most:.1e}. Received: a "
                f"difference of {difference:.1e} for frames {frames.shape}. '{path}' was not "
                "written. Try the other format, a folder or a .onnx file, and report it."
            )
        largest = max(largest, difference)
    return largest


def check_target(path: str) -> str:
    """Where `export` will write, in full; an error if it cannot write there, or not here.

    Raises:
        ValueError, FileExistsError, ImportError: same as for `export`.
    """
    if backend.name() != "tensorflow":
        raise ValueError(
            "Exports need Keras on TensorFlow, whose operations scale the frames in training, too. "
            f"Received: KERAS_BACKEND={backend.name()}. Give the same command with "
            "KERAS_BACKEND=tensorflow: it reads the same weights."
        )
    if "://" in path or path.endswith(_OTHER_FORMATS):
        raise ValueError(
            f"`path` must be a local folder, or a local file that ends in {_ONNX}. Received: {path}"
        )
    if path.endswith(_ONNX):
        _onnx_packages()
    path = os.path.abspath(files.expanded(path))
    if os.path.lexists(path):
        raise FileExistsError(f"'{path}' is there already. Give another name, or delete it.")
    return path


def _check_frame_size(frame_size: tuple[int, int] | None) -> None:
    if frame_size is None:
        return
    if len(frame_size) != 2:
        raise ValueError(
            "`frame_size` must be height and width, in pixels. Received: "
            f"frame_size={frame_size!r}. Use for example (720, 1280)."
        )
    for name, size in zip(("height", "width"), frame_size, strict=True):
        check_integer(f"frame_size: {name}", size)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.remove(path)


# ---- Formats -------------------------------------------------------------------------------------


def _write_saved(network: keras.Model, path: str, texts: Mapping[str, str]) -> None:
    network.export(path, format="tf_saved_model", verbose=False)
    folder = os.path.join(path, EXTRA_FILES)
    os.makedirs(folder, exist_ok=True)
    for name, text in texts.items():
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            file.write(text)


def _read_saved(path: str) -> Callable:
    serve = tf.saved_model.load(path).signatures["serving_default"]
    return lambda frames: serve(frames=tf.constant(frames))["scores"]


def _write_onnx(network: keras.Model, path: str, texts: Mapping[str, str]) -> None:
    onnx, _ = _onnx_packages()
    network.export(path, format="onnx", input_signature=network.inputs, verbose=False)
    content = onnx.load(path)
    names = {name.removesuffix(".json"): text for name, text in texts.items()}
    onnx.helper.set_model_props(content, names)
    onnx.save(content, path)


def _read_onnx(path: str) -> Callable:
    _, onnxruntime = _onnx_packages()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda frames: session.run(None, {name: frames})[0]


def _onnx_packages():
    """The modules onnx and onnxruntime."""
    try:
        import onnx
        import onnxruntime
        import tf2onnx  # noqa: F401  Keras imports it
    except ImportError as error:
        raise ImportError(
            "To write and run ONNX files takes onnx, onnxruntime and tf2onnx: "
            "pip install 'keras-multigrid[onnx]'."
        ) from error
    return onnx, onnxruntime
