"""The ledger of what was sent knows every session that ever left; it forgets ids, never that a copy stays."""

from pathlib import Path

from ai_therapist.store.uploads import UPLOADS, Upload, load_uploads, note_upload
from ai_therapist.testing import make_digest, make_source

ONE, TWO = (make_source(name).session_id for name in ("one", "two"))


def make_upload(*sessions: str, commit: str | None = "abc", repository: str = "lab/talks") -> Upload:
    return Upload(
        kind="dataset",
        repository=repository,
        endpoint="https://hub.example",
        private=True,
        digest=make_digest("folder"),
        commit=commit,
        sessions=sessions,
        at="2026-01-01T00:00:00+00:00",
    )


def test_a_repository_has_one_entry_that_keeps_every_session_ever_sent(tmp_path: Path) -> None:
    note_upload(tmp_path, make_upload(ONE, commit=None))
    note_upload(tmp_path, make_upload(TWO))
    note_upload(tmp_path, make_upload(TWO, repository="lab/other"))
    other, talks = load_uploads(tmp_path).uploads
    assert (talks.commit, set(talks.sessions)) == ("abc", {ONE, TWO})
    assert other.repository == "lab/other"
    assert load_uploads(tmp_path).holding(ONE) == (talks,)


def test_a_forgotten_session_is_counted_and_not_named(tmp_path: Path) -> None:
    note_upload(tmp_path, make_upload(ONE, TWO))
    (left,) = load_uploads(tmp_path).without_session(ONE).uploads
    assert (left.sessions, left.forgotten) == ((TWO,), 1)
    (again,) = load_uploads(tmp_path).without_session(ONE).with_upload(make_upload(TWO)).uploads
    assert again.forgotten == 1
    assert load_uploads(tmp_path).without_session("ses_000000000000") == load_uploads(tmp_path)


def test_nothing_sent_is_an_empty_ledger(tmp_path: Path) -> None:
    assert load_uploads(tmp_path).uploads == ()
    assert not (tmp_path / UPLOADS).exists()
