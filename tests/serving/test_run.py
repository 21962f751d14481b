"""Where the server may listen, TLS, and what reaches the log."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest

from ai_therapist.errors import ConfigError, MissingInput
from ai_therapist.inference.predict import Speaker
from ai_therapist.safety.crisis_classifier import load_classifier
from ai_therapist.serving.config import ServingConfig
from ai_therapist.serving.run import check_listening, is_loopback, make_server
from ai_therapist.serving.service import ChatService
from tests.serving.servers import CALM, says, serve, user

PASSWORD = "correct horse battery"


def service(**settings: object) -> ChatService:
    return ChatService(Speaker(says("Yes."), None, is_toy=True), None, ServingConfig.model_validate(settings))


def test_the_weights_of_the_crisis_gate_are_read_before_the_first_client() -> None:
    load_classifier.cache_clear()
    service()
    assert load_classifier.cache_info().currsize == 1


def certificate(folder: Path) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    x509 = pytest.importorskip("cryptography.x509")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost", "LOCALHOST"])
def test_loopback_addresses_need_nothing(host: str) -> None:
    assert is_loopback(host)
    make_server(service(host=host))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "10.0.0.1", "box", "localhost.evil.example", ""])
def test_any_other_address_needs_password_and_tls(host: str, tmp_path: Path) -> None:
    assert not is_loopback(host)
    cert, key = certificate(tmp_path)
    for settings, password in (({}, None), ({}, PASSWORD), ({"certificate": cert, "key": key}, None)):
        with pytest.raises(ConfigError, match="SERVE_PASSWORD"):
            make_server(service(host=host, **settings), password=password)
    make_server(service(host=host, certificate=cert, key=key), password=PASSWORD)


def test_half_settings_are_refused(tmp_path: Path) -> None:
    cert, _ = certificate(tmp_path)
    with pytest.raises(ConfigError, match="go together"):
        make_server(service(certificate=cert))
    with pytest.raises(ConfigError, match="at least 12"):
        make_server(service(), password="short")
    with pytest.raises(MissingInput, match=r"serving\.key"):
        make_server(service(certificate=cert, key=str(tmp_path / "none.pem")))
    with pytest.raises(MissingInput, match="no folder"):
        make_server(service(media_root=cert))


def test_a_certificate_or_key_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    none = tmp_path / "none.pem"
    none.write_text("no PEM")
    with pytest.raises(ConfigError, match=r"serving\.certificate: .*none\.pem") as refused:
        check_listening(ServingConfig(port=0, certificate=str(none), key=str(none)), None)
    assert refused.value.exit_code == 2
    cert, key = certificate(tmp_path)
    with pytest.raises(ConfigError, match=r"serving\.key: .*none\.pem"):
        check_listening(ServingConfig(port=0, certificate=cert, key=str(none)), None)
    with pytest.raises(ConfigError, match=r"serving\.certificate: .*key\.pem"):
        make_server(service(certificate=key, key=key))
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match=r"serving\.key: .*other.*not the key"):
        make_server(service(certificate=cert, key=certificate(tmp_path / "other")[1]))


def test_a_key_behind_a_passphrase_is_refused_and_nobody_is_asked_for_it(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    locked = serialization.load_pem_private_key(Path(key).read_bytes(), None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(key).write_bytes(locked)
    with pytest.raises(ConfigError, match=r"serving\.key"):
        check_listening(ServingConfig(port=0, certificate=cert, key=key), None)


def test_it_speaks_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    with serve(says("Yes."), password=PASSWORD, certificate=cert, key=key) as running:
        answer = httpx.get(
            f"https://127.0.0.1:{running.port}/v1/models",
            auth=("x", PASSWORD),
            verify=ssl.create_default_context(cafile=cert),
        )
        assert answer.status_code == 200


def test_a_fault_of_ours_is_told_without_its_words(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve(says("Yes.")) as running:

        def broken(*_: object, **__: object) -> None:
            raise RuntimeError("zanzibar")

        monkeypatch.setattr(running.service, "help", broken)
        answer = httpx.get(f"{running.url}/v1/helplines")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "fault")
        assert answer.headers["x-frame-options"] == "DENY"
        httpx.post(f"{running.url}/v1/chat/completions", json={"messages": [user(CALM)]})
    assert "zanzibar" not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text
    assert CALM not in caplog.text
