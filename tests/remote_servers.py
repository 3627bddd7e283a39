"""Real servers on this machine, and processes that use them; each that touches s3:// is its own."""

import contextlib
import functools
import http.server
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time

import boto3
import processes

BUCKET = "runs"
HERE = pathlib.Path(__file__).parent


class S3Server:
    """Of moto; its objects live as long as it does. Clients talk to it through a wire.

    `wire.is_cut = True` makes it a server that is away, without losing its objects.
    """

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-p", str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wire = Wire(port)
        self.env = {
            "S3_ENDPOINT": f"http://127.0.0.1:{self.wire.port}",
            "S3_USE_HTTPS": "0",
            "S3_VERIFY_SSL": "0",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_MAX_ATTEMPTS": "1",
        }
        self.client = boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{port}",
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
        end = time.monotonic() + 60
        while True:
            try:
                self.client.create_bucket(Bucket=BUCKET)
                return
            except Exception:
                assert time.monotonic() < end
                time.sleep(0.2)

    def names(self, prefix=""):
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", ())
        return [item["Key"] for item in found]

    def content(self, name):
        return self.client.get_object(Bucket=BUCKET, Key=name)["Body"].read()

    def upload(self, folder, prefix):
        for path in sorted(pathlib.Path(folder).rglob("*")):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

    def close(self):
        self.process.kill()
        self.process.wait()


class Wire:
    """Carries connections to a port of this machine.

    While `is_cut`, it ends them. The next `cuts` long answers end after a megabyte.
    """

    def __init__(self, port):
        self.is_cut = False
        self.cuts = 0
        self._target = port
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            client, _ = self._listening.accept()
            if self.is_cut:
                _end(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _end(client)
                continue
            for carry, ends in ((self._ask, (client, server)), (self._answer, (server, client))):
                threading.Thread(target=carry, args=ends, daemon=True).start()

    def _ask(self, client, server):
        with contextlib.suppress(OSError):
            while (block := client.recv(1 << 16)) and not self.is_cut:
                server.sendall(block)
        _end(server)

    def _answer(self, server, client):
        carried = 0
        with contextlib.suppress(OSError):
            while (block := server.recv(1 << 16)) and not self.is_cut:
                client.sendall(block)
                carried += len(block)
                if self.cuts and carried > 1 << 20:
                    self.cuts -= 1
                    break
        _end(client)


def _end(connection):
    # A thread that waits for it would keep a closed one open.
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Files(http.server.SimpleHTTPRequestHandler):
    """Files of a folder, in ranges where asked: more than the standard library's handler does."""

    has_ranges = True

    def do_GET(self):
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = self.translate_path(self.path)
        if not self.has_ranges or asked is None or not os.path.isfile(path):
            super().do_GET()
            return
        content = pathlib.Path(path).read_bytes()
        part = content[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206 if part else 416)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)

    def log_message(self, *arguments):
        pass


class _FilesWithoutRanges(_Files):
    has_ranges = False


@contextlib.contextmanager
def web_server(folder, *, has_ranges=True):
    """Address of a web server of the files in a folder."""
    handler = _Files if has_ranges else _FilesWithoutRanges
    handler = functools.partial(handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def call(function, *arguments, **env):
    """Call a function of a test file, with texts, in a process of its own; what it wrote."""
    module = function.__module__
    code = (
        f"import sys, os; sys.path[:0] = {[str(HERE), str(HERE.parent)]}; import {module}; "
        f"{module}.{function.__name__}(*{[str(a) for a in arguments]}); "
        "sys.stdout.flush(); sys.stderr.flush(); os._exit(0)"
    )
    result = processes.run("-c", code, env={**os.environ, **env}, timeout=120)
    assert result.returncode == 0, result.stderr[-3000:]
    return result
