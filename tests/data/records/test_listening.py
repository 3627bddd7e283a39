import pathlib
import socket

import pytest

from keras_multigrid.data.records.listening import addresses_of, listen_only_at

pytestmark = pytest.mark.skipif(
    not pathlib.Path("/proc/self/fd").exists(), reason="packet filters are Linux's"
)


def answers(address, port):
    try:
        socket.create_connection((address, port), timeout=1.0).close()
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("host", "heard"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)]
)
def test_a_server_hears_what_is_sent_to_its_address_alone(host, heard):
    with socket.create_server(("0.0.0.0", 0)) as server:
        port = server.getsockname()[1]
        listen_only_at(addresses_of(host))
        assert answers("127.0.0.1", port)
        # Another address of every machine with Linux.
        assert answers("127.0.0.2", port) == heard


@pytest.mark.parametrize("host", ["192.0.2.77", "no.such.name.invalid", "127.0.0.2"])
def test_what_is_no_address_of_this_machine_for_others_is_refused(host):
    with pytest.raises(ValueError, match=rf"Received: {host}.*Use 127\.0\.0\.1"):
        addresses_of(host)
