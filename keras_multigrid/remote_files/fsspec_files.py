"""fsspec's file systems: s3:// by s3fs, http:// by aiohttp, and what else is installed.

They do their work in a thread of fsspec's own, for all other threads of a process, and begin anew
in a process that is forked. Listings are never kept, so that new files are seen.
"""

import datetime
import functools
import os
import re
import urllib.parse
from collections.abc import Iterator
from typing import Any, NamedTuple

from keras_multigrid.machine_faults import is_machine_fault
from keras_multigrid.remote_files.addresses import is_web, scheme
from keras_multigrid.remote_files.file_system import (
    Fault,
    FileSystem,
    Listed,
    Status,
    set_client_defaults,
)

# More than the threads that read at once.
_CONNECTIONS = 64
# Answers of a server that it may not give again: time-outs, conflicts, too many requests.
_PASSING = (408, 409, 425, 429)
# By name, as not all libraries below fsspec are installed: errors of connections, not answers.
_CONNECTION_ERRORS = frozenset(
    (
        # The standard library and requests; aiohttp; botocore.
        *("ConnectionError", "Timeout", "TimeoutError", "IncompleteRead"),
        *("ClientConnectionError", "ClientPayloadError"),
        *("HTTPClientError", "ResponseParserError"),
        # httpx and Google's; Azure's; paramiko.
        *("TransportError", "ServiceRequestError", "ServiceResponseError", "SSHException"),
        # Of the servers that give credentials to botocore.
        *("CredentialRetrievalError", "MetadataRetrievalError", "TokenRetrievalError"),
    )
)
# What S3 servers say, and botocore, of credentials that are refused for every file.
_LOCKED_OUT = frozenset(
    (
        *("ExpiredToken", "InvalidAccessKeyId", "InvalidToken", "RequestTimeTooSkewed"),
        *("SignatureDoesNotMatch", "TokenRefreshRequired"),
        *("NoCredentialsError", "PartialCredentialsError", "SSOTokenLoadError"),
        *("UnauthorizedSSOTokenError", "RefreshWithMFAUnsupportedError"),
    )
)
# What file systems call the time of the last change.
_MODIFIED = ("LastModified", "last_modified", "updated", "mtime", "modified")
# All that an address may hold, percent signs included: only blanks and the like are encoded.
_IN_ADDRESSES = "!#$%&'()*+,/:;=?@[]~"


def why_not(path: str) -> str | None:
    """Why fsspec has no file system for a path; None if it has one."""
    try:
        import fsspec

        fsspec.get_filesystem_class(scheme(path))
    except (ImportError, ValueError) as error:
        return str(error).strip(" .")
    return None


class FsspecFiles(FileSystem):
    """The files of every scheme that fsspec knows."""

    def read(self, path):
        if is_web(path):
            return _fetched(path)
        return _opened(path).files.cat_file(path)

    def read_range(self, path, *, offset, length):
        if length == 0:
            # Servers take an empty range for no range.
            return b""
        end = None if length < 0 else offset + length
        if is_web(path):
            return _fetched(path, offset, end)
        try:
            return _opened(path).files.cat_file(path, start=offset, end=end)
        except Exception as error:
            if 416 in map(_http_status, _causes(error)):
                # It begins where the file ends.
                return b""
            raise

    def status(self, path):
        found = _opened(path).files.info(_encoded(path) if is_web(path) else path)
        is_folder = found["type"] == "directory"
        size = 0 if is_folder else found["size"] or 0
        return Status(size=size, modified=_modified(found), is_folder=is_folder)

    def listed(self, folder):
        store = _opened(folder)
        entries = store.files.ls(folder, detail=True)
        own = store.start + folder.removeprefix(store.place).rstrip("/")
        # Object stores keep an empty folder as a file of its name, with a slash at its end.
        others = [entry for entry in entries if entry["name"].rstrip("/") != own]
        if not others and any(entry["name"] == own for entry in entries):
            raise NotADirectoryError("it is a file")
        return [
            Listed(entry["name"].rstrip("/").rpartition("/")[2], entry["type"] == "directory")
            for entry in others
        ]

    def write(self, path, content):
        _writable(path).pipe_file(path, content)

    def upload(self, file, path):
        _writable(path).put_file(file, path)

    def remove(self, path):
        _writable(path).rm_file(path)

    def fault(self, error):
        if isinstance(error, MemoryError):
            return None
        for cause in _causes(error):
            status, names = _http_status(cause), _names(cause)
            if names & _LOCKED_OUT:
                return Fault.LOCKED_OUT, _reason(cause)
            if names & _CONNECTION_ERRORS or status in _PASSING or (status or 0) >= 500:
                return Fault.AWAY, _reason(cause)
            if status in (404, 410):
                return Fault.MISSING, "There is no such bucket" if "NoSuchBucket" in names else ""
            if status is not None:
                return Fault.REFUSED, _reason(cause)
        if isinstance(error, FileNotFoundError):
            return Fault.MISSING, ""
        return Fault.AWAY if is_machine_fault(error) else Fault.REFUSED, _reason(error)


