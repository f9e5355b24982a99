"""The diagram that grows through the lessons: one ViT block, and what is put beside its qkv."""

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, OPERATORS, chart, finding
from naslora_workbook.figures.three_parts import (
    DATA,
    FROZEN,
    TRAINED,
    arrow,
    box,
    funnel,
    path,
    plus,
)

TITLES = {
    "block": "A transformer block: one Linear, qkv, feeds the attention",
    "lora": "LoRA: a narrow path beside the frozen qkv; it treats each token alone",
    "fixed_conv": "Fixed 3×3: inside the path, a token now uses its neighbours",
    "conv_lora": "Conv-LoRA: a router sends each window to one of eight experts",
    "nas_lora": "NAS-LoRA: a cell mixes operators, each weighted by its probability",
    "folded": "Folded: the centre goes into W0, the neighbours stay a narrow branch",
}
STAGES = tuple(TITLES)
MIDDLE = 17.0  # height of the path's axis
SLOT = 33.0, 61.0  # between We and Wd


def growing_diagram(stage: str, title: str | None = None) -> Picture:
    """One stage of the diagram: `block`, `lora`, `fixed_conv`, `conv_lora`, `nas_lora`, `folded`.

    Grey boxes are frozen, sand-coloured ones are trained; the frame's colour is the method's.
    """
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r} is not one of {', '.join(STAGES)}")
    figure, ax = chart(1.35 if stage == "block" else 3.3)
    draw_stage(ax, stage)
    finding(figure, title or TITLES[stage])
    return Picture(figure, f"{TITLES[stage]}. {_WORDS[stage]}")


def draw_stage(ax: Axes, stage: str) -> None:
    """The boxes and arrows of one stage, without a title."""
    ax.set(xlim=(-0.5, 100.5), ylim=(36 if stage == "block" else -3, 59))
    ax.axis("off")
    _block(ax, stage)
    if stage != "block":
        colour = ADAPTER["nas_lora" if stage == "folded" else stage]
        _path(ax, colour)
        _SLOTS[stage](ax, colour)
        _legend(ax)


def _block(ax: Axes, stage: str) -> None:
    """The upper row: what a block does with its tokens; residual connections are left out."""
    row = 47.0
    ax.text(2.5, row + 8.5, "tokens\nB H W d", ha="center", va="center")
    box(ax, 6, row - 4, 12.5, 8, "LayerNorm", BASE, FROZEN)
    weight = "qkv:  W0 + Wd K[centre] We" if stage == "folded" else "qkv:  W0, frozen,  d to 3d"
    box(ax, 24, row - 4, 46, 8, weight, BASE, FROZEN)
    if stage == "block":
        arrow(ax, (70, row), (78, row))
    else:
        plus(ax, 74, row)
        arrow(ax, (70, row), (72.3, row))
        arrow(ax, (75.7, row), (78, row))
    box(ax, 78, row - 4, 10, 8, "attention", BASE, FROZEN)
    box(ax, 91, row - 4, 7, 8, "MLP", BASE, FROZEN)
    for start, end in ((0, 6), (18.5, 24), (88, 91), (98, 100.5)):
        arrow(ax, (start, row), (end, row))


def _path(ax: Axes, colour: str) -> None:
    """Down by We, up by Wd, beside qkv."""
    path(ax, [(20.5, 47), (20.5, MIDDLE), (24, MIDDLE)])
    funnel(ax, 24, MIDDLE, 6, 20, 8, "We\nd→r", colour)
    funnel(ax, 64, MIDDLE, 6, 8, 20, "Wd\nr→3d", colour)
    path(ax, [(70, MIDDLE), (74, MIDDLE), (74, 44.6)])


def _lora(ax: Axes, colour: str) -> None:
    arrow(ax, (30, MIDDLE), (64, MIDDLE), "z: r numbers a token", (47, MIDDLE + 4))


def _fixed_conv(ax: Axes, colour: str) -> None:
    path(ax, [(30, MIDDLE), (40, MIDDLE)])
    _grid(ax, 40, MIDDLE - 6, colour)
    ax.text(47, MIDDLE - 10, "K: one 3×3, r to r", ha="center", va="center")
    arrow(ax, (52, MIDDLE), (56.4, MIDDLE))
    path(ax, [(34, MIDDLE), (34, MIDDLE + 14), (58, MIDDLE + 14), (58, MIDDLE + 2.4)])
    ax.text(46, MIDDLE + 17, "z as it is", ha="center", va="center")
    plus(ax, 58, MIDDLE)
    arrow(ax, (59.7, MIDDLE), (64, MIDDLE))


