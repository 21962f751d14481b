"""The exception tree is as its docstring draws it."""

import inspect

import pytest

from ai_therapist import errors
from ai_therapist.errors import bare_address


def test_docstring_draws_every_class() -> None:
    classes = [
        name for name, item in vars(errors).items() if inspect.isclass(item) and item.__module__ == errors.__name__
    ]
    assert errors.__doc__ is not None
    assert [name for name in classes if name not in errors.__doc__] == []


@pytest.mark.parametrize(
    ("kind", "code"),
    [(errors.ConfigError, 2), (errors.NotPermitted, 2), (errors.UnreadableMedia, 3), (errors.StoreError, 1)],
)
def test_exit_codes(kind: type[errors.AiTherapistError], code: int) -> None:
    assert kind.exit_code == code


def test_missing_extra_names_the_command() -> None:
    assert "pip install -c constraints.txt -e '.[speech]'" in str(
        errors.MissingExtra("transcription", "pocketsphinx", "speech")
    )


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://user:pass@host/a?key=k#part", "https://host/a"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("https://host/a@b", "https://host/a@b"),
        ("a folder", "a folder"),
        ("https://host/" + "a" * 200, "https://host/" + "a" * 67),
    ],
)
def test_a_message_shows_an_address_without_its_secrets(address: str, shown: str) -> None:
    assert bare_address(address) == shown
