"""The table of how fast images of one's own are loaded."""

from naslora_workbook.publishing.result_tables import source, table
from naslora_workbook.results.records import measured

AUGMENTS = {"flips": "flips", "full": "flips, crops, colours"}


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
