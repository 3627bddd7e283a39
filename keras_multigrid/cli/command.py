"""Run a command: `keras-multigrid train ...`, or `python tools/train.py ...` in a clone."""

import codecs
import difflib
import importlib
import itertools
import logging
import os
import re
import select
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from typing import NoReturn

# TensorFlow reads these when it is imported. Its notes on instruction sets and on optimizations
# left out hide what matters; errors still arrive as exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Without AVX-512, TensorFlow leaves out oneDNN, without which 3-D convolutions crawl.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# One logs every exchange between devices, the other every kind of device that is not there.
for name in ("tensorflow", "jax"):
    logging.getLogger(name).setLevel(logging.WARNING)

import absl.logging  # noqa: E402
from absl import app, flags  # noqa: E402

import gin  # noqa: E402
from keras_multigrid import signals  # noqa: E402
from keras_multigrid.cli import commands, help, named_settings  # noqa: E402

flags.DEFINE_bool("debug", False, "Show the traceback of errors in settings and data, too.")
FLAGS = flags.FLAGS

# Seconds that a command has to end by itself after Ctrl-C or SIGTERM.
_PATIENCE = 3.0
# What was typed is wrong; 1 is for what was found, or failed.
_WRONG_USAGE = 2
# Errors that checks raise of what was typed, or of what it names; the classes derived from these,
# such as DecodeError, are of what was found in files.
_MISTAKES = (
    *("ValueError", "FileNotFoundError", "FileExistsError"),
    *("ChangedSettingsError", "UnknownSchemeError"),
)
_AGAIN = "give the same command again to continue"
_HELP = ("--help", "-help", "-h", "-?", "--helpshort")
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# Lines of the traceback of an error that no check foresaw.
_TRACEBACK_CALLS = 3

# absl puts time, thread and line of code before a message, and shows TensorFlow's notes on what it
# writes.
absl.logging.get_absl_handler().setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
absl.logging.get_absl_handler().addFilter(
    lambda record: record.levelno >= logging.WARNING or record.pathname.startswith(_PACKAGE)
)
# TensorFlow's advice to trace less. Each grid is traced.
logging.getLogger("tensorflow").addFilter(
    lambda record: "triggered tf.function retracing" not in str(record.msg)
)
# For terminals and files that do not take the signs of grids and units.
_PLAIN = str.maketrans({"²": "^2", "³": "^3", "×": "x", "…": "...", "–": "-", "’": "'"})


def main(name: str | None = None) -> None:
    """Run a command of `commands.COMMANDS`.

    Args:
        name: of the command; None takes it from the command line.
    """
    _make_printable()
    try:
        _main(name)
    except KeyboardInterrupt:
        # While it starts: `run` takes those that come later.
        print("\ninterrupted", file=sys.stderr)
        signals.end_process(130)


def _main(name: str | None) -> None:
    if name is None:
        name = sys.argv.pop(1) if len(sys.argv) > 1 else ""
    if name in _HELP or name == "--version":
        _print_and_end(help.version() if name == "--version" else help.of_program())
    name = commands.short_name(name)
    if name not in commands.COMMANDS:
        close = difflib.get_close_matches(name, commands.COMMANDS, n=2)
        hint = f"Do you mean {' or '.join(close)}?" if close else ", ".join(commands.COMMANDS) + "."
        _refuse(f"Expected a command. Received: {name!r}. {hint}")
    command = commands.COMMANDS[name]
    module = importlib.import_module(f"{__package__}.{command.module}")
    before = itertools.takewhile(lambda argument: argument != "--", sys.argv[1:])
    if set(_HELP) & set(before):
        _print_and_end(help.of_command(name))
    run(
        module.main,
        name=name,
        takes_arguments=command.takes_arguments,
        takes_settings=command.takes_settings,
    )


def run(
    main, *, name: str = "", takes_arguments: bool = False, takes_settings: bool = False
) -> None:
    """Run a function. Errors in what the user gave end in one message, without a traceback.

    Exit codes: 0 where it returns; 2 where flags, settings or arguments are wrong; 1 where it
    raises another error; 130 after Ctrl-C; 143 after SIGTERM; that of a SystemExit.

    Args:
        main: called with the arguments that are neither flags nor settings if it `takes_arguments`.
        name: of the command, for the hint to its help.
        takes_settings: NAME=VALUE goes to the flag --setting.
    """

    def guarded(argv):
        arguments = argv[1:]
        if takes_settings:
            given, arguments = named_settings.split(arguments)
            FLAGS.setting = [*FLAGS.setting, *given]
        if arguments and not takes_arguments:
            _refuse(_about_unknown(arguments), name)
        _expand_home()
        heard = threading.Event()
        if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            # The default would not end the first process of a container.
            signal.signal(signal.SIGTERM, _terminate)
        watcher = signals.Watcher(_end_if_not(heard))
        try:
            main(arguments) if takes_arguments else main()
            code = 0
        except app.UsageError as error:
            heard.set()
            _refuse(str(error), name)
        except KeyboardInterrupt:
            heard.set()
            print(f"\ninterrupted: {_AGAIN}", file=sys.stderr)
            # Now: to forget a data set that waits for input, TensorFlow would wait, too.
            signals.end_process(130)
        except SystemExit as request:
            heard.set()
            code = request.code
            if isinstance(request, _Terminated):
                print(f"\nterminated: {_AGAIN}", file=sys.stderr)
            if code == 128 + signal.SIGTERM:
                # At once, same as after Ctrl-C.
                signals.end_process(code)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _is_output_closed():
                _drop_output()
                code = 128 + signal.SIGPIPE
            else:
                _show(error, name)
                code = _WRONG_USAGE if _is_mistake(error) else 1
        finally:
            watcher.stop()
        _end(code)

    _make_printable()
    app.run(guarded, flags_parser=lambda argv: _parsed(argv, name))


