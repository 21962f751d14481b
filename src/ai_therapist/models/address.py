"""Where an OpenAI-compatible server is, and whether that is this machine: what leaves it needs a permission."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from ai_therapist.errors import ConfigError

OFFICIAL_URL = "https://api.openai.com/v1"
_SCHEMES = frozenset({"http", "https"})
_LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def base_url() -> str:
    """OPENAI_BASE_URL, or OpenAI's own address where it is not set, without a slash at its end."""
    return (os.environ.get("OPENAI_BASE_URL") or OFFICIAL_URL).rstrip("/")


def is_loopback(url: str) -> bool:
    """Whether an address is that of this very machine, by its name or number alone; nothing is looked up."""
    host = (urlsplit(url).hostname or "").rstrip(".").lower()
    if host in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(url: str, name: str) -> None:
    """Raises ConfigError where an address is not of http or https, or sends in the clear to another machine."""
    parts = urlsplit(url)
    if parts.scheme not in _SCHEMES or not parts.hostname:
        raise ConfigError(f"{name} must be an address that begins with https:// (or http:// on this machine)")
    if parts.scheme == "http" and not is_loopback(url):
        raise ConfigError(f"{name} would send what people said unencrypted to another machine: use https://")
