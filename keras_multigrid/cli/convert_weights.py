r"""Write a published checkpoint as a preset, or as Keras weights.

    keras-multigrid convert --model=slowfast_8x8_r50 --source=kinetics400 --out=presets/slowfast
    keras-multigrid convert --model=slowfast_8x8_r50 --source=SLOWFAST_8x8_R50.pkl \
        --class_names=kinetics_400.txt --out=presets/slowfast
    keras-multigrid convert --source=runs/first --out=presets/mine
    keras-multigrid convert --model=slowfast_8x8_r50 --source=SLOWFAST_8x8_R50.pkl \
        --out=slowfast_8x8_r50.weights.h5

Source: the name of published weights, which are fetched; a PyTorch (.pyth) or Caffe2 (.pkl) file;
or the folder of a finished run, whose classes and clips the preset gets. Nothing in it is executed,
and neither library is needed. A preset is a folder of weights, network, class names, preprocessing
and a model card, which `models.from_preset(OUT)` and `predict --preset=OUT` read. Weights alone are
for `models.create(NAME, weights=OUT)`.
"""

import dataclasses
import os

from absl import app, flags

from keras_multigrid.cli import command
from keras_multigrid.task import MultiLabel

flags.DEFINE_string("model", None, "Name of the network: see keras_multigrid.models.names().")
flags.DEFINE_string("source", None, "Name of published weights, a file, or the folder of a run.")
flags.DEFINE_string("out", None, "The folder of the preset to write, or a .weights.h5 file.")
flags.DEFINE_integer(
    "classes", None, "Classes of the file; by default as published, or 400.", lower_bound=1
)
flags.DEFINE_string(
    "class_names", None, "File of class names: one a line, or classes.json; by default numbers."
)
flags.DEFINE_integer("num_frames", None, "Frames of a clip; by default as published.", 1)
flags.DEFINE_integer("stride", None, "Frames of the video from one to the next; as published.", 1)
flags.DEFINE_integer("crop_size", None, "Height and width of a clip, in pixels; as published.", 1)
FLAGS = flags.FLAGS
_CLIPS = ("num_frames", "stride", "crop_size")


def main() -> None:
    """Run the command."""
    _check_flags()
    file = _published_file()
    is_preset = not FLAGS.out.endswith(".weights.h5")
    preset = _preset(file) if is_preset else None
    network = _network(file)
    if is_preset:
        _save_preset(network, preset, file)
    else:
        network.save_weights(FLAGS.out)
    count = getattr(network, "parameter_count", None) or network.count_params()
    print(f"{FLAGS.out}: {count:,} parameters of {network.name}")


def _check_flags() -> None:
    needed = ("source", "out") if _is_keras() else ("model", "source", "out")
    for name in needed:
        if FLAGS[name].value is None:
            raise app.UsageError(f"--{name} is missing.")
    if os.path.isdir(FLAGS.source) and not os.path.isfile(_file()):
        raise app.UsageError(
            f"There is no '{_file()}': '{FLAGS.source}' is not the folder of a run, or the run has "
            "not finished. Give the command that trains it again, or another --source."
        )
    if FLAGS.out.endswith((".h5", ".keras")) and not FLAGS.out.endswith(".weights.h5"):
        raise app.UsageError(
            f"--out must be a folder, or end in .weights.h5. Received: {FLAGS.out}"
        )
    command.check_local("out")


def _is_keras() -> bool:
    return _file().endswith(".keras")


def _file() -> str:
    """The source; of the folder of a run, its network."""
    source = FLAGS.source or ""
    return os.path.join(source, "model.keras") if os.path.isdir(source) else source


def _published_file():
    """What is known of the source, if it is published."""
    from keras_multigrid import models
    from keras_multigrid.models.weights.pretrained import is_tag

    if _is_keras():
        return None
    if is_tag(FLAGS.source):
        return models.published_file(FLAGS.model, FLAGS.source)
    name = os.path.basename(FLAGS.source)
    of_model = (file for file in models.published_files() if file.name == FLAGS.model)
    return next((file for file in of_model if file.file == name), None)


def _preset(file):
    """The preset to write; its class names are None where none are given."""
    from keras_multigrid import models
    from keras_multigrid.runs import run_folder

    given = {name: FLAGS[name].value for name in _CLIPS if FLAGS[name].value is not None}
    class_names = FLAGS.class_names
    if _is_keras():
        run_dir = os.path.dirname(_file())
        given = {**_clips_of_run(run_dir), **given}
        beside = os.path.join(run_dir, run_folder.CLASSES)
        class_names = class_names or (beside if os.path.exists(beside) else None)
    if file is None and not set(_CLIPS) <= given.keys():
        missing = [f"--{name}" for name in _CLIPS if name not in given]
        raise app.UsageError(
            "A preset says which clips its network takes. Give "
            f"{', '.join(missing)}, or a --source that is published or the folder of a run."
        )
    published = None if file is None else models.published_preset(file)
    if published is None:
        clips = models.Preprocessing(**given)
    else:
        # A test at another crop than published is not known to be better at the published size.
        if "crop_size" in given:
            given["test_crop_size"] = None
        clips = dataclasses.replace(published.preprocessing, **given)
    multi_label = published is not None and published.multi_label
    if class_names is None:
        return models.Preset(class_names=(), preprocessing=clips, multi_label=multi_label)
    task = run_folder.read_task(class_names)
    is_json = class_names.endswith(".json")
    return models.Preset(
        class_names=task.class_names,
        preprocessing=clips,
        multi_label=isinstance(task, MultiLabel) if is_json else multi_label,
    )


def _clips_of_run(run_dir: str) -> dict:
    """The clips that a run was trained on; empty if its folder does not say."""
    from keras_multigrid.runs import run_folder

    try:
        grid, sampling = run_folder.read_clips(run_dir)
    except FileNotFoundError:
        return {}
    own = ("stride", "segments", "mean", "std", "subtract_clip_mean")
    clips = {name: getattr(sampling, name) for name in own}
    return {**clips, "num_frames": grid.num_frames, "crop_size": grid.crop_size}


def _network(file):
    """The network, with the weights of the source: all of them, or an error."""
    import keras

    from keras_multigrid import models

    if _is_keras() and FLAGS.model is None:
        return keras.models.load_model(_file(), compile=False)
    classes, arguments = 400, {}
    if file is not None:
        classes = file.classes
        arguments["classifier_activation"] = file.classifier_activation
    classes = classes if FLAGS.classes is None else FLAGS.classes
    network = models.create(FLAGS.model, classes=classes, **arguments)
    is_fetched = file is not None and file.tag == FLAGS.source
    source = models.find_weights(FLAGS.model, file.tag) if is_fetched else FLAGS.source
    models.load_published_weights(network, source)
    return network


def _save_preset(network, preset, file) -> None:
    from keras_multigrid import models

    if not preset.class_names:
        numbers = tuple(map(str, range(network.output_shape[-1])))
        preset = dataclasses.replace(preset, class_names=numbers)
    origin = models.Origin() if file is None else models.published_origin(file)
    models.save_preset(network, FLAGS.out, preset, origin)
