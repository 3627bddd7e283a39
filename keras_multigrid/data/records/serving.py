"""Batches that the workers of a tf.data service read, in the order of their numbers.

    trainer ──> dispatcher ──> workers        which batch each worker reads: any, each once
       ^───────────────────────────┘          batches as they are ready, with their numbers

A batch is a function of its number. So it does not matter who reads it: the trainer itself reads
what a lost worker took with it, and a trainer that continues elsewhere asks for what it needs.
"""

import contextlib
import dataclasses
import functools
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from keras_multigrid import compat, remote_files
from keras_multigrid.data.python_calls import before_the_end, closing, in_python
from keras_multigrid.data.reading import BatchNumbers

# Seconds to wait for a batch while later ones come, before it counts as lost, and for any batch
# before the service is asked anew; and how many later ones are kept meanwhile.
_PATIENCE = 10.0
_MAX_AHEAD = 64
# Seconds after which a job from which nobody takes batches gives back what workers hold for it.
_IDLE = 300.0


class InputServiceError(RuntimeError):
    """The input service gives no batches."""


def check_address(service: str) -> tuple[str, int]:
    """Host and port of a dispatcher's address.

    Raises:
        ValueError: it is not an address.
    """
    host, _, port = service.removeprefix("grpc://").rpartition(":")
    if not service.startswith("grpc://") or not host or not port.isdecimal():
        raise ValueError(
            "`service` must be the address of an input service's dispatcher, grpc://HOST:PORT. "
            f"Received: {service!r}. Start one: keras-multigrid serve dispatcher --port=5050."
        )
    return host.strip("[]"), int(port)


def wait_until_it_answers(service: str, wait: Callable[[float], object] = time.sleep) -> None:
    """Wait until a dispatcher takes connections: TensorFlow would wait for ever.

    Args:
        service: its address, grpc://HOST:PORT.
        wait: waits for a number of seconds.

    Raises:
        InputServiceError: it takes none for `remote_files.retry_seconds()`.
    """
    end = time.monotonic() + remote_files.retry_seconds()
    while True:
        try:
            return _connect(service)
        except OSError as error:
            if time.monotonic() > end:
                raise InputServiceError(
                    f"The dispatcher at {service} does not answer: {error}. Tried for "
                    f"{remote_files.retry_seconds():.0f} s. Start it: keras-multigrid serve "
                    "dispatcher --port=5050."
                ) from None
        wait(1.0)


def _connect(service: str) -> None:
    """Refuse what is no server of gRPC, which begins like any other of HTTP/2 (RFC 9113, 3.4)."""
    with socket.create_connection(check_address(service), timeout=5.0) as connection:
        settings = bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
        if connection.recv(9)[3:4] != settings[3:4]:
            raise ConnectionError("what listens there is no dispatcher")


def served(
    batches_of: Callable[[tf.data.Dataset], tf.data.Dataset], numbers: BatchNumbers, service: str
) -> tf.data.Dataset:
    """Batches read by an input service.

    Args:
        batches_of: from a data set of numbers to one of their batches, by TensorFlow operations
            alone; each is a tuple of tensors.
        numbers: the batches.
        service: address of the dispatcher, grpc://HOST:PORT.

    Returns:
        A data set of the batches, in order. When it is read, `InputServiceError` is raised where
        the service gives nothing for `remote_files.retry_seconds()`.

    Raises:
        ValueError: `service` is not an address.
        InputServiceError: there is no dispatcher.
    """
    check_address(service)
    wait_until_it_answers(service)
    batches = _Batches(batches_of, numbers, service)
    specs = batches_of(tf.data.Dataset.range(1)).element_spec
    return numbers.dataset().map(lambda number: tuple(in_python(batches.get, [number], specs)))


