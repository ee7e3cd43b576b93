"""Fetching from a server on this machine that answers well, wrongly, late, or without end."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import threading
import time
from collections import namedtuple
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fastadv.cli.app import main
from fastadv.datasets import fetch as fetch_module
from fastadv.datasets import published
from fastadv.datasets.fetch import fetch
from fastadv.datasets.published import File, Published
from fastadv.errors import InputError

pytest.importorskip("pooch")

SLOW = "less than 16 kB came in 0.2 seconds"
AMPLE = 1.0  # seconds for 16 kB of a server that is not slow, on a machine that is busy
GOOD = {"one.gz": b"1" * 300_000, "two.gz": b"2" * 10}


class Server(ThreadingHTTPServer):
    """Serves each file under /good, and otherwise as the first folder of its address says."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.ends = threading.Event()  # of those who wait for more
        self.together = threading.Barrier(2)

    def at(self, how: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}/{how}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        _, how, name = self.path.split("/")
        with suppress(ConnectionError):  # they have hung up
            getattr(self, how)(GOOD[name])

    def begin(self, length: int | None, **headers: str) -> None:
        self.send_response(200)
        if length is not None:
            headers["Content-Length"] = str(length)
        for header, value in headers.items():
            self.send_header(header.replace("_", "-"), value)
        self.end_headers()

    def good(self, data: bytes) -> None:
        self.begin(len(data))
        self.wfile.write(data)

    def wrong(self, data: bytes) -> None:
        self.good(data[:-1] + b"?")

    def page(self, data: bytes) -> None:
        self.good(b"<html>They have moved.</html>")

    def encoded(self, data: bytes) -> None:
        self.begin(len(data), Content_Encoding="gzip")
        self.wfile.write(data)

    def together(self, data: bytes) -> None:
        self.server.together.wait(10)
        self.good(data)

    def absent(self, data: bytes) -> None:
        self.send_error(404)

    def broken(self, data: bytes) -> None:
        self.send_error(500)

    def cut(self, data: bytes) -> None:
        self.begin(len(data))
        self.wfile.write(data[: len(data) // 2])

    def stuck(self, data: bytes) -> None:
        self.cut(data)
        self.server.ends.wait(10)

    def unsized(self, data: bytes) -> None:
        self.begin(None)
        self.wfile.write(data)

    def elsewhere(self, data: bytes) -> None:
        self.redirect(self.server.at("good", "localhost"))

    def circle(self, data: bytes) -> None:
        self.redirect(self.server.at("circle"))

    def nowhere(self, data: bytes) -> None:
        self.redirect("file:///etc/")

    def slow_redirect(self, data: bytes) -> None:
        self.redirect(self.server.at("good"))
        self.drip(b"1")

    def redirect(self, folder: str) -> None:
        self.send_response(302)
        self.send_header("Location", folder + self.path.rpartition("/")[2])
        self.end_headers()

    def endless(self, data: bytes) -> None:
        self.begin(None)
        while not self.server.ends.is_set():
            self.wfile.write(bytes(100_000))

    def huge(self, data: bytes) -> None:
        self.begin(3_000_000)

    def moving(self, data: bytes) -> None:
        self.begin(len(data))
        for start in range(0, len(data), 50_000):
            self.wfile.write(data[start : start + 50_000])
            time.sleep(AMPLE / 4)  # longer than that in all

    def slow(self, data: bytes) -> None:
        self.begin(len(data))
        self.drip(b"1")

    def slow_chunks(self, data: bytes) -> None:
        self.begin(None, Transfer_Encoding="chunked")
        self.drip(b"1\r\n1\r\n")

    def slow_headers(self, data: bytes) -> None:
        self.send_response(200)
        self.flush_headers()
        self.drip(b"X: 1\r\n")

    def drip(self, drop: bytes) -> None:
        while not self.server.ends.wait(0.01):
            self.wfile.write(drop)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server():
    with Server() as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.ends.set()
        serving.shutdown()
        thread.join()


@pytest.fixture
def offer(server, monkeypatch, tmp_path):
    """Return a function that publishes the two files as ``some``, at these mirrors."""
    monkeypatch.setenv("FASTADV_DATA", str(tmp_path / "data"))

    def publish(*mirrors):
        files = tuple(
            File(name, f"sha256:{hashlib.sha256(data).hexdigest()}") for name, data in GOOD.items()
        )
        addresses = tuple(server.at(m) if "/" not in m else m for m in mirrors)
        monkeypatch.setitem(published.PUBLISHED, "some", Published("some", files, addresses, 1))
        return tmp_path / "data" / "some"

    return publish


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def fault(**options):
    """Return the line of the fault."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - what else would it be
        fetch("some", **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_files_are_fetched_once(server, offer):
    folder = offer("good")
    assert fetch("some") == [folder / "one.gz", folder / "two.gz"]
    assert left(folder) == ["one.gz", "two.gz"]
    assert (folder / "one.gz").read_bytes() == GOOD["one.gz"]
    fetch("some")
    assert server.asked == ["/good/one.gz", "/good/two.gz"]
    (folder / "two.gz").write_bytes(b"damaged")
    fetch("some")
    assert server.asked[2:] == ["/good/two.gz"]
    assert (folder / "two.gz").read_bytes() == GOOD["two.gz"]


def test_a_server_that_calls_gz_an_encoding_is_not_unpacked(offer):
    folder = offer("encoded")
    fetch("some")
    assert (folder / "one.gz").read_bytes() == GOOD["one.gz"]


@pytest.mark.parametrize("how", ["unsized", "elsewhere", "moving", "slow_redirect"])
def test_what_is_odd_or_slow_and_whole_is_kept(offer, how):
    folder = offer(how)
    fetch("some", timeout=AMPLE)
    assert {name: (folder / name).read_bytes() for name in GOOD} == GOOD


def test_a_folder_of_ones_own(offer, tmp_path):
    offer("good")
    assert fetch("some", tmp_path / "mine")[0] == tmp_path / "mine" / "some" / "one.gz"


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("wrong", "other data than were published"),
        ("cut", "the connection was cut"),
        ("stuck", SLOW),
        ("slow", SLOW),
        ("slow_chunks", SLOW),
        ("slow_headers", SLOW),
        ("endless", "other data than were published"),
        ("huge", "other data than were published"),
        ("page", "other data than were published"),
        ("absent", "HTTP 404"),
        ("broken", "HTTP 500"),
        ("circle", "it redirects without end"),
        ("nowhere", "it redirects to what is no address"),
    ],
)
def test_a_mirror_that_fails_leaves_nothing_and_the_next_is_tried(server, offer, how, says):
    folder = offer(how)
    assert fault(timeout=0.2 if says == SLOW else 30) == (
        f"one.gz could not be fetched (127.0.0.1:{server.server_port}: {says}); try again, or put "
        f"it by hand into {folder}"
    )
    assert left(folder) == []
    offer(how, "good")
    fetch("some", timeout=AMPLE if says == SLOW else 30)
    assert left(folder) == ["one.gz", "two.gz"]


def test_without_a_network_one_line_says_what_to_put_where(offer, capsys):
    folder = offer("http://127.0.0.1:9/")
    assert "one.gz could not be fetched (127.0.0.1:9: no connection); try again" in fault()
    assert main(["data", "fetch", "some"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "fastadv: one.gz could not be fetched (127.0.0.1:9: no connection); try again, or put it by "
        f"hand into {folder}\n"
    )


def test_a_damaged_file_stays_until_there_is_a_whole_one(offer):
    folder = offer("cut")
    folder.mkdir(parents=True)
    (folder / "one.gz").write_bytes(b"old")
    fault()
    assert left(folder) == ["one.gz"]
    assert (folder / "one.gz").read_bytes() == b"old"


def test_no_room_is_seen_before_a_byte_is_written(offer, monkeypatch):
    folder = offer("good")
    Usage = namedtuple("Usage", "total used free")
    monkeypatch.setattr(fetch_module.shutil, "disk_usage", lambda _: Usage(0, 0, 299_999))
    assert fault() == (
        f"{folder}: one.gz cannot be kept (it takes 300 kB, and 300 kB are free; choose another "
        "folder by --to or FASTADV_DATA)"
    )
    assert left(folder) == []


def test_no_room_in_the_middle_leaves_nothing(offer):
    folder = offer("good")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert fault() == f"{folder}: one.gz cannot be kept (File too large)"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(folder) == []


def test_ctrl_c_leaves_nothing(offer, capsys, monkeypatch):
    folder = offer("stuck")
    begin = Handler.stuck

    def stuck(self, data):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        begin(self, data)

    monkeypatch.setattr(Handler, "stuck", stuck)
    assert main(["data", "fetch", "some"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "fastadv: stopped"
    assert left(folder) == []


def test_two_at_once(offer):
    folder = offer("together")
    done = []
    threads = [threading.Thread(target=lambda: done.append(fetch("some"))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(done) == 2
    assert left(folder) == ["one.gz", "two.gz"]
    assert {name: (folder / name).read_bytes() for name in GOOD} == GOOD


def test_a_folder_that_cannot_be_made(offer, tmp_path):
    offer("good")
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot make the folder"):
        fetch("some", tmp_path / "file")


def test_progress_adds_up(offer):
    offer("good")

    class Told:
        def __init__(self):
            self.files = {}

        def begin(self, file, total):
            self.pieces = self.files[file] = [total]

        def advance(self, n_bytes):
            self.pieces.append(n_bytes)

    told = Told()
    fetch("some", progress=told)
    for name, data in GOOD.items():
        total, *pieces = told.files[name]
        assert total == len(data)
        assert sum(pieces) == total


def test_the_command(offer, capsys, tmp_path):
    folder = offer("good")
    assert main(["data", "fetch", "some"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(folder / "one.gz"), str(folder / "two.gz")]
    assert err.splitlines() == ["fetching one.gz", "fetching two.gz"]
    assert main(["data", "fetch", "some", "--to", str(tmp_path / "mine")]) == 0
    err = capsys.readouterr().err
    assert f"FASTADV_DATA={tmp_path / 'mine'} lets fastadv find it there: --dataset some" in err
    assert main(["data", "fetch", "sme"]) == 2
    assert "there is no 'sme' to fetch; did you mean some?" in capsys.readouterr().err


def test_md5_is_said(offer, capsys, monkeypatch):
    offer("good")
    known = published.PUBLISHED["some"]
    weak = tuple(File(n, f"md5:{hashlib.md5(d).hexdigest()}") for n, d in GOOD.items())
    monkeypatch.setitem(published.PUBLISHED, "some", known._replace(files=weak))
    assert main(["data", "fetch", "some"]) == 0
    assert "known by MD5 alone" in capsys.readouterr().err


def test_without_pooch(offer, monkeypatch):
    offer("good")
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(InputError, match=r"pip install pooch"):
        fetch("some")


def test_where_data_are_kept(monkeypatch):
    monkeypatch.delenv("FASTADV_DATA", raising=False)
    assert published.data_folder().parts[-2:] == ("fastadv", "data")
    monkeypatch.setenv("FASTADV_DATA", "~/sets")
    assert published.data_folder() == published.Path.home() / "sets"


def test_every_checksum_and_name_is_well_formed():
    lengths = {"sha256": 64, "md5": 32}
    for name, known in published.PUBLISHED.items():
        assert known.name == name
        assert all(mirror.endswith("/") for mirror in known.mirrors)
        for file in known.files:
            kind, _, digits = file.checksum.partition(":")
            assert len(digits) == lengths[kind]
            int(digits, 16)
