"""Test a trained network: python tools/evaluate.py --gin_file=gin/quickstart.gin [--gin_param=...]

Views and weights are settings, too:
    --gin_param="clips.Views.clips = 1" --gin_param="clips.Views.crops = 3"
    --gin_param="runs.MultiViewTest.weights = 'SLOWFAST_8x8_R50.pkl'"
"""

from keras_multigrid.cli import experiments


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import evaluation

    print(f"\n{experiments.configured(evaluation.evaluate)()}")
