"""How pictures of cameras are turned and mirrored, by their EXIF."""

import io

import numpy as np
from PIL import Image

# Number of the entry for the orientation, and what makes a picture of each upright.
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
# Of a JPEG, before the picture itself: APP0 to APP15, and comments.
_SEGMENTS = {bytes([marker]) for marker in (*range(0xE0, 0xF0), 0xFE)}


def upright(image: np.ndarray, content: bytes) -> np.ndarray:
    """A decoded picture, (height, width, channels), as it is meant to be seen.

    Args:
        image: the picture as it is stored.
        content: the file that it was decoded from.
    """
    number = orientation(content)
    return image if number == 1 else np.ascontiguousarray(_UPRIGHT[number](image))


def orientation(content: bytes) -> int:
    """The orientation of a JPEG, PNG or WebP, from 1 (upright) to 8; 1 where there is none.

    OpenCV turns TIFFs itself.
    """
    if not _has_exif(content):
        return 1
    try:
        with Image.open(io.BytesIO(content)) as image:
            number = image.getexif().get(_ENTRY, 1)
    except Exception:
        # What Pillow raises of damaged EXIF is any error.
        return 1
    return number if number in _UPRIGHT else 1


def _has_exif(content: bytes) -> bool:
    if content[:4] == b"\x89PNG":
        return b"eXIf" in content or b"Raw profile type exif" in content
    if content[8:16] == b"WEBPVP8X":
        return bool(content[20:21]) and bool(content[20] & 8)
    start = 2
    while content[start : start + 1] == b"\xff" and content[start + 1 : start + 2] in _SEGMENTS:
        if content[start + 4 : start + 10] == b"Exif\0\0":
            return True
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return False
