"""What a trained network sees in videos of your own, the highest scores first.

    python tools/predict.py --gin_file=gin/quickstart.gin my_video.mp4 another.mov

The experiment names the network and its training; its classes are those that the run saved, so its
data need not be there.
"""

from absl import flags

from keras_multigrid.cli import experiments

flags.DEFINE_integer("top", 5, "Classes to show of each video.")
FLAGS = flags.FLAGS


def main(paths: list[str]) -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import evaluation

    predictions = experiments.configured(evaluation.predict)(paths=paths, top=FLAGS.top)
    for path, classes in predictions.items():
        print(path)
        for name, score in classes:
            print(f"  {score:.4f}  {name}")
