"""Files of TensorBoard, by TensorBoard's own writer."""

import io
import time
from typing import Any

from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.summary.writer.event_file_writer import EventFileWriter


class EventFile:
    """Writes scalars, pictures and texts that TensorBoard shows.

    Args:
        log_dir: folder, made if missing.
        start_step: step that the run begins at. Where it goes on, TensorBoard hides what earlier
            files hold of later steps.

    Example:

    >>> events = EventFile("logs", start_step=0)
    >>> events.scalar("loss", 0.5, step=10)
    >>> events.close()
    """

    def __init__(self, log_dir: str, *, start_step: int):
        self._writer = EventFileWriter(log_dir)
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