def _grid(ax: Axes, x: float, y: float, colour: str) -> None:
    """A kernel's nine taps, the centre full."""
    for i in range(3):
        for j in range(3):
            fill = colour if i == j == 1 else TRAINED
            patch = (x + 4 * i, y + 4 * j), 4, 4
            ax.add_patch(_square(*patch, fill, colour))


def _square(corner, width: float, height: float, fill: str, edge: str) -> Rectangle:
    return Rectangle(corner, width, height, fc=fill, ec=edge, lw=1.2)


def _conv_lora(ax: Axes, colour: str) -> None:
    arrow(ax, (30, MIDDLE), (31.5, MIDDLE), head=False)
    box(ax, 31.5, MIDDLE + 10, 9, 10, "router\ntop 1", colour, TRAINED)
    ax.annotate(
        "",
        (43, MIDDLE + 8.5),
        (40.5, MIDDLE + 15),
        arrowprops={"arrowstyle": "-|>", "ls": "--", "color": colour},
    )
    arrow(ax, (33, MIDDLE), (33, MIDDLE + 10))
    arrow(ax, (31.5, MIDDLE), (42, MIDDLE), head=False)
    rows = [("×1", 14), ("×2", 7), ("×3", 0), ("⋮", -6), ("×8", -13)]
    for name, dy in rows:
        y, chosen = MIDDLE + dy, name == "×2"
        if name == "⋮":
            ax.text(49, y, name, ha="center", va="center")
            continue
        fill = TRAINED if chosen else DATA
        text = f"{name}, 3×3, GELU"
        box(ax, 43, y - 2.8, 15, 5.6, text, colour if chosen else BASE, fill)
    path(ax, [(42, MIDDLE), (42, MIDDLE + 7), (43, MIDDLE + 7)], colour)
    path(ax, [(58, MIDDLE + 7), (60.5, MIDDLE + 7), (60.5, MIDDLE + 2.4)], colour)
    path(ax, [(33, MIDDLE), (33, MIDDLE - 19), (60.5, MIDDLE - 19), (60.5, MIDDLE - 2.4)])
    plus(ax, 60.5, MIDDLE)
    arrow(ax, (62.2, MIDDLE), (64, MIDDLE))


def _nas_lora(ax: Axes, colour: str) -> None:
    names = ("none", "skip", "1×1", "3×3", "5×5", "3×3 dilated", "3×3 sep", "5×5 sep", "mean 3×3")
    shares = (4, 9, 7, 26, 12, 16, 10, 8, 8)
    top, step = MIDDLE + 19.5, 4.15
    path(ax, [(30, MIDDLE), (33, MIDDLE)])
    path(ax, [(59.5, MIDDLE), (64, MIDDLE)])
    ax.add_patch(_square((33, top - 9 * step), 26.5, 9 * step + 0.6, DATA, colour))
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        y = top - (i + 0.5) * step
        ax.text(34, y, name, ha="left", va="center")
        bar = (48, y - 1.5), share * 0.4, 3
        ax.add_patch(_square(*bar, OPERATORS[i], OPERATORS[i]))
    ax.text(77, MIDDLE + 12, "bars: softmax of\nalpha, trained\n(an example)", va="center")


def _folded(ax: Axes, colour: str) -> None:
    path(ax, [(30, MIDDLE), (40, MIDDLE)])
    _grid(ax, 40, MIDDLE - 6, colour)
    ax.add_patch(_square((44, MIDDLE - 2), 4, 4, DATA, colour))
    ax.text(47, MIDDLE - 10, "K: all operators in one kernel", ha="center", va="center")
    path(ax, [(46, MIDDLE + 2), (46, 43)], colour)
    ax.text(47.5, MIDDLE + 16, "the centre, exactly", ha="left", va="center")
    arrow(ax, (52, MIDDLE), (64, MIDDLE))


def _legend(ax: Axes) -> None:
    for y, fill, edge, text in ((9, FROZEN, BASE, "frozen"), (2, TRAINED, INK, "trained")):
        ax.add_patch(_square((82, y), 4, 4, fill, edge))
        ax.text(87.5, y + 2, text, va="center")


_SLOTS = {
    "lora": _lora,
    "fixed_conv": _fixed_conv,
    "conv_lora": _conv_lora,
    "nas_lora": _nas_lora,
    "folded": _folded,
}
_WORDS = {
    "block": "Tokens pass LayerNorm, qkv, attention and MLP.",
    "lora": "We takes d numbers to r, Wd takes r to 3d; their result is added to qkv's.",
    "fixed_conv": "Between We and Wd a 3 by 3 convolution K is added to z.",
    "conv_lora": "Between We and Wd the router picks one of eight experts, each at its own size.",
    "nas_lora": "Between We and Wd nine operators are added up, each times its softmax share.",
    "folded": "The nine operators are one kernel; its centre is merged into W0.",
}
