"""Which grids of a schedule a Keras model cannot take, in which layer, and what to put there."""

import contextlib
import dataclasses
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import keras

from keras_multigrid import compat
from keras_multigrid.schedule import Grid, MultigridSchedule

_SLIDING = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv2D", "DepthwiseConv3D")
_OF_FEATURES = ("Dense", "EinsumDense", "GRU", "LSTM", "SimpleRNN")
_POOLS = tuple(f"{kind}Pooling{n}D" for kind in ("Max", "Average") for n in (1, 2, 3))


@dataclasses.dataclass(frozen=True, kw_only=True)
class GridProblem:
    """What a model cannot take.

    Args:
        grids: those that fail in the same layer.
        layer: name of the layer.
        layer_type: name of its class.
        error: what it said of the first of these grids.
        remedy: what to do about it.
    """

    grids: tuple[Grid, ...]
    layer: str
    layer_type: str
    error: str
    remedy: str

    def __str__(self) -> str:
        more = f" and {len(self.grids) - 1} more" if self.grids[1:] else ""
        return (
            f"{self.layer} ({self.layer_type}) cannot take {self.grids[0]}{more}: "
            f"{self.error} {self.remedy}"
        )


def check_grids(model: keras.Model, schedule: MultigridSchedule) -> tuple[GridProblem, ...]:
    """Find the grids of a schedule that a model cannot take, before training does.

    Shapes alone are computed, not values: it needs little memory. Every grid is traced once.

    Args:
        model: any Keras model of clips (batch, frames, height, width, channels). All of its inputs
            that are clips get the sizes of the grid, each with its own channels.
        schedule: whose grids are tried, and the baseline's.

    Returns:
        A problem for each layer where some grid fails, in the order of the grids; empty if the
        model takes all. Layers behind the first one that fails are not reached.

    Raises:
        ValueError: if it is no Keras model.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((16, 64, 64, 3)),
    ...     keras.layers.Conv3D(8, 3),
    ...     keras.layers.Flatten(),
    ...     keras.layers.Dense(10)])
    >>> for problem in check_grids(model, schedule):
    ...     print(problem)
    dense (Dense) cannot take 128 x 4 x 32²: ... Replace flatten by global average pooling.
    """
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"`model` must be a Keras model. Received: {model!r}. Give what it makes, if it makes "
            "one."
        )
    problem = None if model.built else _build(model, schedule.base)
    if problem is not None:
        return (problem,)
    found = {}
    for grid in dict.fromkeys([*schedule.grids, schedule.base]):
        problem = _try_grid(model, grid)
        if problem is not None:
            first = found.setdefault(problem.layer, problem)
            if first is not problem:
                grids = (*first.grids, grid)
                found[problem.layer] = dataclasses.replace(first, grids=grids)
    # An input of one size may be all that is in the way, or hide what is.
    behind = [problem for problem in found.values() if problem.layer_type != "InputLayer"]
    return tuple(behind or found.values())


def refuse_grids(model: keras.Model, schedule: MultigridSchedule) -> None:
    """Refuse a model that cannot take some grid of a schedule.

    Raises:
        ValueError: with all problems that `check_grids` finds.
    """
    problems = check_grids(model, schedule)
    if problems:
        raise ValueError(
            "The model must take every grid of the schedule.\n"
            + "\n".join(f"- {problem}" for problem in problems)
        )


@contextlib.contextmanager
def _whole_tracebacks() -> Iterator[None]:
    """Let Keras leave the stack whole, in which the layer is found."""
    filters = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filters:
            keras.config.enable_traceback_filtering()


def _build(model: keras.Model, base: Grid) -> GridProblem | None:
    try:
        with _whole_tracebacks():
            model(keras.ops.zeros((1, base.num_frames, base.crop_size, base.crop_size, 3)))
    except Exception as error:
        return _problem(error, _Trial(), model, base)
    return None


