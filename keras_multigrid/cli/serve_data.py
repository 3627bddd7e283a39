r"""Read clips of records for trainers, on machines of their own.

One dispatcher, which knows who reads what, and as many workers as it takes, anywhere:

    keras-multigrid serve dispatcher --port=5050 --host=0.0.0.0
    keras-multigrid serve worker --dispatcher=HOST:5050 --host=0.0.0.0

Trainers read from it by one binding, and must see the records at the same path as the workers:

    keras-multigrid train --gin_file=i3d_charades --gin_file=data/charades_records/records.gin \
        --gin_param="runs.Data.service = 'grpc://HOST:5050'"

Workers may come and go while trainers run. On SIGTERM servers end with exit code 0. What trainers
send is run: by default servers listen at 127.0.0.1, for this machine alone. With --host they listen
at another of its addresses, or at all of them: keep those inside your own network.
"""

import contextlib
import os
import queue
import signal
import socket

from absl import app, flags

flags.DEFINE_integer(
    "port", None, "Port to listen at; 0, a worker's default, takes a free one.", 0, 65535
)
flags.DEFINE_string("dispatcher", None, "Of a worker: HOST:PORT of its dispatcher.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 for all of this machine.")
flags.DEFINE_string(
    "name",
    None,
    "Of a worker: the name that trainers reach it by; by default --host, or this machine's name.",
)
FLAGS = flags.FLAGS


def main(arguments: list[str]) -> None:
    """Run the command."""
    if arguments == ["dispatcher"]:
        _dispatcher()
    elif arguments == ["worker"]:
        _worker()
    else:
        raise app.UsageError(f"Name what to start: dispatcher or worker. Received: {arguments}.")


def _dispatcher() -> None:
    if FLAGS.port is None or FLAGS.dispatcher or FLAGS.name:
        raise app.UsageError("A dispatcher takes --port, such as --port=5050, and --host.")
    import tensorflow as tf

    from keras_multigrid.data.records import listening

    addresses = listening.addresses_of(FLAGS.host)
    service = tf.data.experimental.service
    try:
        server = service.DispatchServer(service.DispatcherConfig(port=FLAGS.port))
    except RuntimeError as error:
        raise RuntimeError(
            f"The dispatcher cannot listen at port {FLAGS.port}: {error}. Is it in use?"
        ) from None
    listening.listen_only_at(addresses)
    port = server.target.rpartition(":")[2]
    print(f"dispatcher: service='grpc://{_name()}:{port}'", flush=True)
    _signals().get()
    _end()


def _worker() -> None:
    if not FLAGS.dispatcher:
        raise app.UsageError(
            "A worker takes --dispatcher=HOST:PORT, and --port, --host and --name."
        )
    import tensorflow as tf

    from keras_multigrid import remote_files
    from keras_multigrid.data.records import listening, serving

    addresses = listening.addresses_of(FLAGS.host)
    address = FLAGS.dispatcher.removeprefix("grpc://")
    try:
        serving.check_address(f"grpc://{address}")
    except ValueError:
        raise app.UsageError(
            f"--dispatcher must be HOST:PORT, such as localhost:5050. Received: {FLAGS.dispatcher}."
        ) from None
    # What the dispatcher sends may read from any of them.
    remote_files.with_tensorflow_io()
    service = tf.data.experimental.service
    config = service.WorkerConfig(
        dispatcher_address=address,
        worker_address=f"{_name()}:%port%",
        port=FLAGS.port or 0,
        dispatcher_timeout_ms=round(1000 * remote_files.retry_seconds()),
        heartbeat_interval_ms=1000,
    )
    events = _signals()

    def wait(seconds: float) -> None:
        with contextlib.suppress(queue.Empty):
            events.get(timeout=seconds)
            _end()

    print(f"waits for {FLAGS.dispatcher}", flush=True)
    serving.wait_until_it_answers(f"grpc://{address}", wait)
    # Serves as long as it is referred to.
    server = service.WorkerServer(config)  # noqa: F841
    listening.listen_only_at(addresses)
    print(f"worker of {FLAGS.dispatcher}, as {_name()}", flush=True)
    events.get()
    _end()


def _name() -> str:
    """What others reach this server by."""
    host = socket.gethostname() if FLAGS.host == "0.0.0.0" else FLAGS.host
    host = FLAGS.name or host
    return f"[{host}]" if ":" in host else host


def _signals() -> queue.SimpleQueue:
    """A queue that gets each SIGTERM and SIGINT."""
    events = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: events.put(number))
    return events


def _end() -> None:
    print("stopped", flush=True)
    # Without a farewell, for which a server may wait for ever: trainers read what it had begun.
    os._exit(0)
