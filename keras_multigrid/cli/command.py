"""Run a command: `python tools/train.py ...`, or `multigrid train ...` where it is installed."""

import codecs
import importlib
import logging
import os
import re
import signal
import sys
import tempfile
import threading
import traceback

# TensorFlow reads these when it is imported. Its notes on instruction sets and on optimizations
# left out hide what matters; errors still arrive as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without AVX-512, TensorFlow leaves out oneDNN, without which 3-D convolutions crawl.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# One logs every exchange between devices, the other every kind of device that is not there.
for name in ("tensorflow", "jax"):
    logging.getLogger(name).setLevel(logging.WARNING)

from absl import app, flags  # noqa: E402

import gin  # noqa: E402
from keras_multigrid import signals  # noqa: E402

flags.DEFINE_bool("debug", False, "Show the traceback of errors in settings and data, too.")
FLAGS = flags.FLAGS

# Seconds that a command has to end by itself after Ctrl-C.
_PATIENCE = 3.0
# Lines of the traceback of an error that no check foresaw.
_TRACEBACK_CALLS = 3
# For terminals and files that do not take the signs of grids and units.
_PLAIN = str.maketrans({"²": "^2", "³": "^3", "×": "x", "…": "...", "–": "-", "’": "'"})

# Name to whether it takes arguments that are no flags.
COMMANDS = {
    "browse": False,
    "check_data": False,
    "convert_weights": False,
    "evaluate": False,
    "plan": False,
    "predict": True,
    "prepare": False,
    "probe": False,
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
        _expand_home()
        heard = threading.Event()
        watcher = signals.Watcher(_end_if_not(heard))
        try:
            main(arguments) if takes_arguments else main()
            code = 0
        except app.UsageError:
            raise
        except KeyboardInterrupt:
            heard.set()
            print("\ninterrupted: give the same command again to continue", file=sys.stderr)
            # Now: to forget a data set that waits for input, TensorFlow would wait, too.
            signals.end_process(130)
        except SystemExit as request:
            heard.set()
            code = request.code
            if code == 128 + signal.SIGTERM:
                signals.end_process(code)
        except Exception as error:
            _show(error)
            code = 1
        finally:
            watcher.stop()
        _end(code)

    _make_printable()
    app.run(guarded)


def _end_if_not(heard: threading.Event):
    """What a `signals.Watcher` does on Ctrl-C: the main thread may wait in TensorFlow for ever."""

    def on_signal(number: int, next_signal) -> None:
        # While it trains, a checkpoint's own watcher is there instead of this one.
        if number == signal.SIGINT and not heard.wait(_PATIENCE):
            print("\ninterrupted: give the same command again to continue", file=sys.stderr)
            signals.end_process(130)

    return on_signal


def _expand_home() -> None:
    """Put the user's home in place of `~` in flags: a shell leaves --out=~/clips.html as it is."""
    for module, its_flags in FLAGS.flags_by_module_dict().items():
        for flag in its_flags if module.startswith("keras_multigrid.") else ():
            if isinstance(flag.value, str):
                flag.value = os.path.expanduser(flag.value)


def _make_printable() -> None:
    """Let output to what takes no UTF-8 change signs instead of ending the command."""
    codecs.register_error("plain", _in_plain_signs)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="plain")


def _in_plain_signs(error: UnicodeEncodeError) -> tuple[str, int]:
    text = error.object[error.start : error.end].translate(_PLAIN)
    return text.encode("ascii", "backslashreplace").decode(), error.end


def _end(code: int | None) -> None:
    """End the process with this exit code."""
    waits = any(thread.name == "input_service" for thread in threading.enumerate())
    if "tensorflow_io" in sys.modules or waits:
        # What it has open on s3:// would abort the process on its way out, and so would a thread
        # that waits for a service.
        signals.end_process(code or 0)
    sys.exit(code)


def _show(error: Exception) -> None:
    """Print an error: in one message if a check of settings or data raised it."""
    from keras_multigrid import files

    message = _message(error)
    if FLAGS.debug:
        text = "".join(traceback.format_exception(error))
    elif message is not None:
        # Keras's progress bar leaves its line open.
        text = f"\nerror: {message}"
    else:
        # TensorFlow's own may have hundreds of lines.
        lines = traceback.format_list(traceback.extract_tb(error.__traceback__)[-_TRACEBACK_CALLS:])
        what = "\n".join(f"{type(error).__name__}: {error}".strip().split("\n")[:_TRACEBACK_CALLS])
        text = f"\n{''.join(lines)}error: {what}\n(--debug shows all calls.)"
    print(files.redacted(text.rstrip("\n")), file=sys.stderr)


def _message(error: Exception) -> str | None:
    """The message of an error that a check of settings or data raised; None for any other."""
    # What the pipeline raises comes through TensorFlow as text.
    found = re.search(
        r"\b(?:TooManyBadVideos|Storage|StorageUnavailable|InputService)Error: (.*)", str(error)
    )
    if found:
        return found[1]
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if raised_in.startswith(os.path.dirname(gin.__file__)):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # Whoever raised it: a path of the user's.
        return f"Cannot use '{error.filename}': {error.strerror}."
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    kinds = (ValueError, OSError, RuntimeError, ImportError)
    if not (raised_in.startswith(package) and isinstance(error, kinds)):
        return None
    # gin adds where it was called from.
    return re.sub(r"\s*In call to configurable .*", "", str(error))


def check_local(flag: str) -> None:
    """Refuse what a command cannot write to, before its work: it writes to the local disk alone."""
    path = FLAGS[flag].value
    if "://" in path:
        raise app.UsageError(f"--{flag} must be local: copy it afterwards. Received: {path}")
    from keras_multigrid import files

    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    # By trying it: root may write anywhere, but not to a disk that is mounted read-only.
    with files.storage_errors(path, "write"):
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