def _try_grid(model: keras.Model, grid: Grid) -> GridProblem | None:
    trial = _Trial()
    # One clip: a layer may be traced once for each (`TimeDistributed` is).
    shape = (1, grid.num_frames, grid.crop_size, grid.crop_size, 3)
    try:
        with _whole_tracebacks():
            trial.run(model, keras.Input(batch_shape=shape))
    except Exception as error:
        # Networks of this package say themselves what they take.
        return _refused_size(model, grid) or _problem(error, trial, model, grid)
    return _refused_size(model, grid) or _fixed_input(model, grid)


def _problem(error: Exception, trial: "_Trial", model: keras.Model, grid: Grid) -> GridProblem:
    """What an error says that came up in some layer of a model."""
    layer = _innermost_layer(error.__traceback__) or model
    return GridProblem(
        grids=(grid,),
        layer=layer.name,
        layer_type=type(layer).__name__,
        error=_sentence(error),
        remedy=trial.remedy(layer, model, str(error)),
    )


def _refused_size(model: keras.Model, grid: Grid) -> GridProblem | None:
    """What `check_clip_size` of the model, if it has one, says of a grid."""
    try:
        getattr(model, "check_clip_size", lambda *size: None)(grid.num_frames, grid.crop_size)
    except ValueError as error:
        said, use, remedy = str(error).partition(" Use ")
        return GridProblem(
            grids=(grid,),
            layer=model.name,
            layer_type=type(model).__name__,
            error=said,
            remedy=(use + remedy).strip(),
        )
    return None


class _Trial:
    """The layers of a model, called one by one with the shapes that a grid gives them."""

    def __init__(self):
        self.called = []

    def run(self, model: keras.Model, clips: Any) -> None:
        """Compute the shapes of all outputs.

        Layers of functional models are called through stand-ins: so their own graph, of which
        `layer.output` is a part, gets no second branch, and a fixed input size does not hide which
        layer it is needed for.
        """
        if not getattr(model, "inputs", None):
            _StandIn(model, self)(clips)
            return
        # The bare graph: a copy of the model would be compiled, too.
        graph = keras.Model(list(model.inputs), list(model.outputs))
        # Others than colours, such as optical flow, have channels of their own.
        tensors = [
            keras.Input(
                batch_shape=(*clips.shape[:4], x.shape[4] or 3) if len(x.shape) == 5 else x.shape,
                dtype=x.dtype,
            )
            for x in model.inputs
        ]
        keras.models.clone_model(graph, input_tensors=tensors, clone_function=self._stand_in)

    def checked(self, layer: keras.Operation, outputs: Any) -> Any:
        """The outputs of a layer that was called, if they are not empty."""
        for output in keras.tree.flatten(outputs):
            shape = tuple(output.shape)
            if any(size is not None and size < 1 for size in shape):
                raise ValueError(f"Its output would be empty: {shape}.")
        self.called.append(layer)
        return outputs

    def _stand_in(self, layer: keras.Operation) -> keras.Operation:
        is_layer = isinstance(layer, keras.layers.Layer)
        return _StandIn(layer, self) if is_layer else _OperationStandIn(layer, self)

    def remedy(self, layer: keras.Operation, model: keras.Model, error: str) -> str:
        """What to do where a layer fails."""
        kind = type(layer).__name__
        before = [*self.called[::-1], *compat.flatten_layers(model)]
        flat = next(
            (seen for seen in before if type(seen).__name__ in ("Flatten", "Reshape")), None
        )
        if kind in _OF_FEATURES and flat is not None:
            return (
                f"Its kernel has the size of one clip, because of {flat.name} before it. Replace "
                f"{flat.name} by global average pooling."
            )
        if (kind in _SLIDING or kind in _POOLS) and "expected axis" in error:
            return "Clips are (batch, frames, height, width, channels), with the channels last."
        if kind in _SLIDING or kind in _POOLS:
            return (
                "Its window is larger than the clip. Use padding='same', smaller strides before "
                "it, or `min_frames` and `min_crop` of the schedule."
            )
        if kind == "Reshape":
            return (
                "Its sizes are fixed. Use keras.ops.shape in a layer of your own, or pool before."
            )
        if isinstance(layer, keras.Model) and layer is not model:
            return (
                "It was made for one size. Make it with sizes left open (None), or put "
                "keras.layers.Resizing before it."
            )
        name = f"{layer.name} {kind}".lower()
        if "pos" in name or "embed" in name:
            return (
                "Positions must be interpolated to the clip: keras_multigrid.layers."
                "ResizedPositions does so."
            )
        return (
            "It must take any number of frames, height and width: read sizes by keras.ops.shape "
            "in `call`, and make no weight as large as a clip."
        )


