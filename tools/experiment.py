"""gin and the command line, shared by the tools."""

import importlib.util  # noqa: F401  gin uses it for files of other folders without importing it
import io
import logging
import os
import re
import sys
import threading
import traceback

# TensorFlow reads these when it is imported. Its notes on instruction sets and on optimizations
# left out hide what matters; errors still arrive as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# On processors without AVX-512 it leaves out oneDNN, without which 3-D convolutions crawl.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# It tells of every exchange between devices.
logging.getLogger("tensorflow").setLevel(logging.WARNING)
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

from absl import app, flags  # noqa: E402

import gin  # noqa: E402

flags.DEFINE_multi_string("gin_file", None, "gin files of the experiment, later ones over earlier.")
flags.DEFINE_multi_string("gin_param", None, "Bindings over those of the files: NAME=VALUE.")
flags.DEFINE_bool("debug", False, "Show the traceback of errors in settings and data, too.")
FLAGS = flags.FLAGS


def load() -> None:
    """Read the gin files and parameters of the command line. gin files are code: trust them."""
    if not FLAGS.gin_file:
        raise app.UsageError("--gin_file is missing. Use --gin_file=gin/quickstart.gin.")
    if any("://" in path for path in FLAGS.gin_file):
        _read_remote_gin_files()
    for path in FLAGS.gin_file:
        is_local = os.path.exists(path) or os.path.exists(os.path.join(_ROOT, path))
        if not is_local and not _remote_gin_file_exists(path):
            raise FileNotFoundError(f"--gin_file: there is no file {path!r}.")
    parse(FLAGS.gin_file, FLAGS.gin_param or [])


def parse(gin_files: list[str], bindings: list[str]) -> None:
    """Read gin files and bindings over them, and check that every macro is set and used."""
    gin.add_config_file_search_path(_ROOT)
    gin.parse_config_files_and_bindings(gin_files, bindings)
    _bind_former_parameters()
    _check_macros(gin.config_str())


def _bind_former_parameters() -> None:
    """Bind the settings that parameters of version 0.1.0 have become."""
    if not re.search(
        r"\b(training\.train|evaluation\.(evaluate|predict))\.\w+ = ", gin.config_str()
    ):
        return
    from keras_multigrid.runs import former

    for function, places in (
        ("training.train", former.TRAIN),
        ("evaluation.evaluate", former.EVALUATE),
        ("evaluation.predict", former.EVALUATE),
    ):
        for name, place in places.items():
            try:
                value = gin.query_parameter(f"{function}.{name}")
            except ValueError:
                continue
            print(f"{function}.{name} is now runs.{place}", file=sys.stderr)
            with gin.unlock_config():
                gin.bind_parameter(f"runs.{place}", value)


def _read_remote_gin_files() -> None:
    from keras_multigrid import files

    gin.config.register_file_reader(
        lambda path: io.StringIO(files.read(path).decode()), _remote_gin_file_exists
    )


def _remote_gin_file_exists(path: str) -> bool:
    # gin asks for it in each folder that it searches, too.
    if not re.match(r"\w+://", path):
        return False
    from keras_multigrid import files

    files.check_scheme(path)
    return files.exists(path)


def _check_macros(config: str) -> None:
    """Every macro must be set and used: gin itself would say neither of a misspelt one."""
    used = set(re.findall(r"%([A-Za-z_]\w*)", config))
    defined = set(re.findall(r"^([A-Za-z_]\w*) = ", config, flags=re.MULTILINE))
    for name in sorted(used - defined):
        raise ValueError(f"The gin name {name} is used but not set. Use --gin_param='{name}=...'.")
    for name in sorted(defined - used):
        raise ValueError(
            f"The gin name {name} is set but nothing uses it: is it misspelt? "
            f"Names in use: {', '.join(sorted(used))}."
        )
    used = set(re.findall(r"@([\w/]+)/[\w.]+", config))
    defined = set(re.findall(r"^([\w/]+)/[\w.]+ = ", config, flags=re.MULTILINE))
    for scope in sorted(used - defined):
        raise ValueError(
            f"Nothing is set in the gin scope {scope}: is it misspelt? "
            f"Scopes: {', '.join(sorted(defined))}."
        )


def check_schemes() -> None:
    """Refuse remote paths whose file system is not there, before the first one is read."""
    from keras_multigrid import files

    for path in re.findall(r"""['"](\w+://[^'"]*)""", gin.config_str()):
        # The address of an input service is no file.
        if not path.startswith("grpc://"):
            files.check_scheme(path)


def check_local(flag: str) -> None:
    """Refuse a remote path where a tool writes to the local disk alone."""
    path = FLAGS[flag].value
    if "://" in path:
        raise app.UsageError(f"--{flag} must be local: copy it afterwards. Received: {path}")


def configured(function_or_class):
    """The function or class with the parameters that gin gives it."""
    return gin.get_configurable(function_or_class)


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


def run(main, *, takes_paths: bool = False) -> None:
    """Run a tool. Errors in what the user gave end in one message, without a traceback.

    Args:
        main: the tool; called with the arguments that are no flags if it `takes_paths`.
    """

    def guarded(argv):
        paths = argv[1:]
        if paths and not takes_paths:
            raise app.UsageError(f"Unknown arguments: {paths}.")
        try:
            main(paths) if takes_paths else main()
        except app.UsageError:
            raise
        except KeyboardInterrupt:
            print("\ninterrupted: the same command goes on from what is saved", file=sys.stderr)
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
    """What to tell of an error that a check of settings or data raised; None for any other."""
    # What the pipeline raises comes through TensorFlow as text.
    found = re.search(
        r"(?:TooManyBadVideos|Storage|StorageUnavailable|InputService)Error: (.*)", str(error)
    )
    if found:
        return found[1]
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if raised_in.startswith(os.path.dirname(gin.__file__)):
        return str(error)
    ours = (os.path.join(_ROOT, "keras_multigrid"), os.path.join(_ROOT, "tools"))
    kinds = (ValueError, OSError, RuntimeError, ImportError)
    known = raised_in.startswith(ours) and isinstance(error, kinds)
    # gin adds where it was called from.
    return re.sub(r"\s*In call to configurable .*", "", str(error)) if known else None
