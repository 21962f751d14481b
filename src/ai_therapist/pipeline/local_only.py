"""Keeps a process and its workers from reaching other computers, however a connection is begun in Python.

An audit hook sees every connect, sendto and name look-up of Python's own sockets before the system does, whatever
library asks for it. Sockets of this machine (loopback and AF_UNIX) stay open, and listening is not touched. What a
library does in C by itself (gRPC, libcurl) passes no hook: such libraries serve only parts that reach out anyway.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from functools import cache

MARK = "AI_THERAPIST_LOCAL_ONLY"
"""Set in the environment while it is on, so that worker processes are kept in as well."""

_LOOPBACK_NAMES = frozenset({"", "localhost", "localhost.localdomain", "ip6-localhost"})
_REACHING = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
_LOOK_UPS = frozenset({"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"})

refused: list[str] = []
"""Hosts that were asked for in this process and refused; emptied where it is switched on anew."""


class LocalOnlyError(OSError):
    """A connection beyond this machine; an OSError, so that libraries go on with what they have here."""


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    # Every audit event of the process comes by: most must be let go at once.
    if not event.startswith("socket.") or MARK not in os.environ:
        return
    if event in _REACHING:
        # (socket, address); a socket that is already connected sends to no address.
        address = arguments[1]
        host = address[0] if isinstance(address, tuple) else None
    elif event in _LOOK_UPS:
        host = arguments[0]
    else:
        return
    if not _is_here(host):
        refused.append(str(host))
        raise LocalOnlyError(f"every part in use is of this machine: no connection to {host}")


def _is_here(host: object) -> bool:
    """Whether a host is this machine by its name or number alone; what is no internet address is of this machine."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if not isinstance(host, str) or host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    # Listening servers and clients of older libraries look up "any address" of this machine.
    return address.is_loopback or address.is_unspecified


def begin() -> None:
    """Keep this process, and those that it starts from now on, on this machine."""
    os.environ[MARK] = "1"
    refused.clear()
    watch()


@cache
def watch() -> None:
    """Install the hook in this process; it does nothing while the mark is not set. No process can take it out."""
    sys.addaudithook(_watch)


def end() -> None:
    """Let this process and those that it starts from now on reach out again."""
    os.environ.pop(MARK, None)
