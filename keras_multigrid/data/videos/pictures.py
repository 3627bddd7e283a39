"""Videos whose frames are pictures: in a folder, in a list, or anywhere else."""

import contextlib
import functools
import io
import os
import stat
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import cv2
import numpy as np
from PIL import Image

from keras_multigrid import files
from keras_multigrid.data.videos import limits
from keras_multigrid.data.videos.frame_names import frame_names, plainly_numbered
from keras_multigrid.data.videos.open_video import DecodeError, OpenVideo, in_order, reason
from keras_multigrid.data.videos.picture_header import PictureHeader

IMAGE_SUFFIXES = (
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip

# How many times smaller an image is decoded.
_FLAGS = {
    # OpenCV's versions turn other formats, and miss EXIF that does not come first.
    times: flag | cv2.IMREAD_IGNORE_ORIENTATION
    for times, flag in {
        1: cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }.items()
}
_NO_IMAGE = "it is cut off, or no image"
# The largest value of 12 bits, which most formats keep in 16.
_MOST_OF_12_BITS = 4095
# Bytes of a further read of a file.
_CHUNK = 1 << 20
# Pictures of a video that are looked at to tell 12 bits from 16.
_LOOKED_AT = 5


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
            if not files.is_remote(path):
                return _read_whole(path)
            with files.open_file(path) as file:
                return file.read()
        except OSError as error:
            # To read, unlike to open, does not name the file.
            if error.errno is not None:
                error.filename = path
            raise

    def name(self, index: int) -> str:
        return self._paths[index]


def _read_whole(path: str) -> bytes:
    """The content of a local file: a pipe would be waited for, a device has no end.

    By as few calls of the system as will do. In each, this thread may lose its turn to another one.
    """
    # Without O_NONBLOCK, to open a pipe would wait, too.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            why = "it is a folder, a pipe, a socket or a device, not a regular file"
        elif status.st_size > limits.read_bytes():
            why = f"it is larger than {limits.read_bytes():,} bytes"
        else:
            content = os.read(number, status.st_size or _CHUNK)
            # A read may bring less, and some file systems know no sizes.
            while len(content) != status.st_size and (more := os.read(number, _CHUNK)):
                content += more
            return content
    finally:
        os.close(number)
    raise DecodeError(f"Cannot decode the image '{path}': {why}.")


class Pictures(OpenVideo):
    """A video whose frames are pictures.

    JPEGs of twice, four or eight times the requested short side are decoded at a half, a quarter or
    an eighth of their size, which takes less time.

    Colours of 16 bits are scaled by their own depth, the same for all pictures of a video: 12 bits
    if none of five pictures, spread over it, has a value above 4,095.

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
        decoded, checked = {}, None
        for index in wanted:
            decoded[index] = self._read_image(index, reduction)
            if decoded[index].shape != checked:
                checked = decoded[index].shape
                limits.check_read(len(wanted), *checked[:2], self._path)
        if reduction > 1 and len({image.shape for image in decoded.values()}) > 1:
            # For an error that names their own sizes.
            decoded = {index: self._read_image(index, 1) for index in wanted}
        return in_order(decoded, indices, self._path)

    def frames(self) -> Iterator[tuple[np.ndarray, bytes | None]]:
        for index in range(self.num_frames):
            content = self._content(index)
            frame = self._in_8_bits(_decoded(content, 1, self._images.name(index)))
            yield frame, content if _is_plain_jpeg(content) else None

    def _reduction(self, short_side: int) -> int:
        """How many times smaller JPEGs can be decoded, and still have the shorter side."""
        content = self._content(0)
        header = PictureHeader.of(content)
        if header is None or not _is_jpeg(content):
            # Decoding raises the error.
            return 1
        times = min(header.height, header.width) // short_side
        return max(n for n in _FLAGS if n <= max(times, 1))

    def _read_image(self, index: int, reduction: int) -> np.ndarray:
        name = self._images.name(index)
        return self._in_8_bits(_decoded(self._content(index), reduction, name))

    def _content(self, index: int) -> bytes:
        try:
            return self._images[index]
        except OSError as error:
            if files.is_machine_fault(error):
                raise
            name = self._images.name(index)
            raise DecodeError(f"Cannot decode the image '{name}': {reason(error)}.") from error

    def _in_8_bits(self, image: np.ndarray) -> np.ndarray:
        if image.dtype == np.uint8:
            return image
        if not self._has_12_bits:
            return (image >> 8).astype(np.uint8)
        return (np.minimum(image, _MOST_OF_12_BITS) >> 4).astype(np.uint8)

    @functools.cached_property
    def _has_12_bits(self) -> bool:
        """Whether the values of 16-bit pictures are 12 bits, which few files say of themselves."""
        # Not of one picture alone: a video of 16 bits may have dark ones.
        for index in np.unique(np.linspace(0, self.num_frames - 1, _LOOKED_AT).round()).astype(int):
            # Whoever wants it gets to know what is wrong with it.
            with contextlib.suppress(DecodeError):
                image = _decoded(self._content(index), 1, self._images.name(index))
                if image.max() > _MOST_OF_12_BITS:
                    return False
        return True


def _decoded(content: bytes, reduction: int, name: str) -> np.ndarray:
    """A picture, upright: (height, width, 3), uint8 or for deeper ones uint16."""
    if not content:
        raise DecodeError(f"Cannot decode the image '{name}': it is empty.")
    header = PictureHeader.of(content)
    if header is None:
        raise DecodeError(f"Cannot decode the image '{name}': {_NO_IMAGE}.")
    # Before the pixels take their memory: a picture of some kilobytes may ask for gigabytes.
    limits.check_frame(header.height, header.width, name)
    if header.is_animated or _is_animated_gif(content):
        raise DecodeError(f"Cannot decode the image '{name}': it moves, so it is no frame.")
    is_jpeg = _is_jpeg(content)
    try:
        if content[:3] == b"GIF":
            image = _decoded_gif(content)
        else:
            image = cv2.imdecode(
                np.frombuffer(content, np.uint8), _FLAGS[reduction if is_jpeg else 1]
            )
    except cv2.error:
        image = None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise DecodeError(f"Cannot decode the image '{name}': {_NO_IMAGE}.")
    if is_jpeg and reduction > 1:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)
    elif reduction > 1:
        # Among JPEGs, which are rounded up.
        height, width = (-(-side // reduction) for side in image.shape[:2])
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    return header.upright(image)


def _is_jpeg(content: bytes) -> bool:
    return content[:2] == b"\xff\xd8"


def _decoded_gif(content: bytes) -> np.ndarray | None:
    # OpenCV may be built without GIF.
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB"))
    except Exception:
        # What Pillow raises of damaged files is any error.
        return None


def _is_animated_gif(content: bytes) -> bool:
    if content[:3] != b"GIF":
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.is_animated
    except Exception:
        return False


def _is_plain_jpeg(content: bytes) -> bool:
    """Whether all readers decode it to the same picture: a JPEG in RGB or gray, upright."""
    header = PictureHeader.of(content)
    if not _is_jpeg(content) or header is None or header.orientation != 1:
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.mode in ("RGB", "L")
    except Exception:
        return False


def listed_images(folder: str) -> list[str]:
    """Names of the images in a folder, whatever they are called, in no order."""
    return [name for name in files.list_folder(folder) if _is_image(name)]


def _is_image(name: str) -> bool:
    return name[0] != "." and name.lower().endswith(IMAGE_SUFFIXES)


def image_paths(folder: str) -> list[str]:
    """The images in a folder, in the order of their numbers: 2.jpg before 10.jpg.

    Raises:
        DecodeError: their names are those of several videos.
    """
    folder = folder.rstrip("/")
    names = files.list_folder(folder)
    # As a folder is listed for every clip, most are not looked through name by name.
    ordered = plainly_numbered(names) if names and _is_image(names[0]) else None
    if ordered is None:
        ordered = frame_names([name for name in names if _is_image(name)], folder)
    return [f"{folder}/{name}" for name in ordered]
