"""What the header of an encoded picture says: its size, and how it is turned and mirrored."""

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

# Number of the EXIF entry for the orientation, and what makes a picture of each upright.
_ENTRY = 0x0112
_UPRIGHT = {
    1: lambda image: image,
    2: lambda image: image[:, ::-1],
    3: lambda image: image[::-1, ::-1],
    4: lambda image: image[::-1],
    5: lambda image: image.swapaxes(0, 1),
    6: lambda image: image[::-1].swapaxes(0, 1),
    7: lambda image: image[::-1, ::-1].swapaxes(0, 1),
    8: lambda image: image[:, ::-1].swapaxes(0, 1),
}
# Chunks of a PNG that may hold EXIF.
_PNG_EXIF = frozenset({b"eXIf", b"tEXt", b"zTXt"})
# A side of pictures that Pillow finds too large to tell their size.
_HUGE = 1 << 16
# Segments of a JPEG that hold its size: SOF0 to SOF15, without DHT, JPG and DAC among them.
_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class PictureHeader(NamedTuple):
    """The header of a picture.

    Args:
        height, width: pixels, as it is stored.
        orientation: 1 (upright) to 8, as in EXIF. TIFFs are turned by OpenCV: always 1.
        is_animated: a PNG or WebP holds several pictures.
    """

    height: int
    width: int
    orientation: int = 1
    is_animated: bool = False

    @classmethod
    def of(cls, content: bytes) -> "PictureHeader | None":
        """Read from a file's content; None if it is no picture, or cut off."""
        height, width, has_exif, is_animated = 0, 0, False, False
        if content[:2] == b"\xff\xd8":
            height, width, has_exif = _jpeg(content)
        elif content[:4] == b"\x89PNG":
            chunks = _png_chunks(content)
            if chunks is None:
                return None
            height, width = (int.from_bytes(content[at : at + 4], "big") for at in (20, 16))
            has_exif, is_animated = not chunks.isdisjoint(_PNG_EXIF), b"acTL" in chunks
        elif content[8:12] == b"WEBP":
            has_exif = True
            is_animated = (
                content[12:16] == b"VP8X" and content[20:21] > b"" and bool(content[20] & 2)
            )
        if height and width and not has_exif:
            return cls(height, width, 1, is_animated)
        try:
            with Image.open(io.BytesIO(content)) as image:
                width, height = image.size
                return cls(height, width, _orientation(image) if has_exif else 1, is_animated)
        except Image.DecompressionBombError:
            return cls(_HUGE, _HUGE)
        except Exception:
            # Of damaged files Pillow raises any error.
            return None

    def upright(self, image: np.ndarray) -> np.ndarray:
        """The decoded picture, (height, width, channels), as it is meant to be seen."""
        if self.orientation == 1:
            return image
        return np.ascontiguousarray(_UPRIGHT[self.orientation](image))


def _jpeg(content: bytes) -> tuple[int, int, bool]:
    """Height, width, and whether there is EXIF; 0 for a size that is not found."""
    start, has_exif = 2, False
    while content[start : start + 1] == b"\xff" and start + 9 < len(content):
        marker = content[start + 1]
        if marker in _SIZES:
            height, width = (content[at] << 8 | content[at + 1] for at in (start + 5, start + 7))
            return height, width, has_exif
        if marker == 0xE1 and content[start + 4 : start + 10] == b"Exif\0\0":
            has_exif = True
        start += 2 + (content[start + 2] << 8 | content[start + 3])
    return 0, 0, has_exif


def _png_chunks(content: bytes) -> set[bytes] | None:
    """Kinds of the chunks; None if one is cut off, or none has pixels.

    OpenCV would take memory for the length that the chunk states. Without pixels it reads on behind
    the end of the picture.
    """
    start, kinds = 8, set()
    while start < len(content):
        length, kind = (
            int.from_bytes(content[start : start + 4], "big"),
            content[start + 4 : start + 8],
        )
        start += length + 12
        if start > len(content):
            return None
        kinds.add(kind)
        if kind == b"IEND":
            break
    return kinds if b"IDAT" in kinds else None


def _orientation(image: Image.Image) -> int:
    try:
        number = image.getexif().get(_ENTRY, 1)
    except Exception:
        return 1
    return number if number in _UPRIGHT else 1
