"""Which addresses are this machine's, and which ports are free."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from agentmon.errors import SettingError

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Address:
    """One Kafka address as a user wrote it."""

    host: str
    port: int

    def local_ip(self) -> str | None:
        """This machine's IP address that the host name stands for; None where it is elsewhere or unknown."""
        try:
            found = [str(entry[4][0]) for entry in socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)]
        except OSError:
            return None
        # Where a name has several addresses (localhost does), the loopback that Kafka's clients try first.
        ips = sorted(found, key=lambda ip: ip != LOOPBACK)
        return next((ip for ip in ips if _can_bind(ip, 0)), None)


def parse_bootstrap(text: str) -> list[Address]:
    """The addresses in KAFKA_BOOTSTRAP_SERVERS. Raises SettingError where one can't be read.

    >>> parse_bootstrap("localhost:9092, [::1]:9093")
    [Address(host='localhost', port=9092), Address(host='::1', port=9093)]
    """
    addresses = []
    for part in text.split(","):
        host, colon, port = part.strip().rpartition(":")
        if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingError(f"KAFKA_BOOTSTRAP_SERVERS={text!r} can't be used: it takes host:port,…")
        addresses.append(Address(host.strip("[]"), int(port)))
    return addresses


def is_free(port: int, ip: str = LOOPBACK) -> bool:
    """Whether a server could listen on the port now, and none answers on it by another of localhost's addresses."""
    return _can_bind(ip, port) and not (ip == LOOPBACK and accepts("::1", port))


def accepts(ip: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((ip, port), timeout=0.5):
            return True
    except OSError:
        return False


def free_port(ip: str = LOOPBACK, but_for: int | None = None) -> int:
    """A port that nobody uses at this moment, and another than this, which somebody is about to."""
    with _socket(ip) as probe:
        probe.bind((ip, 0))
        port = int(probe.getsockname()[1])
        return free_port(ip, but_for) if port == but_for else port


def _can_bind(ip: str, port: int) -> bool:
    try:
        with _socket(ip) as probe:
            # As servers do: connections of a broker that has just ended must not count.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((ip, port))
            return True
    except OSError:
        return False


def _socket(ip: str) -> socket.socket:
    return socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM)
