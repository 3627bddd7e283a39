r"""Write a published checkpoint as Keras weights.

    keras-multigrid convert --model=slowfast_8x8_r50 --source=SLOWFAST_8x8_R50.pkl \
        --out=slowfast_8x8_r50.weights.h5

Source: a PyTorch (.pyth) or Caffe2 (.pkl) file. Nothing in it is executed, and neither library is
needed. The network is then made with `create(NAME, weights=OUT)`.
"""

from absl import app, flags

from keras_multigrid.cli import command

flags.DEFINE_string("model", None, "Name of the network: see keras_multigrid.models.names().")
flags.DEFINE_string("source", None, "The published file.")
flags.DEFINE_string("out", None, "The file to write, which ends in .weights.h5.")
flags.DEFINE_integer("classes", 400, "Classes of the checkpoint.")
FLAGS = flags.FLAGS


def main() -> None:
    """Run the command."""
    for name in ("model", "source", "out"):
        if FLAGS[name].value is None:
            raise app.UsageError(f"--{name} is missing. See --help.")
    if not FLAGS.out.endswith(".weights.h5"):
        raise app.UsageError(f"--out must end in .weights.h5. Received: {FLAGS.out}")
    command.check_local("out")
    from keras_multigrid import models

    network = models.create(FLAGS.model, classes=FLAGS.classes)
    models.load_published_weights(network, FLAGS.source)
    network.save_weights(FLAGS.out)
    print(f"{FLAGS.out}: {network.parameter_count:,} parameters of {FLAGS.model}")
