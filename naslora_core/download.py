"""Fetch what a manifest names: whole, verified, and never twice.

    python -m naslora_core fetch vit_b        # into the cache
    python -m naslora_core fetch kvasir_seg --out data/

Nothing here runs on import.
"""

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from naslora_core.errors import UserError, known
from naslora_core.files import make_folder, write_atomic

PLACES = Path(__file__).parent / "data_manifests", Path(__file__).parents[1] / "data_manifests"
ATTEMPTS = 3  # at each address
PATIENCE = 30.0  # seconds without a byte


@dataclass(frozen=True)
class Entry:
    """What a manifest says of one file; None or empty where nobody says it."""

    name: str
    file: str
    url: str
    licence: str
    citation: str
    mirrors: tuple[str, ...] = ()
    md5: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    classes: str = ""
    layout: str = ""

    @property
    def known(self) -> str | None:
        """Its checksum, as pooch spells one."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}" if self.md5 else None


def entries(folder: Path | None = None) -> dict[str, Entry]:
    """Every entry of every manifest by its name."""
    import yaml

    where = folder or next(p for p in PLACES if p.is_dir())
    found = {}
    for file in sorted(where.glob("*.yml")):
        for name, facts in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items():
            facts["mirrors"] = tuple(facts.get("mirrors", ()))
            found[name] = Entry(name, **facts)
    return found


def entry(name: str) -> Entry:
    """The entry of that name; UserError with the names there are."""
    found = entries()
    return found[known(name, found, "No manifest names")]


def cache() -> Path:
    """Where fetched files are kept: $NASLORA_CACHE, or the system's place for caches."""
    import pooch

    return Path(os.environ.get("NASLORA_CACHE") or pooch.os_cache("naslora"))


def fetch(what: str | Entry, folder: str | Path | None = None, progress: bool = True) -> Path:
    """The file of an entry, from `folder` (default: `cache()`) or, if it is not there, the network.

    Checked against its checksum, or against that of the first download; written aside and moved
    into place once it is right, so a file that is there is whole. UserError naming every address
    and what went wrong, and how to get it by hand.
    """
    item = entry(what) if isinstance(what, str) else what
    path = Path(folder or cache()) / item.file
    if path.exists():
        return _checked(item, path)
    make_folder(path.parent)
    _room(item, path)
    failures = []
    for url in (item.url, *item.mirrors):
        try:
            _download(item, url, path, progress)
            return _recorded(item, path)
        except (
            Exception
        ) as error:  # of requests, urllib3, pooch, the system: all mean "not this one"
            failures.append(f"{url} ({type(error).__name__}: {str(error)[:160]})")
    raise UserError(
        f"{item.file} could not be fetched: {'; '.join(failures)}. Try again later, or download it "
        f"by hand to {path}."
    )


def _download(item: Entry, url: str, path: Path, progress: bool) -> None:
    import pooch
    from pooch.core import stream_download

    pooch.get_logger().setLevel(logging.WARNING)
    get = pooch.HTTPDownloader(progressbar=progress, timeout=PATIENCE)
    stream_download(url, path, _registered(path) or item.known, get, retry_if_failed=ATTEMPTS - 1)


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _registered(path: Path) -> str | None:
    """The checksum of the first download, if there was one."""
    file = _beside(path)
    return f"sha256:{file.read_text().split()[0]}" if file.exists() else None


def _recorded(item: Entry, path: Path) -> Path:
    """Keep the sha256 of what has just come; UserError where its size is not the manifest's."""
    size = path.stat().st_size
    if item.bytes and size != item.bytes:
        path.unlink()
        raise UserError(f"{size} bytes came, the manifest says {item.bytes}")
    if not _beside(path).exists():
        write_atomic(_beside(path), f"{sha256(path)}  {path.name}\n")
    return path


def _checked(item: Entry, path: Path) -> Path:
    """A file that is there already, if it is the right one."""
    wanted = _registered(path)
    if wanted is None:  # put there by hand
        if item.known and _hash(path, item.known.split(":")[0]) != item.known.split(":")[1]:
            raise UserError(_altered(path, item.known))
        return _recorded(item, path)
    if sha256(path) != wanted.split(":")[1]:
        raise UserError(_altered(path, wanted))
    return path


def _altered(path: Path, wanted: str) -> str:
    return (
        f"{path} does not have the checksum {wanted[:19]}... that it should: truncated or altered; "
        "delete it, and fetch it again."
    )


def sha256(path: Path) -> str:
    """Hex digest of a file of any size."""
    return _hash(path, "sha256")


def _hash(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _room(item: Entry, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if item.bytes and free < 1.05 * item.bytes:
        raise UserError(
            f"{item.file} has {item.bytes / 1e6:.0f} MB, {path.parent} has {free / 1e6:.0f} MB "
            "free; make room, or name another folder."
        )


def command(arguments) -> None:
    """What `python -m naslora_core fetch` does: list the entries, or fetch one."""
    if not arguments.name:
        for item in entries().values():
            size = f"{item.bytes / 1e6:.0f} MB" if item.bytes else "size unknown"
            print(f"{item.name:>13}  {size:>12}  {item.licence}; {item.citation}")
        return
    path = fetch(arguments.name, arguments.out)
    print(path)
    if arguments.unpack:
        from naslora_core.unpack import unpack

        print(unpack(path, path.with_suffix("")))
