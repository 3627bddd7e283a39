"""What happens to videos that cannot be read."""

import os
import threading

from absl import logging

from keras_multigrid import files, monitor


class TooManyBadVideosError(RuntimeError):
    """More clips had to be replaced than the share that is allowed."""


def printable(text: str) -> str:
    """A text with everything escaped that is not UTF-8: names of files may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


class BadVideos:
    """Counts the clips of unreadable videos and lists each file once with its error.

    Args:
        list_path: text file, local or remote, that gets a line `path<tab>error` for each file that
            no earlier run has listed there; None for no file.
        max_share: share of clips that may be replaced before the run stops.
        min_clips: number of clips from which on the share counts.

    Example:

    >>> bad_videos = BadVideos("runs/first/bad_videos.txt")
    >>> bad_videos.errors
    {}
    """

    def __init__(
        self, list_path: str | None = None, *, max_share: float = 0.05, min_clips: int = 200
    ):
        self.list_path = list_path
        self.max_share = max_share
        self.min_clips = min_clips
        # Path, without the secrets of an address, to reason.
        self.errors: dict[str, str] = {}
        self.replaced_clips = 0
        self.clips = 0
        content = None if list_path is None else files.read(list_path)
        lines = (content or b"").decode("utf-8", "surrogateescape").split("\n")
        self._listed = {line.split("\t")[0] for line in lines}
        self._lock = threading.Lock()

    def count_clips(self, count: int) -> None:
        """Count clips that were read."""
        with self._lock:
            self.clips += count

    def add(self, path: str, error: Exception) -> None:
        """Count a clip that could not be read.

        Raises:
            TooManyBadVideosError: if they are too many.
            StorageUnavailableError: if the machine is at fault, and not the video.
        """
        if files.is_machine_fault(error):
            raise files.StorageUnavailableError(f"Cannot read {path}: {error}") from error
        with self._lock:
            self.clips += 1
            self.replaced_clips += 1
            monitor.add_replaced_clip()
            # What is logged and listed.
            path = files.redacted(path)
            if path not in self.errors:
                self.errors[path] = files.redacted(printable(str(error)))
                logging.warning("Unreadable video: %s", self.errors[path])
                if self.list_path is not None and path not in self._listed:
                    self._append(f"{path}\t{' '.join(self.errors[path].split())}\n")
            if self.clips >= self.min_clips and self.replaced_clips > self.max_share * self.clips:
                raise TooManyBadVideosError(self._reason())

    def _append(self, line: str) -> None:
        line = line.encode("utf-8", "surrogateescape")
        if files.is_remote(self.list_path):
            # An object cannot be appended to.
            files.write(self.list_path, (files.read(self.list_path) or b"") + line)
            return
        os.makedirs(os.path.dirname(self.list_path) or ".", exist_ok=True)
        with open(self.list_path, "ab") as file:
            file.write(line)

    def _reason(self) -> str:
        first = next(iter(self.errors.values()))
        where = f" All are listed in {files.redacted(self.list_path)}." if self.list_path else ""
        return (
            f"{self.replaced_clips} of {self.clips} clips came from videos that cannot be read, "
            f"more than the share of {self.max_share:g} that is allowed. The first: {first}{where} "
            "Mend or remove these files, or allow more: runs.Data.max_bad_share."
        )
