"""`keras-multigrid export` in a clone: see keras_multigrid/cli/export.py, or --help."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from keras_multigrid.cli import command

if __name__ == "__main__":
    command.main("export")
