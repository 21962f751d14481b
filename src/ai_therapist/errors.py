"""Every exception of the toolkit.

    AiTherapistError
    ├── RequestError          what was asked cannot be done; nothing was changed          exit code 2
    │   ├── ConfigError       an unknown key, a wrong value, a missing file of settings
    │   ├── MissingInput      a path, record or earlier stage that is not there
    │   ├── MissingExtra      a package that the chosen part needs is not installed
    │   ├── NotPermitted      the consent record does not allow this use, or the rules not this address
    │   └── SourcePaused      a platform asks for a pause; the source is left alone for now
    ├── ItemError             one item cannot be processed; it is quarantined, the rest goes on   exit code 3
    │   ├── UnreadableMedia   not a recording, or one that breaks off
    │   ├── InvalidRecord     bytes that are not the record they should be
    │   ├── NoAnswer          a model was asked and did not answer: it refused, was blocked, was cut off
    │   └── CannotTake        a model does not accept what it was to be shown
    ├── TransientError        worth another attempt: a busy server, a worker that died
    │   └── ServerBusy        a server says that it was asked too often, and perhaps when to come back
    ├── Postponed             nothing is wrong with the item, but its turn is later: a budget is used up, a server is
    │                         down; it is skipped with this reason and done by the next run          exit code 3
    └── StoreError            the disk fails, or the store holds what it must not hold    exit code 1

Messages name ids, files and fields, never what a person said.
"""

from typing import ClassVar


class AiTherapistError(Exception):
    """Base of every error the toolkit raises on purpose."""

    exit_code: ClassVar[int] = 1


class RequestError(AiTherapistError):
    """What was asked cannot be done as asked; nothing was changed."""

    exit_code = 2


class ConfigError(RequestError):
    """A setting is unknown, of the wrong type or out of range."""


class MissingInput(RequestError):
    """A path, record or result of an earlier stage that the request needs is not there."""


class MissingExtra(RequestError):
    """A package that the chosen part needs is not installed."""

    def __init__(self, part: str, package: str, extra: str) -> None:
        super().__init__(f"{part} needs {package!r}: install it with  {install_command(extra)}  where the project lies")


class NotPermitted(RequestError):
    """The consent record does not allow the use that was asked for, or an address breaks the rules of the web door."""


class SourcePaused(RequestError):
    """A platform that recordings come from asks for a pause: nothing more is fetched from it for now."""


class ItemError(AiTherapistError):
    """One item cannot be processed: it is set aside with this reason and the rest goes on."""

    exit_code = 3


class UnreadableMedia(ItemError):
    """A file that is no recording, is of a kind that is not accepted, or breaks off."""


class InvalidRecord(ItemError):
    """Bytes that do not hold the record they should; names the place, the fields and the kind of error."""


class NoAnswer(ItemError):
    """A model was asked and did not answer. `reply` is what it wrote instead, which is never part of the message."""

    def __init__(self, message: str, reply: str | None = None) -> None:
        super().__init__(message)
        self.reply = reply


class CannotTake(ItemError):
    """A model does not accept a clip, a picture or a sound that it was to be shown; words alone may do."""


class TransientError(AiTherapistError):
    """A failure that another attempt may cure."""


class ServerBusy(TransientError):
    """A server was asked too often. `retry_after_s` is when it wants to be asked again, where it says so."""

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Postponed(AiTherapistError):
    """Nothing is wrong with the item, but it must wait for the next run: a budget, a ceiling, a server that is down."""

    exit_code = 3


class StoreError(AiTherapistError):
    """The disk fails, or the store holds something it must not hold, as a blob that does not match its name."""


def install_command(extra: str) -> str:
    """What brings an extra, in the folder of the project: no package index has it."""
    return f"pip install -c constraints.txt -e '.[{extra}]'"


def bare_address(text: str) -> str:
    """An address as a message may show it: at most 80 characters, without user, password, query and fragment."""
    start, slashes, rest = text.partition("//")
    host, slash, path = rest.partition("/")
    bare = f"{start}{slashes}{host.rpartition('@')[2]}{slash}{path}"
    return bare.partition("?")[0].partition("#")[0][:80]
