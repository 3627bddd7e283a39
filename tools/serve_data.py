"""An input service: processes, on machines of their own, that read clips of records for trainers.

    python tools/serve_data.py dispatcher --port=5050          one, which knows who reads what
    python tools/serve_data.py worker --dispatcher=HOST:5050   as many as it takes, anywhere

Trainers read from it by one binding, and must see the records at the same path as the workers:

    python tools/train.py --gin_file=... --gin_param="training.train.service='grpc://HOST:5050'"

Workers may come and go while trainers run. Ports are open to everyone who reaches them, and what
trainers send is run: keep them inside your own network.
"""

import signal
import socket
import sys
import threading
import time

import experiment
from absl import app, flags

flags.DEFINE_integer("port", None, "Port to listen at; 0, a worker's default, takes a free one.")
flags.DEFINE_string("dispatcher", None, "Of a worker: HOST:PORT of its dispatcher.")
flags.DEFINE_string("host", None, "Of a worker: the name that trainers reach it by; its own.")
flags.DEFINE_string("work_dir", None, "Of a dispatcher: folder that lets it go on after a restart.")
FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    # Before TensorFlow starts threads, all of which inherit it.
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    if arguments == ["dispatcher"]:
        server = _dispatcher()
    elif arguments == ["worker"]:
        server = _worker()
    else:
        raise app.UsageError(f"Name what to start: dispatcher or worker. Received: {arguments}.")
    stopped.wait()
    # Trainers read what it had begun themselves.
    server._stop()
    print("stopped", flush=True)
    sys.exit(0)


def _dispatcher():
    import tensorflow as tf

    from keras_multigrid import storage

    if FLAGS.port is None or FLAGS.dispatcher or FLAGS.host:
        raise app.UsageError("A dispatcher takes --port, and --work_dir to outlive a restart.")
    service = tf.data.experimental.service
    if FLAGS.work_dir:
        storage.check_scheme(FLAGS.work_dir)
    config = service.DispatcherConfig(
        port=FLAGS.port, work_dir=FLAGS.work_dir, fault_tolerant_mode=bool(FLAGS.work_dir)
    )
    server = service.DispatchServer(config)
    port = server.target.rpartition(":")[2]
    print(f"dispatcher: service='grpc://{socket.gethostname()}:{port}'", flush=True)
    return server


def _worker():
    if not FLAGS.dispatcher or FLAGS.work_dir:
        raise app.UsageError("A worker takes --dispatcher=HOST:PORT, and --port and --host.")
    import tensorflow as tf

    from keras_multigrid import remote

    # What the dispatcher sends may read from any of them.
    remote.load()
    address = FLAGS.dispatcher.removeprefix("grpc://")
    _wait_for(address, remote.retry_seconds())
    host = FLAGS.host or socket.gethostname()
    service = tf.data.experimental.service
    config = service.WorkerConfig(
        dispatcher_address=address,
        worker_address=f"{host}:%port%",
        port=FLAGS.port or 0,
        dispatcher_timeout_ms=round(1000 * remote.retry_seconds()),
        heartbeat_interval_ms=1000,
    )
    server = service.WorkerServer(config)
    print(f"worker of {FLAGS.dispatcher}, as {host}", flush=True)
    return server


def _wait_for(address: str, seconds: float) -> None:
    """Wait until a dispatcher takes connections: TensorFlow would wait for ever."""
    from keras_multigrid.data import serving

    end = time.monotonic() + seconds
    while True:
        try:
            return serving.check_answers(address)
        except OSError as error:
            if time.monotonic() > end:
                raise ConnectionError(
                    f"The dispatcher at {address} does not answer: {error}. Tried for "
                    f"{seconds:.0f} s. Start it: python tools/serve_data.py dispatcher --port=5050."
                ) from None
        time.sleep(1.0)


if __name__ == "__main__":
    experiment.run(main, takes_paths=True)
