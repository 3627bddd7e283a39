"""Servers that listen at one address, though TensorFlow's listen at all addresses of a machine.

A packet filter on their sockets drops what is sent to any other address: for others, it is as if
nobody listened.
"""

import ctypes
import ipaddress
import os
import socket
import struct

ALL = "0.0.0.0"
_ATTACH_FILTER = getattr(socket, "SO_ATTACH_FILTER", 26)
# Where the headers of IP begin for a filter on a socket of TCP (linux/filter.h, SKF_NET_OFF).
_HEADERS = 0xFFF00000
# Operations of the classic packet filter: load a byte or a word, compare, return.
_LOAD_BYTE, _LOAD_WORD, _AND, _IF_EQUAL, _RETURN = 0x30, 0x20, 0x54, 0x15, 0x06
_PASS, _DROP = 0xFFFFFFFF, 0


def addresses_of(host: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """The addresses of this machine that a host stands for; none for all.

    Raises:
        ValueError: it stands for none of this machine's.
    """
    if host == ALL:
        return []
    try:
        found = {info[4][0] for info in socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)}
    except OSError:
        found = set()
    addresses = sorted(map(ipaddress.ip_address, filter(_is_here, found)), key=str)
    is_loopback = all(address.is_loopback for address in addresses)
    if is_loopback and host not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError(
            f"--host must be an address of this machine that others reach. Received: {host}, which "
            f"is {', '.join(map(str, addresses)) or 'none'} here. Use 127.0.0.1 for this machine "
            f"alone, or {ALL} for all its addresses."
        )
    # "localhost" is either.
    return [*map(ipaddress.ip_address, ("127.0.0.1", "::1"))] if is_loopback else addresses


def listen_only_at(addresses: list[ipaddress.IPv4Address | ipaddress.IPv6Address]) -> None:
    """Let the servers that this process has begun hear what is sent to these addresses alone.

    Raises:
        RuntimeError: the system cannot do that.
    """
    if not addresses:
        return
    program = b"".join(struct.pack("HBBI", *operation) for operation in _filter(addresses))
    memory = ctypes.create_string_buffer(program)
    code = struct.pack("HL", len(program) // 8, ctypes.addressof(memory))
    try:
        for number in map(int, os.listdir("/proc/self/fd")):
            if _listens(number):
                with socket.socket(fileno=os.dup(number)) as server:
                    server.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, code)
    except OSError as error:
        raise RuntimeError(
            f"This system cannot listen at one address alone ({error}). Use --host={ALL}, and keep "
            "others away by a firewall."
        ) from None


def _filter(addresses) -> list[tuple[int, int, int, int]]:
    """(operation, steps to go if it holds, if it does not, value): pass what goes to an address."""
    rows = []
    for address in addresses:
        words = struct.unpack(f">{len(address.packed) // 4}I", address.packed)
        # The version, and where the destination stands in headers of that version.
        checks = [(_LOAD_BYTE, 0, 0xF0, address.version << 4)]
        first = 16 if address.version == 4 else 24
        checks += [(_LOAD_WORD, first + 4 * i, None, word) for i, word in enumerate(words)]
        part = []
        for load, offset, mask, value in checks:
            part.append((load, 0, 0, _HEADERS + offset))
            if mask is not None:
                part.append((_AND, 0, 0, mask))
            part.append((_IF_EQUAL, 0, None, value))
        part.append((_RETURN, 0, 0, _PASS))
        # Where one comparison fails, the next address is tried.
        rows += [
            (code, yes, len(part) - 1 - at if no is None else no, value)
            for at, (code, yes, no, value) in enumerate(part)
        ]
    return [*rows, (_RETURN, 0, 0, _DROP)]


def _is_here(address: str) -> bool:
    """Whether it is an address of this machine."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
        return True
    except OSError:
        return False


def _listens(number: int) -> bool:
    """Whether a file descriptor is a socket of TCP that takes connections."""
    try:
        with socket.socket(fileno=os.dup(number)) as found:
            return (
                found.family in (socket.AF_INET, socket.AF_INET6)
                and found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            )
    except OSError:
        return False
