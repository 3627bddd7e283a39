"""Files of TensorBoard, in its own records."""

import io
import itertools
import os
import socket
import time
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_multigrid import files

# Of a remote file, at which the next one begins.
_LARGE = 1 << 20
_files = itertools.count()


class EventFile:
    """Writes scalars, pictures and texts that TensorBoard shows.

    Nothing can be appended to a remote file: each flush writes it whole. So that this stays cheap,
    a new file follows one that is large; TensorBoard reads all of a folder.

    Args:
        log_dir: folder, local or remote, made if missing.
        start_step: step that the run begins at. If it resumes there, TensorBoard hides what
            earlier files hold of later steps.

    Raises:
        StorageError: here and when writing, if a remote folder cannot be written.

    Example:

    >>> events = EventFile("logs", start_step=0)
    >>> events.scalar("loss", 0.5, step=10)
    >>> events.close()
    """

    def __init__(self, log_dir: str, *, start_step: int):
        start = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        # Two runs of one process may begin in one second.
        self._start = os.path.join(log_dir, f"{start}.{os.getpid()}.{next(_files)}")
        self._is_remote = files.is_remote(log_dir)
        self._number = 0
        if not self._is_remote:
            os.makedirs(log_dir, exist_ok=True)
        self._begin_file()
        if start_step:
            restart = SessionLog(status=SessionLog.START)
            self._add(Event(step=start_step, session_log=restart))
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
        """A text, which TensorBoard takes for Markdown."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        metadata = SummaryMetadata(plugin_data=plugin)
        self._add_value(step, tag=name, tensor=tensor, metadata=metadata)

    def flush(self) -> None:
        """Wait until everything is in the file."""
        if not self._is_remote:
            self._file.flush()
        elif not self._is_written:
            files.write(self._path, self._file.getvalue())
            self._is_written = True
            if self._file.tell() >= _LARGE:
                self._number += 1
                self._begin_file()

    def close(self) -> None:
        self.flush()
        self._file.close()

    def _begin_file(self) -> None:
        self._path = f"{self._start}.{self._number:06d}"
        self._file = io.BytesIO() if self._is_remote else open(self._path, "wb")  # noqa: SIM115
        self._records = RecordWriter(self._file)
        self._add(Event(file_version="brain.Event:2"))

    def _add_value(self, step: int, **value) -> None:
        self._add(Event(step=step, summary=Summary(value=[Summary.Value(**value)])))

    def _add(self, event: Event) -> None:
        event.wall_time = time.time()
        self._records.write(event.SerializeToString())
        self._is_written = False
