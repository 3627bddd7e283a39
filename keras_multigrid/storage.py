"""Files of a run, on a local disk or a remote file system: whole or not at all."""

import contextlib
import os


class StorageError(OSError):
    """A file cannot be read or written."""


def is_remote(path: str) -> bool:
    """Whether a path names a file system of TensorFlow's, such as s3://."""
    return "://" in path


def check_scheme(path: str) -> None:
    """Refuse a path whose file system is not there.

    Raises:
        ValueError: with what to install.
    """
    if not is_remote(path):
        return
    with contextlib.suppress(ImportError):
        # It adds its file systems when it is imported.
        import tensorflow_io  # noqa: F401
    import tensorflow as tf

    scheme = path.split("://")[0]
    schemes = tf.io.gfile.get_registered_schemes()
    if scheme not in schemes:
        raise ValueError(
            f"TensorFlow {tf.__version__} has no file system for {scheme}:// here. Received: "
            f"{path!r}. It has: {', '.join(sorted(filter(None, schemes)))}. s3, http and others "
            "come with tensorflow-io 0.37.1, which works with TensorFlow up to 2.17: "
            "pip install -c constraints.txt '.[cpu,io]'."
        )


def write(path: str, content: bytes | str) -> None:
    """Write a file whole, or leave the one before it.

    A local file is written under another name and renamed; remote ones appear when they are whole.

    Raises:
        StorageError: if it cannot be written.
    """
    content = content.encode() if isinstance(content, str) else content
    with _told(path, "write"):
        if is_remote(path):
            _write_remote(path, content)
        else:
            _write_local(path, content)


def read(path: str) -> bytes | None:
    """The content of a file; None if there is none.

    Raises:
        StorageError: if it cannot be read, as where a remote file system does not answer.
    """
    with _told(path, "read"):
        if is_remote(path):
            return _read_remote(path)
        try:
            with open(path, "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


def holds(folder: str, prefix: str) -> bool:
    """Whether a folder has a file whose name begins so."""
    if is_remote(folder):
        import tensorflow as tf

        try:
            names = tf.io.gfile.listdir(folder)
        except tf.errors.NotFoundError:
            return False
        return any(name.startswith(prefix) for name in names)
    if not os.path.isdir(folder):
        return False
    return any(name.startswith(prefix) for name in os.listdir(folder))


def remove(path: str) -> None:
    """Delete a file, if it is there and can be deleted."""
    with contextlib.suppress(StorageError), _told(path, "delete"):
        if not is_remote(path):
            os.remove(path)
            return
        import tensorflow as tf

        tf.io.gfile.remove(path)


def _write_local(path: str, content: bytes) -> None:
    unfinished = f"{path}.unfinished"
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    try:
        with open(unfinished, "wb") as file:
            file.write(content)
            file.flush()
            # A machine may lose its power, too.
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            os.remove(unfinished)
        raise
    os.replace(unfinished, path)


def _read_remote(path: str) -> bytes | None:
    content = _read_remote_once(path)
    if content is None:
        # tensorflow-io says the same of a server that does not answer; writing tells them apart.
        probe = os.path.join(os.path.dirname(path), "probe")
        _write_remote(probe, b"")
        remove(probe)
        content = _read_remote_once(path)
    return content


def _read_remote_once(path: str) -> bytes | None:
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.NotFoundError:
        return None


def _write_remote(path: str, content: bytes) -> None:
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(content)


@contextlib.contextmanager
def _told(path: str, action: str):
    """Errors of the file system in our words, with the path."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"Cannot {action} {path}: {error.strerror or error}.") from error
    except Exception as error:
        if not is_remote(path):
            raise
        # TensorFlow's errors are its own.
        reason = getattr(error, "message", None) or error
        raise StorageError(f"Cannot {action} {path}: {reason}.") from error
