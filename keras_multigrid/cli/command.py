"""Run a command: `python tools/train.py ...`, or `multigrid train ...` where it is installed."""

import importlib
import logging
import os
import re
import sys
import threading
import traceback

# TensorFlow reads these when it is imported. Its notes on instruction sets and on optimizations
# left out hide what matters; errors still arrive as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without AVX-512, TensorFlow leaves out oneDNN, without which 3-D convolutions crawl.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# It logs every exchange between devices.
logging.getLogger("tensorflow").setLevel(logging.WARNING)

from absl import app, flags  # noqa: E402

import gin  # noqa: E402

flags.DEFINE_bool("debug", False, "Show the traceback of errors in settings and data, too.")
FLAGS = flags.FLAGS

# Name to whether it takes arguments that are no flags.
COMMANDS = {
    "browse": False,
    "check_data": False,
    "convert_weights": False,
    "evaluate": False,
    "plan": False,
    "predict": True,
    "prepare": False,
    "serve_data": True,
    "train": False,
}


def main(name: str | None = None) -> None:
    """Run a command of `COMMANDS`: a module of this package, with a function `main`.

    Args:
        name: of the command; None takes it from the command line.
    """
    if name is None:
        name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
        if name not in COMMANDS:
            sys.exit(f"Expected a command: {', '.join(COMMANDS)}. Received: {name!r}.")
    command = importlib.import_module(f"keras_multigrid.cli.{name}")
    # What `--help` shows.
    sys.modules["__main__"].__doc__ = command.__doc__
    for module, its_flags in FLAGS.flags_by_module_dict().items():
        if module.startswith("keras_multigrid."):
            for flag in its_flags:
                FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    run(command.main, takes_arguments=COMMANDS[name])


def run(main, *, takes_arguments: bool = False) -> None:
    """Run a function. Errors in what the user gave end in one message, without a traceback.

    Args:
        main: called with the arguments that are no flags if it `takes_arguments`.
    """

    def guarded(argv):
        arguments = argv[1:]
        if arguments and not takes_arguments:
            raise app.UsageError(f"Unknown arguments: {arguments}.")
        try:
            main(arguments) if takes_arguments else main()
        except app.UsageError:
            raise
        except KeyboardInterrupt:
            print("\ninterrupted: give the same command again to continue", file=sys.stderr)
            _end(130)
        except SystemExit as request:
            _end(request.code)
        except Exception as error:
            message = _message(error)
            if message is None or FLAGS.debug:
                traceback.print_exc()
            else:
                # Keras's progress bar leaves its line open.
                print(f"\nerror: {message}", file=sys.stderr)
            _end(1)
        _end(0)

    app.run(guarded)


def _end(code: int | None) -> None:
    """End the process with this exit code."""
    waits = any(thread.name == "input_service" for thread in threading.enumerate())
    if "tensorflow_io" in sys.modules or waits:
        # What it has open on s3:// would abort the process on its way out, and so would a thread
        # that waits for a service.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    sys.exit(code)


def _message(error: Exception) -> str | None:
    """The message of an error that a check of settings or data raised; None for any other."""
    # What the pipeline raises comes through TensorFlow as text.
    found = re.search(
        r"(?:TooManyBadVideos|Storage|StorageUnavailable|InputService)Error: (.*)", str(error)
    )
    if found:
        return found[1]
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if raised_in.startswith(os.path.dirname(gin.__file__)):
        return str(error)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kinds = (ValueError, OSError, RuntimeError, ImportError)
    if not (raised_in.startswith(package) and isinstance(error, kinds)):
        return None
    # gin adds where it was called from.
    return re.sub(r"\s*In call to configurable .*", "", str(error))


def check_local(flag: str) -> None:
    """Refuse a remote path where a command writes to the local disk alone."""
    path = FLAGS[flag].value
    if "://" in path:
        raise app.UsageError(f"--{flag} must be local: copy it afterwards. Received: {path}")


class Progress:
    """A bar on a terminal; in a log, a line a minute. Called with what is done and what there is.

    Args:
        unit_name: of what is counted, such as "video".
    """

    def __init__(self, unit_name: str):
        self._unit_name = unit_name
        self._bar = None

    def __call__(self, done: int, total: int) -> None:
        import keras

        if self._bar is None:
            interval = 0.5 if sys.stdout.isatty() else 60.0
            self._bar = keras.utils.Progbar(total, interval=interval, unit_name=self._unit_name)
        self._bar.update(done)
