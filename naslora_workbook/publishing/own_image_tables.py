"""Tables of what is measured for images of one's own: tiles, the matched head, loading."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from naslora_workbook.publishing.result_tables import source, table
from naslora_workbook.results.records import measured, recorded

Records = Sequence[Mapping]
AUGMENTS = {"flips": "flips", "full": "flips, crops, colours"}


def tiles_table() -> str:
    """Test IoU of images squeezed to the model's square, and of tiles at their own scale."""
    records = recorded("methods/tiles")
    trained = [r for r in records if r["method"] != "base_boxed"]
    sides = sorted({r["setting"].get("tile") for r in trained} - {None})
    ways = {"squeezed": None} | {f"tiles of {side}": side for side in sides}
    rows = [
        [data, *(cell for side in ways.values() for cell in _cells(trained, data, "tile", side))]
        for data in _datasets(trained)
    ]
    names = [name for way in ways for name in (way, "by seed", "ceiling")]
    return _page(["data", *names], rows, trained)


def heads_table() -> str:
    """Test IoU of the plain and of the matched head, on data of several classes."""
    trained = [r for r in recorded("methods/heads") if r["method"] != "base_boxed"]
    heads = ("plain", "matched")
    rows = [
        [data, *(cell for head in heads for cell in _cells(trained, data, "head", head)[:2])]
        for data in _datasets(trained)
    ]
    return _page(["data", *(name for head in heads for name in (head, "by seed"))], rows, trained)


def _datasets(records: Records) -> list[str]:
    return sorted({r["data"] for r in records})


def _cells(records: Records, data: str, name: str, value) -> list[str]:
    """Mean IoU, IoU by seed and mean ceiling of the runs with this setting."""
    usual = {"head": "plain"}.get(name)
    its = [r for r in records if r["data"] == data and r["setting"].get(name, usual) == value]
    its = sorted(its, key=lambda r: r["seed"])
    if not its:
        return ["-", "-", "-"]
    iou = [r["mean"]["iou"] for r in its]
    reach = mean(r["ceiling"] for r in its)
    return [f"{mean(iou):.3f}", ", ".join(f"{v:.3f}" for v in iou), f"{reach:.3f}"]


def _page(names: Sequence[str], rows: Sequence[Sequence[str]], records: Records) -> str:
    s = records[-1]["setting"]
    note = (
        f"Test IoU at each image's own size, mean over classes and images; LoRA, {s['steps']} "
        f"steps of {s['batch']} images in {s['precision']}, learning rate {s['lr']:g} (`rates`), "
        "the last model."
    )
    return f"{table(names, rows)}\n\n{note}\n\n{source(*records)}"


def loading_table() -> str:
    """CPU time an image to decode and to load it, and images a second by workers."""
    kept, rows = measured("measurements/loading"), []
    for side, found in kept["rows"].items():
        decoding = found["decoding"]["cpu_ms"]
        for augment, words in AUGMENTS.items():
            mine = {n.split()[1]: r for n, r in found.items() if n.startswith(f"{augment} ")}
            spent = " / ".join(f"{r['cpu_ms']:.0f}" for r in mine.values())
            speeds = " / ".join(f"{r['per_second']:.1f}" for r in mine.values())
            free = 2000 / mine[max(mine)]["cpu_ms"]
            cells = [f"{decoding:.0f}", spent, f"{free:.0f}", speeds]
            rows.append([f"{side} x {side}", words, *cells])
    names = ["JPEG", "augmentation", "decode", "load", "two free cores", "by the clock"]
    workers = " / ".join(mine)
    note = (
        "Decode, load: CPU milliseconds an image, of this process and its workers, medians of "
        f"{kept['rounds']} turns: to decode it alone, and to load it at 1024 x 1024 with {workers} "
        f"workers. Two free cores: images a second that two cores could load so with {max(mine)}. "
        f"By the clock: images a second as measured, on two cores with a load of "
        f"{kept['load'][0]:g} to {kept['load'][1]:g}."
    )
    return f"{table(names, rows)}\n\n{note}\n\n{source(kept)}"


TABLES: dict[str, Callable[[], str]] = {
    "tiles": tiles_table,
    "heads": heads_table,
    "loading": loading_table,
}
