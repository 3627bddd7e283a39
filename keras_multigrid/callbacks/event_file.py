"""Files of TensorBoard, in its own records."""

import contextlib
import errno
import io
import itertools
import os
import socket
import time
from typing import Any

from absl import logging
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_multigrid import files

# Bytes of a remote file at which the next begins; and of what cannot be written, until it is lost.
_LARGE = 1 << 20
_MOST_KEPT = 1 << 24
_files = itertools.count()


class EventFile:
    """Writes scalars, pictures and texts that TensorBoard shows.

    Nothing can be appended to a remote file: each flush writes it whole. So that this stays cheap,
    a new file follows one that is large; TensorBoard reads all of a folder.

    Training must not end for a log: what cannot be written, because the disk is full for example,
    is kept for the next flush, up to some megabytes, with one warning.

    Args:
        log_dir: folder, local or remote, made if missing.
        start_step: step that the run begins or resumes at. TensorBoard hides what earlier files
            hold of it and of later steps.

    Raises:
        StorageError: here, if the folder cannot be written for another reason than a full disk;
            and when writing, if a remote file system does not answer.

    Example:

    >>> events = EventFile("logs", start_step=0)
    >>> events.scalar("loss", 0.5, step=10)
    >>> events.close()
    """

    def __init__(self, log_dir: str, *, start_step: int):
        log_dir = files.expanded(log_dir)
        start = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        # Two runs of one process may begin in one second.
        self._start = os.path.join(log_dir, f"{start}.{os.getpid()}.{next(_files)}")
        self._is_remote = files.is_remote(log_dir)
        self._number = 0
        self._has_warned = False
        self._begin_file()
        restart = SessionLog(status=SessionLog.START)
        self._add(Event(step=start_step, session_log=restart))
        if not self._is_remote:
            with files.storage_errors(log_dir, "write to"), _full_disk_ignored():
                os.makedirs(log_dir, exist_ok=True)
                open(self._path, "ab").close()
        self.flush()

    def scalar(self, name: str, value: float, *, step: int) -> None:
        self._add_value(step, tag=name, simple_value=value)

    def picture(self, name: str, pixels: Any, *, step: int) -> None:
        """A picture, uint8 (height, width, 3)."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="png")
        height, width, colours = pixels.shape
        image = Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=file.getvalue()
        )
        self._add_value(step, tag=name, image=image)

    def text(self, name: str, text: str, *, step: int) -> None:
        """A text, which TensorBoard takes for Markdown; without the secrets of addresses."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(dtype=DT_STRING, string_val=[files.redacted(text).encode()])
        metadata = SummaryMetadata(plugin_data=plugin)
        self._add_value(step, tag=name, tensor=tensor, metadata=metadata)

    def flush(self) -> None:
        """Wait until everything is in the file, or as much as there is room for."""
        if self._is_written:
            return
        try:
            self._write()
        except files.StorageUnavailableError:
            raise
        except OSError as error:
            if not self._has_warned:
                self._has_warned = True
                logging.warning("TensorBoard lacks what cannot be written now: %s", error)
            if self._kept.tell() > _MOST_KEPT:
                self._begin_file()

    def close(self) -> None:
        self.flush()

    def _write(self) -> None:
        content = self._kept.getvalue()
        if self._is_remote:
            files.write(self._path, content)
        else:
            _append(self._path, content, at=self._size)
            self._size += len(content)
            self._keep_from_here()
        self._is_written = True
        if self._is_remote and len(content) >= _LARGE:
            self._begin_file()

    def _begin_file(self) -> None:
        self._path = f"{self._start}.{self._number:06d}"
        self._number += 1
        self._size = 0
        self._keep_from_here()
        self._add(Event(file_version="brain.Event:2"))

    def _keep_from_here(self) -> None:
        self._kept = io.BytesIO()
        self._records = RecordWriter(self._kept)

    def _add_value(self, step: int, **value) -> None:
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(**value)])))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._is_written = False


def _append(path: str, content: bytes, at: int) -> None:
    """Write into a local file from a position on; behind it there may be half a record."""
    with files.storage_errors(path, "write"), open(path, "r+b" if at else "wb") as file:
        file.seek(at)
        file.truncate()
        file.write(content)


@contextlib.contextmanager
def _full_disk_ignored():
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