class _Store(NamedTuple):
    """fsspec's file system for all paths that begin with `place`, where its names have `start`."""

    files: Any
    place: str
    start: str


def _opened(path: str) -> _Store:
    store = _store(os.getpid(), "/".join(path.split("/")[:3]))
    store.files.invalidate_cache()
    return store


@functools.lru_cache(maxsize=256)
def _store(process: int, place: str) -> _Store:
    """The store of a place, for a process: a forked one has its own connections."""
    import fsspec

    if "::" in place:
        raise ValueError("`::`, one file system inside of another, is not supported")
    set_client_defaults()
    is_s3 = scheme(place) in ("s3", "s3a")
    settings = _s3_settings() if is_s3 else _web_settings() if is_web(place) else {}
    # Of the place alone: in the name of a file, `::` may stand for itself.
    files, start = fsspec.url_to_fs(place, **settings)
    if is_s3:
        # Of whole answers, where those of botocore are of requests.
        files.retries = int(os.environ["AWS_MAX_ATTEMPTS"])
    if getattr(files, "async_impl", False):
        files.loop.call_soon_threadsafe(files.loop.set_exception_handler, _unretrieved)
    return _Store(files, place, start)


def _unretrieved(loop: Any, context: dict[str, Any]) -> None:
    """Of a connection that breaks, the call that used it tells; aiohttp would tell once more."""
    if not _names(context.get("exception")) & _CONNECTION_ERRORS:
        loop.default_exception_handler(context)


def _web_settings() -> dict[str, Any]:
    import aiohttp

    return {
        "client_kwargs": {
            "timeout": aiohttp.ClientTimeout(
                total=None, sock_connect=_seconds("CONNECT"), sock_read=_seconds("REQUEST")
            ),
            # Ranges are of the file's own bytes.
            "headers": {"Accept-Encoding": "identity"},
            # Proxies.
            "trust_env": True,
        },
        # A signed address is used as it is.
        "encoded": True,
        "use_listings_cache": False,
    }


def _s3_settings() -> dict[str, Any]:
    """For s3fs: the environment variables of TensorFlow's S3 client that botocore does not know."""
    variables = os.environ
    uses_https = not variables.get("S3_USE_HTTPS", "1").startswith("0")
    settings: dict[str, Any] = {
        "use_ssl": uses_https,
        "use_listings_cache": False,
        # Readers are many already, and each part of a large file takes memory.
        "max_concurrency": 1,
        "config_kwargs": {
            "connect_timeout": _seconds("CONNECT"),
            "read_timeout": _seconds("REQUEST"),
            "max_pool_connections": _CONNECTIONS,
        },
        "client_kwargs": {},
    }
    endpoint = variables.get("S3_ENDPOINT")
    if endpoint:
        start = "https://" if uses_https else "http://"
        settings["endpoint_url"] = endpoint if "://" in endpoint else start + endpoint
        # Few servers other than Amazon's have a host name for each bucket.
        settings["config_kwargs"]["s3"] = {"addressing_style": "path"}
    region = variables.get("AWS_REGION") or variables.get("S3_REGION")
    if region:
        settings["client_kwargs"]["region_name"] = region
    authorities = variables.get("S3_CA_FILE") or variables.get("S3_CA_PATH")
    if variables.get("S3_VERIFY_SSL", "1").startswith("0"):
        settings["client_kwargs"]["verify"] = False
    elif authorities:
        settings["client_kwargs"]["verify"] = authorities
    return settings


