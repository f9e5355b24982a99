"""Fetch what a manifest names by pooch: whole, checked, and never twice.

naslora fetch vit_b        # into the cache
naslora fetch kvasir_seg --out data/ --unpack
"""

import logging
import os
import shutil
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from naslora_core.errors import UserError, fault, known
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


def entries() -> dict[str, Entry]:
    """Every entry of every manifest by its name."""
    import yaml

    found = {}
    for file in sorted(next(p for p in PLACES if p.is_dir()).glob("*.yml")):
        for name, facts in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).items():
            found[name] = Entry(name, **facts)
    return found


def cache() -> Path:
    """Where fetched files are kept: $NASLORA_CACHE, or the system's place for caches."""
    import pooch

    return Path(os.environ.get("NASLORA_CACHE") or pooch.os_cache("naslora"))


def fetch(what: str | Entry, folder: str | Path | None = None, progress: bool = True) -> Path:
    """The file of an entry, from `folder` (default: `cache()`) or, if it is not there, the network.

    Its md5 and sha256 are checked, as far as the manifest or the first download has them.
    UserError for a name that no manifest has, and with every address and what went wrong there.
    """
    import pooch

    pooch.get_logger().setLevel(logging.WARNING)
    if isinstance(what, str):
        what = entries()[known(what, entries(), "No manifest names")]
    path = Path(folder or cache()) / what.file
    if path.exists():
        return _checked(what, path)
    make_folder(path.parent)
    if what.bytes and (free := shutil.disk_usage(path.parent).free) < 1.05 * what.bytes:
        given, expected = f"has {free / 1e6:.0f} MB free", f"{what.bytes / 1e6:.0f} MB"
        raise fault(path.parent, given, expected, "make room, or name another folder")
    failures = []
    for url in (address for address in (what.url, *what.mirrors) for _ in range(ATTEMPTS)):
        try:
            get = pooch.HTTPDownloader(progressbar=progress, timeout=PATIENCE)
            pooch.retrieve(url, None, path.name, path.parent, downloader=get)
            return _checked(what, path)
        except Exception as error:  # of requests, pooch, the system: all mean "not this one"
            failures.append(f"{url} ({type(error).__name__}: {str(error)[:160]})")
            path.unlink(missing_ok=True)
    raise UserError(
        f"{what.file} could not be fetched: {'; '.join(dict.fromkeys(failures))}. Try again later, "
        f"or download it by hand to {path}."
    )


def _checked(item: Entry, path: Path) -> Path:
    """The file, with its sha256 kept beside it; UserError where it is not the one it should be."""
    from pooch import file_hash

    beside = path.with_name(f"{path.name}.sha256")
    first = beside.read_text().split()[0] if beside.exists() else None
    for kind, wanted in (("md5", item.md5), ("sha256", item.sha256), ("sha256", first)):
        if wanted and file_hash(str(path), kind) != wanted:
            remedy = "it is truncated or altered; delete it, and fetch it again"
            raise fault(path, f"has another {kind}", f"{wanted[:12]}...", remedy)
    if first is None:
        write_atomic(beside, f"{file_hash(str(path))}  {path.name}\n")
    return path


def unpack(archive: str | Path, folder: str | Path) -> Path:
    """Every member of a .zip into a new `folder`; UserError for one that is broken.
    Python's zipfile, which pooch calls, lets no member lead outside and makes no links."""
    import pooch

    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise UserError(f"{folder} is there already; remove it, or name another folder.")
    try:
        pooch.Unzip(extract_dir=str(folder.resolve()))(str(archive), "download", None)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError, ValueError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"{archive} does not unpack ({error}); fetch it again.") from error
    return folder
