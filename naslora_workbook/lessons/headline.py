"""The few numbers that a lesson ends in: shown as a table, read back by the runner and the tests.

headline.record(dice_nas_lora=scores.mean, steps=80)
"""

import html

MIME = "application/vnd.naslora.headline+json"


def record(**numbers: float) -> None:
    """Display `numbers` as a small table and keep them in the notebook, at four digits."""
    from IPython.display import display

    plain = {name: _plain(value) for name, value in numbers.items()}
    rows = "".join(
        f"<tr><th>{html.escape(_words(n))}</th><td>{v}</td></tr>" for n, v in plain.items()
    )
    text = "\n".join(f"{_words(n)}: {v}" for n, v in plain.items())
    bundle = {MIME: plain, "text/html": f"<table>{rows}</table>", "text/plain": text}
    display(bundle, raw=True)


def read(notebook) -> dict[str, float]:
    """The numbers recorded in a notebook, later ones over earlier ones; empty without any."""
    found: dict[str, float] = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            found.update(output.get("data", {}).get(MIME, {}))
    return found


def _plain(value):
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _words(name: str) -> str:
    return name.replace("_", " ")
