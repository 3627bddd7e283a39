"""Reading from s3:// by TensorFlow's file system (tensorflow-io) and by fsspec's (s3fs), in turn.

    python benchmarks/remote_reads.py --out=results

One S3 server of this machine (moto, which takes its share of the cores) holds small files and a
large one. Threads read the small files whole, and then as many ranges of the large one. Prints the
medians of all rounds, and writes `remote_reads.json`. It needs TensorFlow 2.17, with the extras io,
remote and test.
"""

import argparse
import functools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, _ROOT)

_BUCKET = "benchmark"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--num_files", type=int, default=200)
    parser.add_argument("--megabytes", type=float, default=0.5, help="of a file, and of a range")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", default="results")
    settings = parser.parse_args()
    server = _start_server()
    try:
        results = _measure(settings)
    finally:
        server.kill()
        server.wait()
    print(f"{'reads':<12}{'tensorflow-io MB/s':>20}{'fsspec MB/s':>14}{'ratio':>8}")
    for name, rates in results.items():
        of_tensorflow, of_fsspec = (statistics.median(rates[key]) for key in rates)
        ratio = of_fsspec / of_tensorflow
        print(f"{name:<12}{of_tensorflow:>20.1f}{of_fsspec:>14.1f}{ratio:>8.2f}", flush=True)
    os.makedirs(settings.out, exist_ok=True)
    with open(os.path.join(settings.out, "remote_reads.json"), "w") as file:
        json.dump({**vars(settings), "megabytes_per_second": results}, file, indent=1)
    # What tensorflow-io has open would abort the process on its way out.
    sys.stdout.flush()
    os._exit(0)


def _start_server() -> subprocess.Popen:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ.update(
        S3_ENDPOINT=f"http://127.0.0.1:{port}",
        S3_USE_HTTPS="0",
        S3_VERIFY_SSL="0",
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
    )
    command = [sys.executable, "-m", "moto.server", "-p", str(port)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _measure(settings: argparse.Namespace) -> dict[str, dict[str, list[float]]]:
    from keras_multigrid.remote_files.fsspec_files import FsspecFiles
    from keras_multigrid.remote_files.tensorflow_files import TensorFlowFiles, with_tensorflow_io

    with_tensorflow_io()

    size = round(1e6 * settings.megabytes)
    paths = [f"s3://{_BUCKET}/files/{number}" for number in range(settings.num_files)]
    large = f"s3://{_BUCKET}/large"
    # No larger: moto goes through the whole of it for each range.
    num_ranges = 40
    _upload(paths, large, size, num_ranges)
    systems = {"tensorflow": TensorFlowFiles(), "fsspec": FsspecFiles()}
    rates = {name: {key: [] for key in systems} for name in ("files", "ranges")}
    with ThreadPoolExecutor(settings.threads) as threads:
        # The first round warms up connections and is not counted.
        for number in range(settings.rounds + 1):
            for key, system in systems.items():
                offsets = [index % num_ranges * size for index in range(len(paths))]
                range_of = functools.partial(system.read_range, large, length=size)
                for name, reads in (
                    ("files", [functools.partial(system.read, path) for path in paths]),
                    ("ranges", [functools.partial(range_of, offset=at) for at in offsets]),
                ):
                    begun = time.perf_counter()
                    lengths = list(threads.map(lambda read: len(read()), reads))
                    seconds = time.perf_counter() - begun
                    assert lengths == [size] * len(paths)
                    if number:
                        rates[name][key].append(sum(lengths) / 1e6 / seconds)
    return rates


def _upload(paths: list[str], large: str, size: int, num_ranges: int) -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name=os.environ["AWS_REGION"]
    )
    end = time.monotonic() + 60
    while True:
        try:
            client.create_bucket(Bucket=_BUCKET)
            break
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
    for path in (*paths, large):
        count = num_ranges if path == large else 1
        name = path.removeprefix(f"s3://{_BUCKET}/")
        client.put_object(Bucket=_BUCKET, Key=name, Body=os.urandom(size * count))


if __name__ == "__main__":
    main()
