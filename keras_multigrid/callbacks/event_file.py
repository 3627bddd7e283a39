"""Files of TensorBoard, by TensorBoard's own writers."""

import io
import os
import socket
import time
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_multigrid import files

# Of a remote file, at which the next one begins.
_LARGE = 1 << 20


class EventFile:
    """Writes scalars, pictures and texts that TensorBoard shows.

    Args:
        log_dir: folder, local or remote, made if missing.
        start_step: step that the run begins at. Where it goes on, TensorBoard hides what earlier
            files hold of later steps.

    Example:

    >>> events = EventFile("logs", start_step=0)
    >>> events.scalar("loss", 0.5, step=10)
    >>> events.close()
    """

    def __init__(self, log_dir: str, *, start_step: int):
        is_remote = files.is_remote(log_dir)
        self._writer = _RemoteWriter(log_dir) if is_remote else EventFileWriter(log_dir)
        if start_step:
            restart = SessionLog(status=SessionLog.START)
            event = Event(wall_time=time.time(), step=start_step, session_log=restart)
            self._writer.add_event(event)

    def scalar(self, name: str, value: float, *, step: int) -> None:
        self._add(step, tag=name, simple_value=value)

    def picture(self, name: str, pixels: Any, *, step: int) -> None:
        """A picture, uint8 (height, width, 3)."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="png")
        height, width, colours = pixels.shape
        image = Summary.Image(
            height=height, width=width, colorspace=colours, encoded_image_string=file.getvalue()
        )
        self._add(step, tag=name, image=image)

    def text(self, name: str, text: str, *, step: int) -> None:
        """A text, which TensorBoard takes for Markdown."""
        plugin = SummaryMetadata.PluginData(plugin_name="text")
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._add(step, tag=name, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))

    def flush(self) -> None:
        """Wait until everything is in the file."""
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()

    def _add(self, step: int, **value) -> None:
        summary = Summary(value=[Summary.Value(**value)])
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


class _RemoteWriter:
    """Writes like TensorBoard's `EventFileWriter`, which hangs on s3://.

    Nothing can be appended to an object: each flush writes the file whole. So that this stays
    cheap, a new file follows one that is large; TensorBoard reads all of a folder.
    """

    def __init__(self, log_dir: str):
        self._start = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        self._log_dir = log_dir
        self._number = 0
        self._begin_file()
        self.flush()

    def add_event(self, event: Event) -> None:
        self._records.write(event.SerializeToString())
        self._is_written = False

    def flush(self) -> None:
        if self._is_written:
            return
        name = f"{self._start}.{os.getpid()}.{self._number:06d}"
        files.write(os.path.join(self._log_dir, name), self._content.getvalue())
        self._is_written = True
        if self._content.tell() >= _LARGE:
            self._number += 1
            self._begin_file()

    def close(self) -> None:
        self.flush()

    def _begin_file(self) -> None:
        self._content = io.BytesIO()
        self._records = RecordWriter(self._content)
        self.add_event(Event(wall_time=time.time(), file_version="brain.Event:2"))
