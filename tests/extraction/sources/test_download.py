"""yt-dlp downloads one video with fixed options. The server is on this machine, the extractor the generic one:
this proves the way of a download, not the extractor for YouTube."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer
from yt_dlp.utils import DownloadError, ExtractorError

from ai_therapist.errors import ItemError, RequestError, SourcePaused, TransientError
from ai_therapist.extraction.sources import download as module
from ai_therapist.extraction.sources.download import DownloadConfig, download
from ai_therapist.testing import RecordingSpec, make_recording

VIDEO = "abcdefghij-"


@dataclass(frozen=True)
class Site:
    """A server with videos, and the rules that let it be asked."""

    server: HTTPServer
    config: DownloadConfig
    video: bytes


@pytest.fixture
def site(httpserver: HTTPServer, tmp_path: Path) -> Iterator[Site]:
    content = make_recording(tmp_path / "made.mp4", RecordingSpec(duration_ms=400)).read_bytes()
    httpserver.expect_request(f"/{VIDEO}.mp4").respond_with_data(content, content_type="video/mp4")
    config = DownloadConfig(
        address=httpserver.url_for("/{id}.mp4"),
        extractor="generic",
        own_addresses=frozenset(("127.0.0.1",)),
        max_bytes=1 << 20,
        pause_s=0,
    )
    yield Site(httpserver, config, content)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def test_a_video_comes_as_one_file(site: Site, folder: Path) -> None:
    path = download(VIDEO, site.config, folder)
    assert path == folder / "recording.mp4"
    assert path.read_bytes() == site.video


def test_without_the_permission_this_machine_is_not_connected_to(site: Site, folder: Path) -> None:
    with pytest.raises(ItemError, match=f"{VIDEO}: a server led to an address that is not public"):
        download(VIDEO, site.config.model_copy(update={"own_addresses": frozenset()}), folder)
    assert site.server.log == []


def test_a_redirect_to_a_forbidden_address_is_not_followed(site: Site, folder: Path) -> None:
    site.server.expect_request("/away.mp4").respond_with_data(
        "", status=302, headers={"Location": f"http://localhost:{site.server.port}/{VIDEO}.mp4"}
    )
    forbidden = {"Location": f"http://127.0.0.2:{site.server.port}/{VIDEO}.mp4"}
    site.server.expect_request("/inside.mp4").respond_with_data("", status=302, headers=forbidden)
    assert download("away", site.config, folder).exists()
    (folder / "recording.mp4").unlink()
    with pytest.raises(ItemError, match="not public"):
        download("inside", site.config, folder)


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (404, ItemError, "is deleted or not shown"),
        (410, ItemError, "is deleted or not shown"),
        (429, SourcePaused, "YouTube asks whether a person is there"),
        (500, TransientError, "failed to download"),
    ],
)
def test_an_answer_that_is_no_video_is_told_apart(
    status: int, kind: type[Exception], reason: str, site: Site, folder: Path
) -> None:
    site.server.expect_request("/gone.mp4").respond_with_data("no", status=status)
    with pytest.raises(kind, match=reason):
        download("gone", site.config, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "kind", "reason"),
    [
        ("Sign in to confirm you’re not a bot. Use --cookies-from-browser", SourcePaused, "a person"),
        ("Sign in to confirm your age. This video may be inappropriate", ItemError, "adults only"),
        ("Private video. Sign in if you've been granted access", ItemError, "is private"),
        ("Video unavailable. This video has been removed by the uploader", ItemError, "is deleted"),
        ("This video is no longer available because the account has been terminated", ItemError, "is deleted"),
        ("Join this channel to get access to members-only content", ItemError, "members or buyers"),
        ("Requested format is not available", ItemError, "no single file"),
        ("Unable to download webpage: timed out", TransientError, "keep yt-dlp up to date"),
    ],
)
def test_what_youtube_says_is_told_in_our_words(
    text: str, kind: type[Exception], reason: str, site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the sentence is made here; it takes yt-dlp's own way through its errors."""
    from yt_dlp.extractor.generic import GenericIE

    def fail(self: object, url: str) -> None:
        raise ExtractorError(f"{text} Title Of What They Said", expected=True)

    monkeypatch.setattr(GenericIE, "_real_extract", fail)
    with pytest.raises(kind, match=reason) as told:
        download(VIDEO, site.config, folder)
    assert "Title" not in str(told.value)


def test_other_files_and_too_large_ones_are_no_recordings(site: Site, folder: Path) -> None:
    small = site.config.model_copy(update={"max_bytes": 1000})
    with pytest.raises(ItemError, match="is larger than 1000 bytes"):
        download(VIDEO, small, folder)
    site.server.expect_request("/list.mp4").respond_with_data("#EXTM3U\n", content_type="application/x-mpegurl")
    with pytest.raises((ItemError, TransientError)):
        download("list", site.config, folder)
    for name in ("recording.exe", "recording.mp4"):
        (folder / name).write_bytes(b"x")
    with pytest.raises(ItemError, match="came as 2 files"):
        module._single_file(VIDEO, site.config, folder)
    (folder / "recording.mp4").unlink()
    with pytest.raises(ItemError, match="which is no recording"):
        module._single_file(VIDEO, site.config, folder)


def test_another_extractor_does_not_answer(site: Site, folder: Path) -> None:
    with pytest.raises((ItemError, TransientError)):
        download(VIDEO, site.config.model_copy(update={"extractor": "youtube"}), folder)
    assert site.server.log == []


def test_settings_plugins_and_proxies_of_the_machine_change_nothing(
    site: Site, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    for place in (home / ".config" / "yt-dlp" / "config", home / "yt-dlp.conf"):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f'--exec "touch {tmp_path / "pwned"}"\n--output "{tmp_path / "elsewhere"}"\n')
    plugin = tmp_path / "path" / "yt_dlp_plugins" / "extractor" / "evil.py"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')\n")
    (home / ".netrc").write_text("machine 127.0.0.1 login x password y\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / ".config"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.chdir(home)
    assert download(VIDEO, site.config, folder).read_bytes() == site.video
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "elsewhere").exists()
    assert not [name for name in sys.modules if name.startswith("yt_dlp_plugins.")]
    assert all("Authorization" not in request.headers for request, _ in site.server.log)


def test_an_old_yt_dlp_is_refused(site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: "2026.06.09")
    with pytest.raises(RequestError, match=r"yt-dlp 2026\.06\.09 has known holes"):
        download(VIDEO, site.config, folder)


def test_an_error_without_a_cause_is_transient() -> None:
    assert isinstance(module._meaning(VIDEO, DownloadError("odd")), TransientError)
