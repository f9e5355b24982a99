"""Take an archive apart without trusting it: into a folder of its own, or not at all."""

import shutil
import stat
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from naslora_core.errors import UserError

MOST = 20 * 2**30  # bytes unpacked; a small archive can hold more than a disk


def unpack(archive: str | Path, folder: str | Path, most: int = MOST) -> Path:
    """Every member of a .zip into `folder`, which must not exist yet; returned.

    Every name is looked at first: none may be absolute, lead outside, or be a link. Unpacked aside
    and renamed. Raises UserError naming the archive, the member and the reason.
    """
    archive, folder = Path(archive), Path(folder)
    if folder.exists():
        raise UserError(f"{folder} is there already; remove it, or name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with zipfile.ZipFile(archive) as file:
            _look(archive, file.infolist(), most)
            file.extractall(aside)
        aside.chmod(0o755)  # mkdtemp's own is for one user alone
        aside.rename(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise UserError(f"{archive} does not unpack ({error}); fetch it again.") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return folder


def _look(archive: Path, members: list[zipfile.ZipInfo], most: int) -> None:
    total = sum(m.file_size for m in members)
    if total > most:
        raise UserError(
            f"{archive} would unpack to {total / 1e9:.1f} GB, more than {most / 1e9:.1f}; unpack "
            "it by hand if that is right."
        )
    for m in members:
        path = PurePosixPath(m.filename.replace("\\", "/"))
        link = stat.S_ISLNK(m.external_attr >> 16)
        if link or path.is_absolute() or ".." in path.parts or ":" in str(path)[:2]:
            why = "is a link" if link else "leads out of the folder"
            raise UserError(f"{archive} has a member {m.filename!r} that {why}; do not trust it.")