def _seconds(name: str) -> float:
    return int(os.environ[f"S3_{name}_TIMEOUT_MSEC"]) / 1000


def _writable(path: str) -> Any:
    if is_web(path):
        raise NotImplementedError("web servers take no files; use s3:// or another store")
    return _opened(path).files


# ---- Web servers ---------------------------------------------------------------------------------


class NoRangesError(Exception):
    """A web server has sent a whole file where a part of it was asked for."""


class WrongRangeError(ConnectionError):
    """A web server has sent another part of a file than it was asked for, or not all of it."""


def _fetched(path: str, start: int | None = None, end: int | None = None) -> bytes:
    """A file, or its bytes from `start` to `end`."""
    from fsspec.asyn import sync

    files = _opened(path).files
    return sync(files.loop, _fetch, files, _encoded(path), start, end)


async def _fetch(files: Any, address: str, start: int | None, end: int | None) -> bytes:
    """In the thread of fsspec's. fsspec itself takes a short whole file for the part."""
    headers = {}
    if start is not None:
        headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
    session = await files.set_session()
    async with session.get(files.encode_url(address), headers=headers) as answer:
        if answer.status == 416:
            return b""
        answer.raise_for_status()
        if start is None:
            return await answer.read()
        if answer.status == 206:
            return _checked(await answer.read(), answer.headers.get("Content-Range"), start, end)
        if start > 0:
            raise NoRangesError("the server sends no ranges of files, which large ones need")
        return await answer.content.read() if end is None else await _first(answer, end)


def _checked(content: bytes, given: str | None, start: int, end: int | None) -> bytes:
    """The content of a range from `start` to `end`, which begins and ends as it must.

    Args:
        given: the header "bytes 0-99/1000", which servers should send; the size may be "*".
    """
    found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", given or "")
    if found is None:
        return content
    first, last, size = found.groups()
    expected = int(last) + 1 if end is None else end
    if size != "*":
        expected = int(size) if end is None else min(end, int(size))
    if int(first) != start or int(last) + 1 != expected or len(content) != expected - start:
        raise WrongRangeError(
            f"the server sent {len(content)} bytes as {given!r} for those from {start} to {end}"
        )
    return content


def _encoded(path: str) -> str:
    return urllib.parse.quote(path, safe=_IN_ADDRESSES)


async def _first(answer: Any, count: int) -> bytes:
    parts, missing = [], count
    while missing and (part := await answer.content.read(missing)):
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


# ---- Errors and times ----------------------------------------------------------------------------


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that it stands for: fsspec takes any of a web server's for 404."""
    while error is not None:
        yield error
        error = error.__cause__


def _names(error: object) -> set[str]:
    """Names of the classes of an error, and the code of S3 for it."""
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return {kind.__name__ for kind in type(error).__mro__} | {str(code)}


def _http_status(error: BaseException) -> int | None:
    """The status of a server's answer, where libraries keep it."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    # One after the other: some libraries warn of their earlier names.
    for place in (error, response):
        for name in ("status", "status_code", "code"):
            status = getattr(place, name, None)
            if isinstance(status, int):
                return status
    return None


def _reason(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    line = text.strip().partition("\n")[0].strip(" :.")
    return line or type(error).__name__


def _modified(found: dict[str, Any]) -> int:
    """Nanoseconds from 1970 to the last change, as far as they are known."""
    time = next((found[name] for name in _MODIFIED if found.get(name)), 0)
    if isinstance(time, str):
        try:
            time = datetime.datetime.fromisoformat(time)
        except ValueError:
            return 0
    if isinstance(time, datetime.datetime):
        time = time.timestamp()
    return round(1e9 * time) if isinstance(time, (int, float)) else 0