class _StandIn(keras.layers.Layer):
    """Calls a layer that is part of another graph."""

    def __init__(self, layer: keras.layers.Layer, trial: _Trial):
        super().__init__(name=f"{layer.name}_tried", dtype=getattr(layer, "dtype_policy", None))
        self._tried = (layer,)  # In a tuple, it is no layer of this one.
        self._trial = (trial,)
        self.built = True

    @property
    def tried(self) -> keras.layers.Layer:
        return self._tried[0]

    def call(self, *args, **kwargs):
        return self._trial[0].checked(self.tried, self.tried(*args, **kwargs))


class _OperationStandIn(keras.Operation):
    """The same for an operation of `keras.ops`; not all of its arguments are tensors: `x[:, 1]`."""

    def __init__(self, operation: keras.Operation, trial: _Trial):
        super().__init__(name=f"{operation.name}_tried")
        self.tried, self._trial = operation, trial

    def compute_output_spec(self, *args, **kwargs):
        outputs = self._trial.checked(self.tried, self.tried.compute_output_spec(*args, **kwargs))
        # Keras takes what is multiplied by a number for sparse, which no layer could compute.
        return keras.tree.map_structure(lambda x: keras.KerasTensor(x.shape, x.dtype), outputs)


def _fixed_input(model: keras.Model, grid: Grid) -> GridProblem | None:
    """An input that takes one size only, though all layers behind it take others; or no clips."""
    inputs = getattr(model, "inputs", None) or ()
    clips = [tensor for tensor in inputs if len(tensor.shape) == 5]
    if inputs and not clips:
        return GridProblem(
            grids=(grid,),
            layer=inputs[0].name,
            layer_type="InputLayer",
            error=f"it takes {tuple(inputs[0].shape)}, which are no clips.",
            remedy="Apply networks for pictures to each frame: keras_multigrid.models.FrameModel.",
        )
    sizes = (grid.batch_size, grid.num_frames, grid.crop_size, grid.crop_size)
    for tensor in clips:
        fixed = tuple(tensor.shape)
        if any(size not in (None, wanted) for size, wanted in zip(fixed, sizes, strict=False)):
            return GridProblem(
                grids=(grid,),
                layer=tensor.name,
                layer_type="InputLayer",
                error=f"it takes {fixed} only.",
                remedy="Its layers take other sizes: use "
                f"keras.Input((None, None, None, {fixed[4]})).",
            )
    return None


def _innermost_layer(traceback: TracebackType | None) -> keras.Operation | None:
    """The layer, or operation of a graph, in whose call an error came up.

    Not what is inside of Keras's own layers, such as the cell of an LSTM: users did not write it.
    """
    found = None
    for frame in _frames(traceback):
        layer = frame.f_locals.get("self")
        if isinstance(layer, (_StandIn, _OperationStandIn)):
            layer = layer.tried
        if isinstance(layer, keras.Operation):
            found = layer
            contains = isinstance(layer, (keras.Model, keras.layers.Wrapper))
            if type(layer).__module__.startswith("keras.") and not contains:
                break
    return found


def _frames(traceback: TracebackType | None) -> Iterator[Any]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _sentence(error: Exception) -> str:
    """What an error says first, without what Keras puts around it."""
    text = str(error).rpartition("Error encountered:")[2]
    text = text.replace("\x1b[1m", "").replace("\x1b[0m", "")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    around = ("Exception encountered", "Arguments received", "in user code", "File ", "Call arg")
    said = [line for line in lines if not line.startswith(around)] or [type(error).__name__]
    return said[0] if said[0].endswith((".", "?", "!")) else f"{said[0]}."
