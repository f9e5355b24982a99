"""SAM's three parts; the boxes, arrows and trapezoids that all diagrams are drawn with."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.theme import BASE, INK, PROMPT, chart

FROZEN, TRAINED, DATA = "#E8E8E8", "#FDEBC8", "#FFFFFF"


def three_parts(sam) -> Picture:
    """Image encoder, prompt encoder and mask decoder of a SAM: sizes, parameters, shapes."""
    encoder, prompts = sam.image_encoder, sam.prompt_encoder
    side, (h, w), c = encoder.img_size, prompts.image_embedding_size, prompts.embed_dim
    figure, ax = chart(2.9)
    ax.set(xlim=(-0.5, 100.5), ylim=(0, 41))
    ax.axis("off")
    box(ax, 0, 25, 18, 10, f"image\n3 × {side} × {side}", INK)
    box(ax, 23.5, 20, 22, 20, _encoder(encoder), BASE, FROZEN)
    box(ax, 0, 1, 18, 13, "prompt\nclicks, box,\nmask", INK)
    box(ax, 23.5, 1, 22, 13, f"prompt encoder\n{millions(prompts)}", PROMPT, FROZEN)
    box(ax, 66, 11, 16, 17, _decoder(sam.mask_decoder), BASE, FROZEN)
    box(ax, 87, 21, 13, 10, f"3 masks\n{4 * h} × {4 * w}", INK)
    box(ax, 87, 7, 13, 10, "3 predicted\nIoU", INK)
    for start, end in (((18, 30), (23.5, 30)), ((18, 7.5), (23.5, 7.5))):
        arrow(ax, start, end)
    arrow(ax, (45.5, 30), (66, 23), f"image embedding\n{c} × {h} × {w}", (57, 32.5))
    arrow(ax, (45.5, 7.5), (66, 16), f"tokens n × {c}\ndense {c} × {h} × {w}", (58.5, 5))
    arrow(ax, (82, 22), (87, 26))
    arrow(ax, (82, 17), (87, 12))
    title = _title(sam)
    parts = f"{_encoder(encoder)}; {_decoder(sam.mask_decoder)}".replace("\n", " ")
    return titled(figure, title, f"{parts}; embedding {c} × {h} × {w}.")


def millions(module) -> str:
    """Parameters in words: 2.1 M, 12 k."""
    n = sum(p.numel() for p in module.parameters())
    return f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n / 1e3:.0f} k"


def _title(sam) -> str:
    total = sum(p.numel() for p in sam.parameters())
    share = sum(p.numel() for p in sam.image_encoder.parameters()) / total
    return f"The encoder has {share:.0%} of the weights and never sees the prompt"


def _encoder(encoder) -> str:
    whole = [i for i, b in enumerate(encoder.blocks) if b.window_size == 0]
    windows = max(b.window_size for b in encoder.blocks)
    return (
        f"image encoder\n{millions(encoder)}\n{len(encoder.blocks)} blocks,\n"
        f"windows of {windows} × {windows},\nglobal: {', '.join(map(str, whole))}"
    )


def _decoder(decoder) -> str:
    return f"mask decoder\n{millions(decoder)}\n{len(decoder.transformer.layers)} two-way\nblocks"


def box(
    ax: Axes,
    x: float,
    y: float,
    width: float,
    height: float,
    text: str,
    edge: str = INK,
    fill: str = DATA,
    **words,
) -> None:
    """A box with text in its middle; x, y: its lower left corner; words: as `Axes.text`'s."""
    style = "round,pad=0,rounding_size=1.2"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, ec=edge, fc=fill, lw=1.5))
    words = {"ha": "center", "va": "center", "linespacing": 1.3} | words
    ax.text(x + width / 2, y + height / 2, text, **words)


def funnel(
    ax: Axes, x: float, y: float, width: float, left: float, right: float, text: str, edge: str
) -> None:
    """A matrix that changes the width of tokens: sides `left` and `right` high, centred on y."""
    corners = [
        (x, y - left / 2),
        (x, y + left / 2),
        (x + width, y + right / 2),
        (x + width, y - right / 2),
    ]
    ax.add_patch(Polygon(corners, ec=edge, fc=TRAINED, lw=1.5))
    ax.text(x + width / 2, y, text, ha="center", va="center", linespacing=1.2)


def arrow(
    ax: Axes, start, end, text: str = "", at=(0, 0), colour: str = INK, head: bool = True
) -> None:
    """From start to end, with text centred at `at`."""
    style = {"arrowstyle": "-|>" if head else "-", "mutation_scale": 11, "color": colour, "lw": 1.2}
    ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
    if text:
        ax.text(*at, text, ha="center", va="center", linespacing=1.3)


def path(ax: Axes, points, colour: str = INK) -> None:
    """A line with corners that ends in an arrow."""
    for start, end in zip(points[:-2], points[1:-1], strict=True):
        arrow(ax, start, end, colour=colour, head=False)
    arrow(ax, points[-2], points[-1], colour=colour)


def plus(ax: Axes, x: float, y: float) -> None:
    """The place where two streams are added."""
    ax.text(
        x,
        y,
        "+",
        ha="center",
        va="center",
        bbox={"boxstyle": "circle,pad=0.15", "fc": DATA, "ec": INK},
    )
