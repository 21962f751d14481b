"""The one door to the web: https to listed hosts on public addresses, checked again at every redirect and connection.

    address ─ form, scheme, host on the list ─ resolve ─ every address public ─ connect to that very address ─ answer
       ▲                                                                                                        │
       └───────────────────────────────── redirect: the whole way again ─────────────────────────────────────────┘

Environment variables that name a proxy are not followed: what a proxy connects to cannot be checked here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ai_therapist.errors import MissingExtra, NotPermitted, TransientError

if TYPE_CHECKING:
    import httpcore

_LONGEST_URL = 2000
_FORM = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without the backslash, which some parsers take for a slash."""
_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_TUNNELS = (
    ipaddress.ip_network("2002::/16"),
    ipaddress.ip_network("2001::/32"),
    ipaddress.ip_network("64:ff9b:1::/48"),
)


@dataclass(frozen=True)
class WebRules:
    """What may be asked for, and how much of it."""

    hosts: frozenset[str]
    """Names in lower case; no other host is asked, not even by a redirect."""
    max_bytes: int = 16 << 20
    timeout_s: float = 30
    """For one whole request with its redirects, in seconds."""
    max_redirects: int = 3
    schemes: frozenset[str] = frozenset(("https",))
    own_addresses: frozenset[str] = frozenset()
    """Addresses off the public internet that may be connected to all the same, as a mirror of one's own."""


@dataclass(frozen=True)
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def fetch(url: str, rules: WebRules, headers: Mapping[str, str] | None = None) -> Answer:
    """The answer to a GET of `url`, whatever its status; `headers` go to the host of `url` only.

    Raises NotPermitted, before any connection, where an address breaks the rules, and TransientError where the
    network fails, the answer is too long or takes too long. No message shows more of the address than its host.
    """
    deadline_s = time.monotonic() + rules.timeout_s
    asked = url
    for _ in range(rules.max_redirects + 1):
        host = check_url(asked, rules)
        own = dict(headers or {}) if host == check_url(url, rules) else {}
        answer = _ask(asked, host, rules, own, deadline_s)
        if answer.status not in _REDIRECTS:
            return answer
        asked = urljoin(asked, answer.headers.get("location", ""))
    raise TransientError(f"{host}: more than {rules.max_redirects} redirects")


def check_url(url: str, rules: WebRules) -> str:
    """The host of an address that may be asked. Raises NotPermitted that says which rule is broken."""
    if len(url) > _LONGEST_URL or not _FORM.fullmatch(url):
        raise NotPermitted("an address is too long or holds signs that do not belong there: it is not asked")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise NotPermitted("an address has no proper host: it is not asked") from None
    if parts.scheme not in rules.schemes:
        raise NotPermitted(f"an address does not begin with {'// or '.join(sorted(rules.schemes))}://: it is not asked")
    if "@" in parts.netloc:
        raise NotPermitted("an address names a user: it is not asked")
    if host not in rules.hosts:
        raise NotPermitted(f"an address leads to a host that is not among {', '.join(sorted(rules.hosts))}")
    if port not in (None, 443) and "https" in rules.schemes:
        raise NotPermitted(f"an address of {host} names another port: it is not asked")
    return host


def is_public(address: str) -> bool:
    """Whether an address in numbers belongs to the public internet, also where IPv6 hides an IPv4 one."""
    try:
        ip = ipaddress.ip_address(address.split("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        elif ip in _NAT64:
            ip = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        elif any(ip in tunnel for tunnel in _TUNNELS):
            return False
    return ip.is_global and not ip.is_multicast


def public_address(host: str, port: int, own_addresses: frozenset[str]) -> str:
    """The address to connect to. Raises NotPermitted where any address of the host is not a public one."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        raise TransientError(f"{host}: its address cannot be found") from None
    addresses = [str(entry[4][0]) for entry in found]
    # All of them: a name with one public and one private address is how a check is led astray.
    if not all(is_public(address) or address in own_addresses for address in addresses):
        raise NotPermitted(f"{host} leads to an address that is not public: it is not connected to")
    return addresses[0]


def _ask(url: str, host: str, rules: WebRules, headers: dict[str, str], deadline_s: float) -> Answer:
    try:
        import httpcore
    except ModuleNotFoundError:
        raise MissingExtra("the web", "httpx", "cloud") from None

    pool = httpcore.ConnectionPool(network_backend=_backend(rules.own_addresses), retries=0)
    left_s = max(0.1, deadline_s - time.monotonic())
    limits = dict.fromkeys(("connect", "read", "write", "pool"), left_s)
    # Packed answers could unpack to any size.
    sent = [
        ("Accept-Encoding", "identity"),
        ("User-Agent", "ai-therapist"),
        ("Host", urlsplit(url).netloc),
        *headers.items(),
    ]
    body = bytearray()
    try:
        with pool, pool.stream("GET", url, headers=sent, extensions={"timeout": limits}) as response:
            for chunk in response.iter_stream():
                body += chunk
                if len(body) > rules.max_bytes:
                    raise TransientError(f"{host}: its answer is longer than {rules.max_bytes} bytes")
                if time.monotonic() > deadline_s:
                    raise TransientError(f"{host}: its answer took longer than {rules.timeout_s:g} s")
            named = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if named.get("content-encoding", "identity") != "identity":
                raise TransientError(f"{host}: its answer is packed, which was not asked for")
            return Answer(response.status, named, bytes(body))
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        httpcore.UnsupportedProtocol,
    ) as error:
        raise TransientError(f"{host}: {type(error).__name__}") from None


def _backend(own_addresses: frozenset[str]) -> httpcore.NetworkBackend:
    """Connects to the address that was checked, so that a second look-up cannot give another one."""
    import httpcore

    class Pinned(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *args: object, **options: object) -> httpcore.NetworkStream:
            # Certificate and Host header stay those of the name.
            return super().connect_tcp(public_address(host, port, own_addresses), port, *args, **options)  # type: ignore[arg-type]

    return Pinned()


_guarded = threading.local()
_hooked = threading.Event()


@contextlib.contextmanager
def only_public_connections(own_addresses: frozenset[str] = frozenset()) -> Iterator[None]:
    """Refuses every connection of this thread to an address that is not public, whoever makes it, redirects included.

    For libraries that connect by themselves. Raises PermissionError in the middle of what they do, as a system would.
    """
    if not _hooked.is_set():
        _hooked.set()
        # An audit hook sees the very address of each connection and cannot be taken out again.
        sys.addaudithook(_watch)
    _guarded.own = own_addresses
    try:
        yield
    finally:
        _guarded.own = None


def _watch(event: str, args: tuple[object, ...]) -> None:
    if event != "socket.connect":
        return
    own: frozenset[str] | None = getattr(_guarded, "own", None)
    address = args[1]
    if own is None or not isinstance(address, tuple):
        return
    if not is_public(str(address[0])) and str(address[0]) not in own:
        raise PermissionError("a server leads to an address that is not public: it is not connected to")