class _Batches:
    """Batches by number; quick if they are asked for in order."""

    def __init__(self, batches_of: Callable, numbers: BatchNumbers, service: str):
        self._batches_of, self._numbers, self._service = batches_of, numbers, service
        self._lock = threading.Lock()
        self._next = None
        self._job = None
        # Those that came before their turn.
        self._ahead = {}

    def get(self, number: int):
        """The tensors of a batch."""
        with self._lock:
            if number != self._next:
                self._start(int(number))
            if self._next not in self._ahead:
                self._receive()
            self._next += 1
            return self._ahead.pop(self._next - 1)

    def _start(self, number: int) -> None:
        if self._job is not None:
            self._job.stop()
        self._next = number
        self._ahead = {n: batch for n, batch in self._ahead.items() if n >= number}
        numbers = dataclasses.replace(self._numbers, first=number).dataset()
        self._job = _Job(functools.partial(self._batches_of, numbers), self._service)

    def _receive(self) -> None:
        """Take batches until the next one is there."""
        begun = heard = asked = time.monotonic()
        # Longer each time, as workers may be slow.
        patience = _PATIENCE
        last_error = None
        while self._next not in self._ahead:
            if closing.is_set():
                raise InterruptedError("The process ends.")
            now, error = time.monotonic(), None
            if self._job.is_stopped:
                self._start(self._next)
            try:
                tensors = self._job.receive(timeout=0.5)
            except queue.Empty:
                pass
            except Exception as raised:
                error = last_error = raised
            else:
                heard = asked = now
                number = self._numbers.number_of(tensors[0])
                # A late one has been read here.
                if number >= self._next:
                    self._ahead[number] = tensors
                if number == self._next:
                    return
                if len(self._ahead) > _MAX_AHEAD:
                    self._read_lost()
            self._check_silence(now - heard, last_error)
            if self._ahead and now - begun > _PATIENCE:
                self._read_lost()
            elif error is not None or now - asked > patience:
                logging.warning("The input service is asked again: %s", error or "it is silent.")
                time.sleep(1.0 if error else 0.0)
                self._start(self._next)
                asked, patience = time.monotonic(), 2 * patience

    def _check_silence(self, seconds: float, error: Exception | None) -> None:
        if seconds <= remote_files.retry_seconds():
            return
        reason = f" The last error: {error}" if error else ""
        raise InputServiceError(
            f"No batch came from the input service {self._service} for {seconds:.0f} s. Check that "
            "its dispatcher and at least one worker run, and that this machine reaches the workers "
            f"by the names that they give (keras-multigrid serve --host, --name).{reason}"
        )

    def _read_lost(self) -> None:
        """Read what a lost worker took with it."""
        lost = [n for n in range(self._next, max(self._ahead)) if n not in self._ahead]
        logging.warning("%d batches of a lost input worker are read here.", len(lost))
        numbers = tf.data.Dataset.from_tensor_slices(np.array(lost, np.int64))
        for tensors in self._batches_of(numbers).as_numpy_iterator():
            self._ahead[self._numbers.number_of(tensors[0])] = tensors


class _Job:
    """Takes batches from a service in a thread of its own, as one that is away blocks.

    Args:
        make: makes the data set that the service's workers share.
        service: address of the dispatcher.
    """

    def __init__(self, make: Callable[[], tf.data.Dataset], service: str):
        self._batches = queue.Queue(maxsize=2)
        self._cancellation = compat.cancellation()
        alive = contextlib.ExitStack()
        # Ended by the thread.
        alive.enter_context(before_the_end(self.stop))
        arguments = {"args": (alive, make, service), "name": "input_service", "daemon": True}
        threading.Thread(target=self._run, **arguments).start()

    def receive(self, timeout: float):
        item = self._batches.get(timeout=timeout)
        if isinstance(item, Exception):
            raise item
        return item

    def stop(self) -> None:
        self._cancellation.start_cancel()

    @property
    def is_stopped(self) -> bool:
        return self._cancellation.is_cancelled

    def _run(self, alive: contextlib.ExitStack, make: Callable, service: str) -> None:
        with alive:
            try:
                # Before the data set is made, which takes seconds.
                _connect(service)
                iterator = iter(_distributed(make(), service))
                while self._put(compat.next_element(iterator, self._cancellation)):
                    pass
            except Exception as error:
                self._put(error)

    def _put(self, item) -> bool:
        end = time.monotonic() + _IDLE
        while not self.is_stopped:
            try:
                self._batches.put(item, timeout=1.0)
                return True
            except queue.Full:
                if time.monotonic() > end:
                    self.stop()
        return False


def _distributed(batches: tf.data.Dataset, service: str) -> tf.data.Dataset:
    return batches.prefetch(2).apply(
        tf.data.experimental.service.distribute(
            processing_mode=tf.data.experimental.service.ShardingPolicy.DYNAMIC,
            service=service,
            # Its own: a job of another run, or of this one before a stop, has other batches.
            job_name=uuid.uuid4().hex,
            # Pictures hardly compress.
            compression=None,
        )
    )
