"""The recorded results as dictionaries: one reader, and the packer that writes them.

A run is one JSON line of `FILE.jsonl`; "FILE/PART" names the lines of one part of it. Lines point
to `provenance.jsonl` (device, versions, commit, command and date, each combination once) and to
`scores.npz` (the scores of single images). A grid that runs writes one JSON a run into a folder
under build/, which `python -m naslora_core pack FOLDER NAME` turns into such lines.
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from naslora_core.errors import UserError
from naslora_core.files import write_atomic

RESULTS = Path(__file__).parent
DIGITS = 4  # of the scores of single images


def recorded(name: str, folder: Path = RESULTS) -> list[dict]:
    """The records of an experiment, or of a part of one ("planted/cell"), as they were packed.

    folder: where the files lie. UserError where nothing is recorded under this name.
    """
    found = [line for other, line in _all(folder, _file(name)) if other == name]
    if not found:
        names = ", ".join(experiments(folder))
        raise UserError(f"Nothing is recorded under {name!r} in {folder}; recorded are {names}.")
    made = {line.pop("id"): line for line in _read_lines(folder / "provenance.jsonl")}
    scores = _scores(folder) if any("scores" in line for line in found) else {}
    return [_whole(line, made, scores) for line in found]


def measured(name: str) -> dict:
    """The only record of this name ("measurements/bench"); UserError where there is none."""
    return recorded(name)[0]


def runs(place: str | Path, folder: Path = RESULTS) -> list[dict]:
    """Records of a folder of JSON files, in order of their names; else those `recorded`."""
    for path in (Path(place), folder / place):
        if path.is_dir():
            return [json.loads(file.read_text()) for file in sorted(path.glob("*.json"))]
    return recorded(str(place), folder)


def experiments(folder: Path = RESULTS) -> list[str]:
    """Every name that `recorded` knows, in order."""
    return list(dict.fromkeys(name for name, _ in _all(folder)))


def keep(name: str, records: Sequence[Mapping], folder: Path = RESULTS, add: bool = False) -> None:
    """Write the records in place of those of this name; add: behind them instead."""
    old = recorded(name, folder) if add and name in experiments(folder) else []
    provenance = {line["id"]: line for line in _read_lines(folder / "provenance.jsonl")}
    lines = [line for other, line in _all(folder, _file(name)) if other != name]
    arrays = {k: v for k, v in _scores(folder).items() if k.partition(":")[0] != name}
    part = name.partition("/")[2]
    for record in (*old, *records):
        line = ({"part": part} if part else {}) | dict(record)
        if isinstance(line.get("images"), Mapping):  # a number says how many were trained on
            line["scores"] = _put(arrays, name, line.pop("images"))
        given = line.pop("provenance")
        line["provenance"] = key = _digest(given)[:8]
        provenance[key] = {"id": key, **given}
        lines.append(line)
    _write_lines(folder / f"{_file(name)}.jsonl", lines)
    used = {line.get("provenance") for _, line in _all(folder)}
    _write_lines(folder / "provenance.jsonl", [p for k, p in provenance.items() if k in used])
    if arrays:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **dict(sorted(arrays.items())))
        write_atomic(folder / "scores.npz", buffer.getvalue())


def pack(source: Path, name: str, add: bool = False, folder: Path = RESULTS) -> int:
    """Pack a JSON file, or a folder of one a run, under a name; the number of records."""
    files = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not files or not all(file.is_file() for file in files):
        raise UserError(
            f"{source} holds no JSON record; name the file or folder of a finished run."
        )
    keep(name, [json.loads(file.read_text()) for file in files], folder, add)
    return len(files)


def _file(name: str) -> str:
    return name.partition("/")[0]


def _all(folder: Path, file: str = "*") -> Iterator[tuple[str, dict]]:
    """Name and line of everything that is recorded in these files."""
    for path in sorted(folder.glob(f"{file}.jsonl")):
        if path.stem != "provenance":
            for line in _read_lines(path):
                yield "/".join(filter(None, (path.stem, line.get("part")))), line


def _whole(line: dict, made: Mapping[str, dict], scores: Mapping[str, np.ndarray]) -> dict:
    """A line with its provenance and the scores of its images in full."""
    record = {k: v for k, v in line.items() if k not in ("part", "scores", "provenance")}
    record["provenance"] = dict(made[line["provenance"]])
    if "scores" in line:
        key, row = line["scores"]
        values = (scores[key][row] / 10**DIGITS).tolist()
        record["images"] = dict(zip(scores[f"{key}.names"].tolist(), values, strict=True))
    return record


def _read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _write_lines(path: Path, lines: Sequence[Mapping]) -> None:
    write_atomic(path, "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines))


def _digest(value) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _scores(folder: Path) -> dict[str, np.ndarray]:
    """KEY: integers `runs images 2` (Dice, IoU); KEY.names: the images' names."""
    path = folder / "scores.npz"
    return dict(np.load(path)) if path.exists() else {}


def _put(arrays: dict[str, np.ndarray], name: str, images: Mapping) -> list:
    """Append a run's scores to the array of its images; that array's key, and the row."""
    key = f"{name}:{_digest(list(images))[:6]}"
    row = np.round(np.array(list(images.values())) * 10**DIGITS).astype(np.uint16)[None]
    arrays[f"{key}.names"] = np.array(list(images))
    arrays[key] = np.concatenate([arrays[key], row]) if key in arrays else row
    return [key, len(arrays[key]) - 1]
