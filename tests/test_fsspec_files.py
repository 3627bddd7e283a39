"""fsspec's files on real servers of this machine, asked directly: on every TensorFlow."""

import base64
import contextlib
import http.server
import os
import socket
import threading

import pytest
from remote_servers import web_server

from keras_multigrid import files
from keras_multigrid.data.videos.decode import read_video
from keras_multigrid.data.videos.video import VideoRecord
from keras_multigrid.remote_files import fsspec_files
from keras_multigrid.remote_files.file_system import Fault, Status

FILES = fsspec_files.FsspecFiles()


class _Told(http.server.BaseHTTPRequestHandler):
    """Answers /503 with that status, and anything else with what was asked for."""

    def do_GET(self):
        name = self.path[1:]
        content = f"{self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(int(name) if name.isdigit() else 200)
        # One that is cut says more than it sends.
        self.send_header("Content-Length", str(len(content) + (name == "cut")))
        self.end_headers()
        self.wfile.write(content)

    def do_HEAD(self):
        # As for an address that is signed for GET.
        self.send_response(403)
        self.end_headers()

    def log_message(self, *arguments):
        pass


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A server of S3 whose buckets are named like the errors that it answers."""

    # Clients ask before they send a file.
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        code = self.path[1:].partition("/")[0].partition("?")[0]
        content = f"<Error><Code>{code}</Code><Message>It is {code}.</Message></Error>".encode()
        self.send_response({"NoSuchBucket": 404, "ExpiredToken": 400}.get(code, 403))
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.do_GET()

    def log_message(self, *arguments):
        pass


class _Ranging(http.server.BaseHTTPRequestHandler):
    """Sends ten digits, or that part of them which the path says: /2-5/10/2345."""

    def do_GET(self):
        part, size, content = self.path[1:].split("/")
        self.send_response(206)
        if part != "none":
            self.send_header("Content-Range", f"bytes {part}/{size}")
        self.end_headers()
        self.wfile.write(content.encode())

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def serving(handler):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def telling():
    with serving(_Told) as address:
        yield address


def fault(call, *arguments, **settings):
    with pytest.raises(Exception) as raised:
        call(*arguments, **settings)
    return FILES.fault(raised.value)


def test_parts_and_sizes_of_files_on_the_web(tmp_path):
    (tmp_path / "a b.mp4").write_bytes(b"0123456789")
    with web_server(tmp_path) as address:
        path = f"{address}/a b.mp4"
        assert FILES.read(path) == b"0123456789"
        assert FILES.read_range(path, offset=3, length=4) == b"3456"
        assert FILES.read_range(path, offset=8, length=4) == b"89"
        assert FILES.read_range(path, offset=20, length=4) == b""
        assert FILES.read_range(path, offset=0, length=0) == b""
        assert FILES.status(path) == Status(size=10, modified=0, is_folder=False)


def test_a_server_without_ranges_gives_the_first_bytes_and_no_wrong_ones(tmp_path):
    (tmp_path / "file").write_bytes(b"0123456789")
    with web_server(tmp_path, has_ranges=False) as address:
        path = f"{address}/file"
        assert FILES.read_range(path, offset=0, length=4) == b"0123"
        assert FILES.read_range(path, offset=0, length=-1) == b"0123456789"
        # More than the file has: its bytes are not taken for those of the range.
        found = fault(FILES.read_range, path, offset=4, length=100)
        assert found == (
            Fault.REFUSED,
            "the server sends no ranges of files, which large ones need",
        )


def test_an_address_is_sent_as_it_was_signed(telling):
    path = f"http://{telling}/a%2Fb?X-Sig=c%2Bd%3D&e=f/g"
    assert FILES.read(path) == b"/a%2Fb?X-Sig=c%2Bd%3D&e=f/g None"
    secret = base64.b64encode(b"me:word").decode()
    assert FILES.read(f"http://me:word@{telling}/x") == f"/x Basic {secret}".encode()
    # Servers may refuse to tell of a file that they give.
    assert FILES.status(path).size == 32


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("404", Fault.MISSING),
        ("410", Fault.MISSING),
        ("401", Fault.REFUSED),
        ("403", Fault.REFUSED),
        ("408", Fault.AWAY),
        ("429", Fault.AWAY),
        ("500", Fault.AWAY),
        ("503", Fault.AWAY),
        ("cut", Fault.AWAY),
    ],
)
def test_what_answers_mean(telling, name, expected):
    assert fault(FILES.read, f"http://{telling}/{name}")[0] is expected
    if name != "cut":
        # fsspec itself says of all of them that there is no such file.
        assert fault(FILES.status, f"http://{telling}/{name}")[0] is expected


@pytest.mark.parametrize(
    ("name", "is_right"),
    [
        ("2-5/10/2345", True),
        ("2-5/*/2345", True),
        ("none/10/2345", True),
        # Another part; less than was asked for; not all of it.
        ("1-4/10/1234", False),
        ("2-4/10/234", False),
        ("2-4/*/234", False),
        ("2-5/10/23", False),
        ("2-5/10/23456", False),
    ],
)
def test_another_part_than_the_one_asked_for_is_no_answer(name, is_right):
    with serving(_Ranging) as address:
        path = f"http://{address}/{name}"
        if is_right:
            assert FILES.read_range(path, offset=2, length=4) == b"2345"
        else:
            assert fault(FILES.read_range, path, offset=2, length=4)[0] is Fault.AWAY


def test_a_part_that_reaches_beyond_the_end_is_shorter():
    with serving(_Ranging) as address:
        for length in (4, -1):
            path = f"http://{address}/8-9/10/89"
            assert FILES.read_range(path, offset=8, length=length) == b"89"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("ExpiredToken", Fault.LOCKED_OUT),
        ("InvalidAccessKeyId", Fault.LOCKED_OUT),
        ("SignatureDoesNotMatch", Fault.LOCKED_OUT),
        ("AccessDenied", Fault.REFUSED),
        ("NoSuchBucket", Fault.MISSING),
    ],
)
def test_credentials_that_are_refused_are_no_fault_of_a_file(code, expected, tmp_path):
    path = f"s3://{code}/1.mp4"
    with serving(_Refusing) as address:
        variables = {
            **{"S3_ENDPOINT": f"http://{address}", "S3_USE_HTTPS": "0", "AWS_REGION": "x"},
            **{"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "word"},
        }
        with environment(**variables):
            assert fault(FILES.read, path)[0] is expected
            if expected is Fault.LOCKED_OUT:
                record = VideoRecord(path=path, label=0)
                with pytest.raises(files.StorageUnavailableError, match="credentials are refused"):
                    read_video(record)
                with pytest.raises(files.StorageUnavailableError, match="credentials are refused"):
                    files.write(path, "text")
            if expected is Fault.MISSING:
                with pytest.raises(files.StorageError, match="There is no such bucket"):
                    files.write(path, "text")


def test_no_answer_is_no_missing_file():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for call in (FILES.read, FILES.status):
        assert fault(call, f"http://127.0.0.1:{port}/file")[0] is Fault.AWAY


@contextlib.contextmanager
def environment(**variables):
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def test_a_silent_server_is_waited_for_as_long_as_is_set():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        # Another name of it: settings are read once for a host.
        path = f"http://localhost:{silent.getsockname()[1]}/file"
        with environment(S3_CONNECT_TIMEOUT_MSEC="200", S3_REQUEST_TIMEOUT_MSEC="200"):
            assert fault(FILES.read, path)[0] is Fault.AWAY


def test_nothing_is_written_to_the_web(telling, tmp_path):
    (tmp_path / "file").write_bytes(b"text")
    path = f"http://{telling}/file"
    for call, arguments in (
        (FILES.write, (path, b"text")),
        (FILES.upload, (tmp_path / "file", path)),
        (FILES.remove, (path,)),
    ):
        assert fault(call, *arguments)[0] is Fault.REFUSED


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (
            {"S3_ENDPOINT": "host:9000", "S3_USE_HTTPS": "0"},
            {"endpoint_url": "http://host:9000", "use_ssl": False, "client_kwargs": {}},
        ),
        (
            {"S3_ENDPOINT": "host", "S3_VERIFY_SSL": "0", "AWS_REGION": "eu-west-1"},
            {
                "endpoint_url": "https://host",
                "use_ssl": True,
                "client_kwargs": {"region_name": "eu-west-1", "verify": False},
            },
        ),
        (
            {"S3_CA_FILE": "/ca.pem"},
            {"use_ssl": True, "client_kwargs": {"verify": "/ca.pem"}},
        ),
    ],
)
def test_variables_of_the_s3_client_are_those_of_tensorflow(variables, expected, monkeypatch):
    for name in ("S3_ENDPOINT", "AWS_REGION", "S3_REGION", "S3_USE_HTTPS", "S3_VERIFY_SSL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("S3_CONNECT_TIMEOUT_MSEC", "5000")
    monkeypatch.setenv("S3_REQUEST_TIMEOUT_MSEC", "15000")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = fsspec_files._s3_settings()
    assert ("endpoint_url" in settings) == ("endpoint_url" in expected)
    assert {name: settings[name] for name in expected} == expected
    config = settings["config_kwargs"]
    assert (config["connect_timeout"], config["read_timeout"]) == (5.0, 15.0)
    # On servers of one name, a bucket is a part of the path.
    style = {"addressing_style": "path"} if "S3_ENDPOINT" in variables else None
    assert config.get("s3") == style


def test_one_store_inside_of_another_is_refused():
    found = fault(FILES.read, "memory::s3://bucket/file")
    assert found[0] is Fault.REFUSED
