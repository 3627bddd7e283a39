"""Python processes, forked from one that has imported TensorFlow: an import takes seconds.

Real ones in all that they are tested for: exit codes, signals, folders, environments. They share
one seed of hashes, so that test_resume.py, which compares processes bit by bit, starts its own.
"""

import atexit
import gc
import importlib
import io
import json
import multiprocessing.process
import os
import signal
import socket
import subprocess
import sys
import tempfile
import types

# What nearly every process imports, and none of it ours.
PRELOADED = (
    *("tensorflow", "keras", "av", "cv2", "h5py", "PIL.Image", "absl.app", "gin"),
    *("matplotlib.figure", "tensorboard.plugins.histogram.summary_v2"),
    "tensorboard.summary.writer.record_writer",
)
_server = []


class Process:
    """As `subprocess.Popen([sys.executable, *arguments])`, with output in files.

    Args:
        arguments: a script or "-c" and code, and its arguments.
        stdout: an open file; by default, one that `stdout` reads.
        stderr: the same; `subprocess.STDOUT` for that of `stdout`.
    """

    def __init__(self, *arguments, env=None, cwd=None, stdout=None, stderr=None):
        outputs = []
        for name, file in (("stdout", stdout), ("stderr", stderr)):
            if file is None:
                file = tempfile.NamedTemporaryFile()  # noqa: SIM115  open as long as this is
                # Carriage returns are seen as they are.
                setattr(self, name, open(file.name, newline=""))  # noqa: SIM115
            outputs.append(file)
        stdout, stderr = outputs
        stderr = stdout if stderr == subprocess.STDOUT else stderr
        self.returncode = None
        self._messages, reply = socket.socketpair(type=socket.SOCK_SEQPACKET)
        request = {
            "arguments": [str(argument) for argument in arguments],
            "env": dict(os.environ if env is None else env),
            "cwd": str(cwd or os.getcwd()),
        }
        fds = [reply.fileno(), stdout.fileno(), stderr.fileno()]
        socket.send_fds(_requests(), [json.dumps(request).encode()], fds)
        reply.close()
        self.pid = int(self._messages.recv(100))

    def wait(self, timeout=None):
        if self.returncode is None:
            self._messages.settimeout(timeout)
            try:
                self.returncode = int(self._messages.recv(100))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(str(self.pid), timeout) from None
            self._messages.close()
        return self.returncode

    def poll(self):
        try:
            return self.wait(0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=None):
        """The rest of its output, and its errors."""
        self.wait(timeout)
        with self.stdout, self.stderr:
            return self.stdout.read(), self.stderr.read()


def run(*arguments, timeout=300, **settings):
    """As `subprocess.run` that captures output."""
    process = Process(*arguments, **settings)
    try:
        output, errors = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return subprocess.CompletedProcess(arguments, process.returncode, output, errors)


def _requests():
    """The socket of the server, which is started once and ends with this process."""
    if not _server:
        ours, others = socket.socketpair(type=socket.SOCK_SEQPACKET)
        command = [sys.executable, __file__, str(others.fileno())]
        server = subprocess.Popen(command, pass_fds=[others.fileno()])
        others.close()
        _server.append(ours)
        atexit.register(_end, ours, server)
    return _server[0]


def _end(requests, server):
    requests.close()
    server.wait()


# ---- The server ----------------------------------------------------------------------------------


def _serve(requests):
    for name in PRELOADED:
        importlib.import_module(name)
    # A process at its end would look through all of it, and so copy it.
    gc.freeze()
    while True:
        request, fds, _, _ = socket.recv_fds(requests, 1 << 20, 3)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            _start(json.loads(request), *fds)
            return
        for fd in fds:
            os.close(fd)
        _reap()


def _reap():
    """Forget those that have ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def _start(request, reply, stdout, stderr):
    """Fork the process; the one in between says what becomes of it."""
    pid = os.fork()
    if pid == 0:
        os.close(reply)
        _become(stdout, stderr, **request)
        return
    for fd in (stdout, stderr):
        os.close(fd)
    os.write(reply, str(pid).encode())
    _, status = os.waitpid(pid, 0)
    os.write(reply, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(stdout, stderr, arguments, env, cwd):
    """Be what `python *arguments` would be."""
    # Who starts tests in the background may have it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    unbuffered = bool(env.get("PYTHONUNBUFFERED"))
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), write_through=unbuffered
    )
    sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    multiprocessing.process.ORIGINAL_DIR = cwd
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    if arguments[0] == "-c":
        name, code, folder = "<string>", arguments[1], ""
        sys.argv = ["-c", *arguments[2:]]
    else:
        name, folder = arguments[0], os.path.dirname(os.path.abspath(arguments[0]))
        with open(name, encoding="utf-8") as file:
            code = file.read()
        sys.argv = arguments
        main.__file__ = name
    paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[0] = folder
    sys.path[1:1] = [path for path in paths if path not in sys.path]
    exec(compile(code, name, "exec"), main.__dict__)


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
