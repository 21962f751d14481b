"""Only listed hosts on public addresses are ever connected to, whatever an address, a name or a redirect says."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from ai_therapist.errors import NotPermitted, TransientError
from ai_therapist.extraction.sources.web import (
    WebRules,
    check_url,
    fetch,
    is_public,
    only_public_connections,
    public_address,
)

RULES = WebRules(frozenset(("api.example.org",)), timeout_s=2)

FORMS_TEXT = """
http://api.example.org/ ftp://api.example.org/ file:///etc/passwd gopher://api.example.org/ javascript:alert(1)
data:text/plain,x HTTPS+UNIX://api.example.org ws://api.example.org/ //api.example.org/ api.example.org /etc/passwd
https:api.example.org https:/api.example.org https:///api.example.org https://
https://api.example.org:80/ https://api.example.org:22/ https://api.example.org:0/ https://api.example.org:65536/
https://api.example.org:-1/ https://api.example.org:x/
https://user@api.example.org/ https://user:word@api.example.org/ https://api.example.org@evil.org/
https://evil.org#@api.example.org/ https://evil.org?@api.example.org/ https://evil.org/api.example.org
https://evil.org\\@api.example.org/ https://evil.org\\.api.example.org/ https://api.example.org\\@evil.org/
https://api.example.org.evil.org/ https://evilapi.example.org/ https://api.example.org./ https://.api.example.org/
https://example.org/ https://API.EXAMPLE.ORG.evil/ https://api-example.org/ https://apiXexample.org/
https://localhost/ https://localhost.localdomain/ https://LOCALHOST/ https://ip6-localhost/ https://metadata/
https://metadata.google.internal/ https://169.254.169.254/latest/meta-data/ https://100.100.100.200/
https://127.0.0.1/ https://127.1/ https://127.0.1/ https://127.000.000.001/ https://0177.0.0.1/ https://0x7f.0.0.1/
https://0x7f000001/ https://2130706433/ https://017700000001/ https://127.0.0.1.nip.io/ https://0/ https://0.0.0.0/
https://10.0.0.1/ https://172.16.0.1/ https://192.168.0.1/ https://192.168.1/ https://100.64.0.1/ https://198.18.0.1/
https://224.0.0.1/ https://255.255.255.255/ https://3232235521/ https://0xC0A80001/ https://0300.0250.0.1/
https://[::1]/ https://[::]/ https://[::ffff:127.0.0.1]/ https://[::ffff:7f00:1]/ https://[0:0:0:0:0:ffff:7f00:1]/
https://[fe80::1]/ https://[fe80::1%25eth0]/ https://[fc00::1]/ https://[fd00::1]/ https://[ff02::1]/
https://[64:ff9b::7f00:1]/ https://[64:ff9b::a00:1]/ https://[2002:7f00:1::]/ https://[2001:0:7f00:1::]/
https://[::127.0.0.1]/ https://[::1/ https://::1]/ https://[/ https://]/ https://[api.example.org]/
https://api.example.org%00.evil.org/ https://api.example.org%2eevil.org/ https://%61pi.example.org/
https://api.example.org%252f@evil.org/ https://api%2eexample%2eorg/
https://api。example。org/ https://ａｐｉ.example.org/ https://аpi.example.org/ https://①②⑦.⓪.⓪.①/
https://xn--pi-6kc.example.org/ https://api.example.org‮/
"""
FORMS = FORMS_TEXT.split()
SPACED = [
    "",
    " https://api.example.org/",
    "https://api.example.org/ ",
    "https://api.example.org/\r\nHost: evil.org",
    "https://api.example.org/\n",
    "https://api.exa\tmple.org/",
    "https://api.example.org/\x00",
    "https://evil.org\t@api.example.org/",
    "https://api.example.org/ https://evil.org/",
    "https://api.example.org/" + "a" * 3000,
    "\x01https://api.example.org/",
    "https://api.example.org/\x7f",
]
ADDRESSES_TEXT = (
    "127.0.0.1 127.255.255.254 0.0.0.0 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 169.254.169.254 100.64.0.1 "
    "100.127.255.255 192.0.0.1 192.0.2.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 "
    "255.255.255.255 :: ::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 fe80::1 fe80::1%eth0 fc00::1 "
    "fd12:3456::1 ff02::1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: 2001:0:1::1 "
    "2001:db8::1 nonsense"
)
FORBIDDEN_ADDRESSES = ADDRESSES_TEXT.split()


@dataclass
class Listener:
    """A server on this machine that counts who connects."""

    port: int
    connections: int = 0
    sockets: list[socket.socket] = field(default_factory=list)


@pytest.fixture
def listener() -> Iterator[Listener]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Listener(server.getsockname()[1])
        server.settimeout(0.05)
        stop = threading.Event()

        def count() -> None:
            while not stop.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                found.connections += 1
                connection.close()

        thread = threading.Thread(target=count)
        thread.start()
        yield found
        stop.set()
        thread.join()


@pytest.fixture
def to_listener(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> Listener:
    """Every connection of this process goes to the listener, whatever address was meant."""
    real = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda *args, **options: real(("127.0.0.1", listener.port)))
    return listener


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """Names lead to these addresses; returns the list of names that were asked for."""
    asked: list[str] = []

    def getaddrinfo(host: str, port: int, *args: object, **options: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


@pytest.mark.parametrize("url", [*FORMS, *SPACED], ids=lambda url: ascii(url)[:60])
def test_a_hostile_address_is_not_asked(url: str, to_listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = resolve_to(monkeypatch, "127.0.0.1")
    with pytest.raises(NotPermitted) as told:
        fetch(url, RULES)
    assert asked == []
    assert to_listener.connections == 0
    assert "evil" not in str(told.value)


@pytest.mark.parametrize("address", FORBIDDEN_ADDRESSES)
def test_a_good_name_at_a_forbidden_address_is_not_connected_to(
    address: str, to_listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_public(address)
    resolve_to(monkeypatch, address)
    with pytest.raises(NotPermitted, match="not public"):
        fetch("https://api.example.org/", RULES)
    # One good address among the bad ones does not help.
    resolve_to(monkeypatch, "93.184.216.34", address)
    with pytest.raises(NotPermitted, match="not public"):
        fetch("https://api.example.org/", RULES)
    assert to_listener.connections == 0


def test_there_are_enough_of_them() -> None:
    assert len(set(FORMS)) + len(set(SPACED)) + len(set(FORBIDDEN_ADDRESSES)) >= 140


@pytest.mark.parametrize("address", ["93.184.216.34", "8.8.8.8", "2606:4700::1111", "64:ff9b::808:808"])
def test_the_public_internet_is_public(address: str) -> None:
    assert is_public(address)


def test_the_address_that_was_checked_is_the_one_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that answers with a public address first and a private one later gets no second look-up."""
    asked = resolve_to(monkeypatch, "93.184.216.34")
    connected: list[object] = []

    def connect(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        connected.append(address[0])
        raise OSError("no network here")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(TransientError, match=r"api\.example\.org: ConnectError"):
        fetch("https://api.example.org/", RULES)
    assert asked == ["api.example.org"]
    assert connected == ["93.184.216.34"]


@pytest.fixture
def open_rules(httpserver: HTTPServer) -> WebRules:
    """Rules that let the server of the test be asked."""
    return WebRules(
        frozenset((httpserver.host,)),
        max_bytes=1000,
        timeout_s=3,
        schemes=frozenset(("http",)),
        own_addresses=frozenset(("127.0.0.1",)),
    )


def test_an_answer_comes_whole_with_its_status(httpserver: HTTPServer, open_rules: WebRules) -> None:
    httpserver.expect_request("/a", query_string="b=c", headers={"X-Key": "k"}).respond_with_data("yes", status=418)
    answer = fetch(httpserver.url_for("/a?b=c"), open_rules, {"X-Key": "k"})
    assert (answer.status, answer.body) == (418, b"yes")


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1:{port}/",
        "http://10.0.0.1/",
        "http://[::1]:{port}/",
        "file:///etc/passwd",
        "https://evil.org/",
        "//evil.org/x",
        "gopher://127.0.0.1:{port}/x",
        "http://2130706433:{port}/",
        "http://user@localhost:{port}/",
    ],
)
def test_a_redirect_is_checked_like_a_first_address(
    location: str, httpserver: HTTPServer, open_rules: WebRules, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = location.format(port=listener.port)
    httpserver.expect_request("/").respond_with_data("", status=302, headers={"Location": target})
    # The server of the test answers to the name localhost; the address itself is not on the list.
    rules = replace(open_rules, hosts=frozenset(("localhost",)))
    with pytest.raises(NotPermitted):
        fetch(f"http://localhost:{httpserver.port}/", rules)
    assert listener.connections == 0


def test_redirects_come_to_an_end_and_a_key_stays_with_its_host(httpserver: HTTPServer, open_rules: WebRules) -> None:
    seen: list[str | None] = []

    def again(request: Request) -> Response:
        seen.append(request.headers.get("X-Key"))
        return Response("", status=301, headers={"Location": f"http://localhost:{httpserver.port}/next"})

    httpserver.expect_request("/first").respond_with_handler(again)
    httpserver.expect_request("/next").respond_with_handler(again)
    rules = replace(open_rules, hosts=frozenset(("localhost", "127.0.0.1")))
    with pytest.raises(TransientError, match="more than 3 redirects"):
        fetch(f"http://127.0.0.1:{httpserver.port}/first", rules, {"X-Key": "secret"})
    assert seen == ["secret", None, None, None]


def late(request: Request) -> Response:
    time.sleep(1.5)
    return Response("late")


def test_too_much_too_slow_packed_and_broken_answers_are_refused(httpserver: HTTPServer, open_rules: WebRules) -> None:
    httpserver.expect_request("/long").respond_with_data(b"x" * 5000)
    httpserver.expect_request("/packed").respond_with_data(b"x", headers={"Content-Encoding": "gzip"})
    httpserver.expect_request("/slow").respond_with_handler(late)
    with pytest.raises(TransientError, match="longer than 1000 bytes"):
        fetch(httpserver.url_for("/long"), open_rules)
    with pytest.raises(TransientError, match="packed"):
        fetch(httpserver.url_for("/packed"), open_rules)
    with pytest.raises(TransientError, match="ReadTimeout"):
        fetch(httpserver.url_for("/slow"), replace(open_rules, timeout_s=0.3))


def test_a_server_that_hangs_up_is_worth_another_attempt(listener: Listener, open_rules: WebRules) -> None:
    with pytest.raises(TransientError):
        fetch(f"http://127.0.0.1:{listener.port}/", replace(open_rules, hosts=frozenset(("127.0.0.1",))))
    assert listener.connections == 1


def test_a_name_that_nobody_knows_is_worth_another_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(TransientError, match="cannot be found"):
        public_address("api.example.org", 443, frozenset())


def test_the_guard_stops_libraries_that_connect_by_themselves(listener: Listener) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", listener.port, timeout=2)
    with only_public_connections(), pytest.raises(PermissionError, match="not public"):
        connection.request("GET", "/")
    assert listener.connections == 0
    # Other threads, and this one afterwards, are free.
    with only_public_connections(frozenset(("127.0.0.1",))):
        socket.create_connection(("127.0.0.1", listener.port)).close()
    socket.create_connection(("127.0.0.1", listener.port)).close()


def test_a_plain_good_address_is_allowed() -> None:
    assert check_url("https://api.example.org/v3/x?y=z", RULES) == "api.example.org"
    assert check_url("https://API.example.org:443", RULES) == "api.example.org"
