r"""Test a trained network on several views of each video.

    keras-multigrid evaluate --gin_file=quickstart
    keras-multigrid evaluate --gin_file=quickstart run_dir=runs/longer weights=best
    keras-multigrid evaluate --gin_file=slowfast_kinetics weights=SLOWFAST_8x8_R50.pkl
    keras-multigrid evaluate --gin_file=quickstart --gin_param="clips.Views.clips = 1" \
        --gin_param="clips.Views.crops = 3"
"""

from keras_multigrid.cli import experiments


def main() -> None:
    """Run the command."""
    experiments.load()
    experiments.check_schemes()
    from keras_multigrid.runs import evaluation

    print(f"\n{experiments.configured(evaluation.evaluate)()}")