def _parsed(argv: list[str], name: str) -> list[str]:
    """Read the flags, which may stand before and after other arguments; the others."""
    if "--helpfull" in argv:
        app.usage(writeto_stdout=True, exitcode=0)
    FLAGS.set_gnu_getopt(True)
    try:
        return FLAGS(argv)
    except flags.UnrecognizedFlagError as error:
        if error.flagname in named_settings.SETTINGS:
            text = f"{error.flagname}={named_settings.SETTINGS[error.flagname].example}"
            _refuse(f"{error.flagname} is a setting, without dashes: {text}.", name)
        _refuse(str(error), name)
    except flags.IllegalFlagValueError as error:
        _refuse(_about_value(str(error)), name)
    except flags.Error as error:
        _refuse(str(error), name)


def _about_value(message: str) -> str:
    """What absl says of a flag's value, in the words of our checks."""
    found = re.match(r"flag --(\w+)=(.*?): ", message, flags=re.DOTALL)
    if found is None:
        return message
    parser = FLAGS[found[1]].parser
    expected = parser.syntactic_help or "true or false"
    if hasattr(parser, "enum_values"):
        expected = f"one of {', '.join(parser.enum_values)}"
    # absl leaves the article out of "number >= 0.1".
    expected = re.sub(r"^(number|integer) >= ", r"a \1 of at least ", expected)
    return f"--{found[1]} must be {expected}. Received: --{found[1]}={found[2]}."


def _about_unknown(arguments: list[str]) -> str:
    return (
        f"Expected flags, --FLAG=VALUE, and settings, NAME=VALUE. Received: {' '.join(arguments)}."
    )


def _refuse(message: str, name: str = "") -> NoReturn:
    """End the process, since it was called in a wrong way."""
    words = " ".join(word for word in (help.PROGRAM, name, "--help") if word)
    print(f"error: {message}\nSee {words}.", file=sys.stderr)
    sys.exit(_WRONG_USAGE)


class _Terminated(SystemExit):
    """SIGTERM came, and no training was there to take it."""


def _terminate(number: int, frame) -> NoReturn:
    raise _Terminated(128 + number)


def _end_if_not(heard: threading.Event):
    """What a `signals.Watcher` does on Ctrl-C and on SIGTERM.

    The main thread may wait in TensorFlow for ever.
    """
    words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}

    def on_signal(number: int, next_signal) -> None:
        # While it trains, a checkpoint's own watcher is there instead of this one.
        if number in words and not heard.wait(_PATIENCE):
            print(f"\n{words[number]}: {_AGAIN}", file=sys.stderr)
            signals.end_process(128 + number)

    return on_signal


def _expand_home() -> None:
    """Put the user's home in place of `~` in flags: a shell leaves --out=~/clips.html as it is."""
    for flag in help.own_flags():
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
    if code == 1 or "tensorflow_io" in sys.modules or waits:
        # After an error, threads may still ask a server again and again. What tensorflow-io has
        # open would abort the process on its way out, and so would a thread that waits for a
        # service.
        signals.end_process(code or 0)
    sys.exit(code)


def _print_and_end(text: str) -> NoReturn:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        _drop_output()
    sys.exit(0)


def _is_output_closed() -> bool:
    """Whether nobody reads standard output any more, as after `| head`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _drop_output() -> None:
    """Let Python write what is left, when it ends, to nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show(error: Exception, name: str) -> None:
    """Print an error: in one message if a check of settings or data raised it."""
    from keras_multigrid import files

    message = _message(error)
    if message is not None and name in commands.COMMANDS:
        message = _with_settings(_as_typed(message, commands.COMMANDS[name].flags))
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
    if _is_of_gin(error):
        return str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        # Whoever raised it: a path of the user's.
        return f"Cannot use '{error.filename}': {error.strerror}."
    kinds = (ValueError, OSError, RuntimeError, ImportError)
    if not (_is_raised_in(error, _PACKAGE) and isinstance(error, kinds)):
        return None
    # gin adds where it was called from.
    return re.sub(r"\s*In call to configurable .*", "", str(error))


def _is_mistake(error: Exception) -> bool:
    """Whether a check has found that what was typed is wrong."""
    is_ours = type(error).__name__ in _MISTAKES and _is_raised_in(error, _PACKAGE)
    return _is_of_gin(error) or is_ours


def _is_of_gin(error: Exception) -> bool:
    return _is_raised_in(error, os.path.dirname(gin.__file__))


def _is_raised_in(error: Exception, folder: str) -> bool:
    return traceback.extract_tb(error.__traceback__)[-1].filename.startswith(folder + os.sep)


def _as_typed(message: str, names: Mapping[str, str]) -> str:
    """A message on arguments of functions, with the flags that set them in their places."""
    # Of an experiment, arguments of these names are set by gin.
    is_experiment = "gin_file" in FLAGS and FLAGS.gin_file
    typed = {flag.name for flag in help.own_flags() if flag.present or not is_experiment}

    def replaced(found: re.Match) -> str:
        name = names.get(found["name"], found["name"])
        return f"--{name}{found['value']}" if name in typed else found[0]

    message = re.sub(r"`(?P<name>\w+)(?P<value>=[^`]*|)`", replaced, message)
    return re.sub(r"(?<=Received: )(?P<name>\w+)(?P<value>=)", replaced, message)


def _with_settings(message: str) -> str:
    """A message on a value that NAME=VALUE set under another name, with that name before it."""
    for setting in FLAGS.setting if "setting" in FLAGS else ():
        name, _, value = setting.partition("=")
        if value:
            message = message.replace(f"Received: {value!r}", f"Received: {name}={value!r}")
    return message


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
