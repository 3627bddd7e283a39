"""Groups of workers on this machine."""

import json
import os
import socket


def worker_environments(count):
    """Environments with the TF_CONFIG of each worker; a single one has none."""
    hosts = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    for index in range(count):
        env = {key: value for key, value in os.environ.items() if key != "TF_CONFIG"}
        if count > 1:
            task = {"type": "worker", "index": index}
            env["TF_CONFIG"] = json.dumps({"cluster": {"worker": hosts}, "task": task})
        yield env


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
