"""Remote addresses: their parts, and texts without their secrets."""

import hashlib
import os
import re

from absl import logging

# An address, and what of it may be secret. Passwords may hold a slash, ports are numbers. What
# stands between apostrophes may hold one itself, in front of a letter.
_ADDRESS = re.compile(
    r"""(?P<scheme>\b[A-Za-z][\w+.-]*://)(?:[^\s/'"@:?#]*(?::(?!\d*/)(?:[^\s'"@]|'(?=\w))*)?@)*"""
    r"""(?P<place>(?:[^\s'"?]|'(?=\w))*)"""
    r"""(?P<query>\?(?!hidden-[\da-f]{8}(?![\w=]))(?:[^\s'"]|'(?=\w))*[^\s'":;,.)])?"""
)
# What is secret wherever it stands: an address with a blank in it is not known to go on behind it.
_SECRET = re.compile(
    r"""([?&;](?:x-(?:amz|goog)-[\w-]+|sig(?:nature)?|(?:\w+_)?token|(?:\w+_)?key|password|secret)=)"""
    r"""[^\s&'"]+""",
    re.IGNORECASE,
)


def is_remote(path: str) -> bool:
    """Whether a path has a scheme, such as s3://."""
    return "://" in os.fspath(path)


def scheme(path: str) -> str:
    """The part of a remote path before `://`, such as "s3"."""
    return path.split("://")[0]


def redacted(text: str) -> str:
    """A text without the secrets of the addresses in it: for logs, lists and saved settings.

    User names and passwords go, and the query of a signed address gives way to a short digest of
    it, by which addresses can still be told apart.

    Example:

    >>> redacted("Cannot read https://me:word@host/1.mp4?X-Amz-Signature=3f2a: denied.")
    'Cannot read https://host/1.mp4?hidden-0a828c54: denied.'
    """
    return _SECRET.sub(r"\1hidden", _ADDRESS.sub(_without_secrets, text))


def _without_secrets(address: re.Match) -> str:
    query = address["query"]
    # For other file systems than web servers a question mark is part of a name.
    if query and (is_web(address["scheme"]) or re.match(r"\?[^=?]+=", query)):
        query = f"?hidden-{hashlib.sha256(query.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return f"{address['scheme']}{address['place']}{query or ''}"


def _redact_record(record) -> bool:
    record.msg, record.args = redacted(record.getMessage()), None
    return True


# Whatever this package logs.
logging.get_absl_logger().addFilter(_redact_record)


def is_web(path: str) -> bool:
    """Whether a remote path is on a web server, which has no folders."""
    return scheme(path) in ("http", "https")


def as_folder(path: str) -> str:
    """A remote path with a slash at its end."""
    return path.rstrip("/") + "/"
