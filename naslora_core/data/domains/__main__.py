"""`python -m naslora_core.data.domains --sheet out.png`: look at every domain before use."""

import argparse
import io

from naslora_core.data.domains import DOMAINS, domain
from naslora_core.files import write_atomic


def sheet(path: str, columns: int = 8, size: int = 128, seed: int = 0, split: str = "train"):
    """Write a contact sheet: of each domain a row of pictures, and under it their outlines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.3 * columns, 2.7 * len(DOMAINS)), layout="constrained", dpi=150)
    axes = figure.subplots(2 * len(DOMAINS), columns, squeeze=False)
    for row, name in enumerate(DOMAINS):
        data = domain(name, **{split: columns}, size=size, seed=seed)
        axes[2 * row, 0].set_title(f"{name}: {', '.join(data.classes)}", loc="left", fontsize=9)
        for i, sample in enumerate(getattr(data, split)):
            for ax in axes[2 * row : 2 * row + 2, i]:
                ax.imshow(sample.image, interpolation="nearest")
                ax.axis("off")
            for label, colour in ((1, "yellow"), (2, "cyan")):
                if (sample.mask == label).any():
                    ax.contour(sample.mask == label, [0.5], colors=colour, linewidths=0.8)
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    write_atomic(path, picture.getvalue())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheet", required=True, metavar="PNG", help="the file to write")
    parser.add_argument("--columns", type=int, default=8, help="pictures a domain")
    parser.add_argument("--size", type=int, default=128, help="side in pixels")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    sheet(chosen.sheet, chosen.columns, chosen.size, chosen.seed)
