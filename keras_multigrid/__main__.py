"""`python -m keras_multigrid COMMAND ...`, same as `keras-multigrid COMMAND ...`."""

from keras_multigrid.cli import command

if __name__ == "__main__":
    command.main()
