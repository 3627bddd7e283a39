"""Videos whose frames are pictures: in a folder, in a list, or anywhere else."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image

from keras_multigrid import files
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo, in_order, reason

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

# How many times smaller an image is decoded.
_FLAGS = {
    1: cv2.IMREAD_COLOR_RGB,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Number of the EXIF entry for the rotation of a picture.
_ORIENTATION = 0x0112


class Images(Protocol):
    """Encoded pictures, read on access."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> bytes: ...

    def name(self, index: int) -> str:
        """What errors call a picture."""


class ImageFiles:
    """Pictures in files.

    Args:
        paths: of the files, local or remote.
    """

    def __init__(self, paths: Sequence[str]):
        self._paths = paths

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> bytes:
        path = self._paths[index]
        try:
            with files.open_file(path) as file:
                return file.read()
        except OSError as error:
            # To read, unlike to open, does not name the file.
            error.filename = None if error.errno is None else path
            raise

    def name(self, index: int) -> str:
        return self._paths[index]


class Pictures(OpenVideo):
    """A video whose frames are pictures.

    JPEGs of twice, four or eight times the requested short side are decoded at a half, a quarter or
    an eighth of their size, which takes less time.

    Args:
        images: the pictures, in order.
        path: of the video, for errors.
        whole_label, frame_labels: same as for `OpenVideo`.
    """

    def __init__(self, images: Images, path: str, whole_label: Any = None, frame_labels=()):
        super().__init__(whole_label, frame_labels)
        self._images, self._path = images, path
        self.num_frames = len(images)

    def read(self, indices, short_side=None):
        reduction = 1 if short_side is None else self._reduction(short_side)
        wanted = sorted(set(indices.tolist()))
        decoded = {index: self._read_image(index, reduction) for index in wanted}
        if reduction > 1 and len({image.shape for image in decoded.values()}) > 1:
            # For an error that names their own sizes.
            decoded = {index: self._read_image(index, 1) for index in wanted}
        return in_order(decoded, indices, self._path)

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        for index in range(self.num_frames):
            content = self._images[index]
            frame = _decoded(content, 1, self._images.name(index))
            yield frame, content if _is_plain_jpeg(content) else None

    def _reduction(self, short_side: int) -> int:
        """How many times smaller JPEGs can be decoded, and still have the shorter side."""
        try:
            with Image.open(io.BytesIO(self._images[0])) as image:
                times = min(image.size) // short_side if image.format == "JPEG" else 1
        except (OSError, Image.DecompressionBombError) as error:
            if files.is_machine_fault(error):
                raise
            # Decoding raises the error.
            return 1
        return max(n for n in _FLAGS if n <= max(times, 1))

    def _read_image(self, index: int, reduction: int) -> np.ndarray:
        name = self._images.name(index)
        try:
            content = self._images[index]
        except OSError as error:
            if files.is_machine_fault(error):
                raise
            raise DecodeError(f"Cannot decode the image '{name}': {reason(error)}.") from error
        return _decoded(content, reduction, name)


def _decoded(content: bytes, reduction: int, name: str) -> np.ndarray:
    if not content:
        raise DecodeError(f"Cannot decode the image '{name}': it is empty.")
    is_jpeg = content[:2] == b"\xff\xd8"
    try:
        array = np.frombuffer(content, np.uint8)
        image = cv2.imdecode(array, _FLAGS[reduction if is_jpeg else 1])
    except cv2.error as error:
        raise DecodeError(f"Cannot decode the image '{name}': it is too large.") from error
    if image is None:
        raise DecodeError(f"Cannot decode the image '{name}': it is cut off, or no image.")
    if reduction == 1:
        return image
    if is_jpeg:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    # Among JPEGs, which are rounded up.
    height, width = (-(-side // reduction) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def _is_plain_jpeg(content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as image:
        is_upright = image.getexif().get(_ORIENTATION, 1) == 1
        return image.format == "JPEG" and image.mode in ("RGB", "L") and is_upright


def image_paths(folder: str) -> list[str]:
    """The images in a folder, in natural order: 2.jpg before 10.jpg."""
    folder = folder.rstrip("/")
    names = [name for name in files.list_folder(folder) if name[0] != "."]
    images = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
    return [f"{folder}/{name}" for name in sorted(images, key=_natural_order)]


def _natural_order(name: str) -> tuple[list[str | int], str]:
    # A split by digits alternates text and number, so that like meets like when lists compare.
    parts = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name
