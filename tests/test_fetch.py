"""Downloads from a server on loopback that truncates, corrupts, redirects and stalls."""

import hashlib
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from naslora_core import download as fetching
from naslora_core.download import Entry, entries, fetch, unpack
from naslora_core.errors import UserError

CONTENT = bytes(range(256)) * 400
SHA, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


class Server(BaseHTTPRequestHandler):
    """Each path is a way to answer; `asked` counts them."""

    asked: list[str] = []

    def do_GET(self):
        way = self.path.strip("/")
        self.asked.append(way)
        if way == "flaky" and self.asked.count("flaky") == 1:
            way = "truncate"
        if way == "redirect":
            self.send_response(302)
            self.send_header("Location", "/whole")
            return self.end_headers()
        if way == "absent":
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        if way == "stall":
            self.wfile.write(CONTENT[:1000])
            self.wfile.flush()
            time.sleep(3)
        elif way == "truncate":
            self.wfile.write(CONTENT[:1000])
        else:
            self.wfile.write(CONTENT[::-1] if way == "corrupt" else CONTENT)

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture(scope="module")
def address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(fetching, "PATIENCE", 0.5)
    monkeypatch.setattr(fetching, "ATTEMPTS", 1)
    Server.asked.clear()


def item(address: str, *ways: str, **facts) -> Entry:
    urls = [f"{address}/{way}" for way in ways]
    return Entry("thing", "thing.bin", urls[0], "CC0", "nobody", tuple(urls[1:]), **facts)


@pytest.mark.parametrize("known", [{"sha256": SHA}, {"md5": MD5}, {}])
@pytest.mark.parametrize("way", ["whole", "redirect"])
def test_a_whole_file_arrives_once(address, tmp_path, way, known):
    thing = item(address, way, bytes=len(CONTENT), **known)
    path = fetch(thing, tmp_path, progress=False)
    assert path.read_bytes() == CONTENT
    assert (tmp_path / "thing.bin.sha256").read_text().split()[0] == SHA
    asked = len(Server.asked)
    assert fetch(thing, tmp_path, progress=False) == path and len(Server.asked) == asked


@pytest.mark.parametrize(
    "way, facts, reason",
    [
        ("truncate", {}, "IncompleteRead|incomplete|Connection"),
        ("corrupt", {"sha256": SHA}, "sha256"),
        ("corrupt", {"md5": MD5, "sha256": hashlib.sha256(CONTENT[::-1]).hexdigest()}, "md5"),
        ("corrupt", {"sha256": SHA, "md5": hashlib.md5(CONTENT[::-1]).hexdigest()}, "sha256"),
        ("corrupt", {"md5": MD5}, "md5"),
        ("stall", {}, "[Tt]imed out|Timeout"),
        ("absent", {}, "404"),
    ],
)
def test_a_wrong_file_leaves_nothing_and_says_why(address, tmp_path, way, facts, reason):
    with pytest.raises(UserError, match=reason) as told:
        fetch(item(address, way, **facts), tmp_path, progress=False)
    assert f"/{way} (" in str(told.value) and "by hand" in str(told.value)
    assert list(tmp_path.iterdir()) == []


def test_it_tries_again_and_then_a_mirror(address, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "ATTEMPTS", 2)
    fetch(item(address, "flaky", sha256=SHA), tmp_path / "a", progress=False)
    assert Server.asked == ["flaky", "flaky"]
    fetch(item(address, "absent", "whole", sha256=SHA), tmp_path / "b", progress=False)
    assert Server.asked[2:] == ["absent", "absent", "whole"]


def test_what_came_first_is_what_must_come_again(address, tmp_path):
    path = fetch(item(address, "whole"), tmp_path, progress=False)
    path.unlink()
    with pytest.raises(UserError, match="sha256"):
        fetch(item(address, "corrupt"), tmp_path, progress=False)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(UserError, match="truncated or altered; delete it"):
        fetch(item(address, "whole"), tmp_path, progress=False)


def test_a_file_put_there_by_hand_is_checked(address, tmp_path):
    (tmp_path / "thing.bin").write_bytes(CONTENT)
    fetch(item(address, "absent", md5=MD5), tmp_path)
    assert Server.asked == []
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thing.bin").write_bytes(b"x")
    with pytest.raises(UserError, match="truncated or altered"):
        fetch(item(address, "absent", md5=MD5), tmp_path / "other")


def test_no_room_is_told_before_anything_comes(address, tmp_path):
    with pytest.raises(UserError, match="MB free.*make room"):
        fetch(item(address, "whole", bytes=10**18), tmp_path)
    assert Server.asked == []


def test_the_manifests_say_what_they_must():
    found = entries()
    assert {"vit_b", "vit_l", "vit_h", "kvasir_seg", "cwfid"} <= found.keys()
    for name, thing in found.items():
        assert all(url.startswith("https://") for url in (thing.url, *thing.mirrors)), name
        assert thing.licence and thing.citation and "/" not in thing.file, name
        if name.startswith("vit_"):
            assert thing.md5.startswith(thing.file[-10:-4]) and thing.bytes, name
            assert len(thing.sha256) == 64, name
        else:
            assert thing.classes and thing.layout, name
    with pytest.raises(UserError, match="'vit_x'; choose one of .*vit_b"):
        fetch("vit_x")


def archive(path, *members):
    with zipfile.ZipFile(path, "w") as file:
        for name, link in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if link else 0o100644) << 16
            file.writestr(info, "../../x" if link else "text")
    return path


def test_a_good_archive_unpacks_and_nothing_is_overwritten(tmp_path):
    file = archive(tmp_path / "a.zip", ("a/b.txt", False), ("c.txt", False))
    folder = unpack(file, tmp_path / "a")
    assert (folder / "a" / "b.txt").read_text() == (folder / "c.txt").read_text() == "text"
    with pytest.raises(UserError, match="is there already"):
        unpack(file, folder)


@pytest.mark.parametrize("name, link", [
    ("../x", False), ("a/../../x", False), ("/etc/x", False), ("..\\x", False), ("a", True),
])  # fmt: skip
def test_no_member_leads_outside_and_none_becomes_a_link(tmp_path, name, link):
    file = archive(tmp_path / "a.zip", ("good.txt", False), (name, link))
    unpack(file, tmp_path / "out" / "a")
    made = [p for p in tmp_path.rglob("*") if p != file]
    assert all(p.is_relative_to(tmp_path / "out") and not p.is_symlink() for p in made)
    assert sum(p.is_file() for p in made) == 2


def test_a_broken_archive_leaves_nothing(tmp_path):
    (tmp_path / "b.zip").write_bytes(b"PK nothing")
    with zipfile.ZipFile(tmp_path / "c.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x", bytes(range(256)) * 64)
    data = bytearray((tmp_path / "c.zip").read_bytes())
    data[31:61] = bytes(30)  # inside of the packed member
    (tmp_path / "c.zip").write_bytes(data)
    for name in "bc":
        with pytest.raises(UserError, match="does not unpack"):
            unpack(tmp_path / f"{name}.zip", tmp_path / name)
        assert not (tmp_path / name).exists()
