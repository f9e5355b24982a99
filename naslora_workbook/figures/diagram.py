"""SAM's three parts, and the diagram that grows: a ViT block, and what is put beside its qkv."""

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon, Rectangle

from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.theme import ADAPTER, BASE, INK, OPERATORS, PROMPT, chart

FROZEN, TRAINED, DATA = "#E8E8E8", "#FDEBC8", "#FFFFFF"
TITLES = {
    "lora": "LoRA: a narrow path beside the frozen qkv; it treats each token alone",
    "fixed_conv": "Fixed 3×3: inside the path, a token now uses its neighbours",
    "conv_lora": "Conv-LoRA: a router sends each window to one of eight experts",
    "nas_lora": "NAS-LoRA: a cell mixes operators, each weighted by its probability",
    "folded": "Folded: the centre goes into W0, the neighbours stay a narrow branch",
}
MIDDLE = 17.0  # height of the path's axis


def growing_diagram(stage: str) -> Picture:
    """One stage of the diagram: `lora`, `fixed_conv`, `conv_lora`, `nas_lora`, `folded`.

    Grey boxes are frozen, sand-coloured ones are trained; the frame's colour is the method's.
    """
    figure, ax = chart(3.3)
    draw_stage(ax, stage)
    return titled(figure, TITLES[stage], _WORDS[stage])


def draw_stage(ax: Axes, stage: str) -> None:
    """The boxes and arrows of one stage, without a title."""
    ax.set(xlim=(-0.5, 100.5), ylim=(-3, 59))
    ax.axis("off")
    colour = ADAPTER["nas_lora" if stage == "folded" else stage]
    _block(ax, stage)
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
            square(ax, x + 4 * i, y + 4 * j, 4, 4, fill, colour)


def _conv_lora(ax: Axes, colour: str) -> None:
    arrow(ax, (30, MIDDLE), (31.5, MIDDLE), head=False)
    box(ax, 31.5, MIDDLE + 10, 9, 10, "router\ntop 1", colour, TRAINED)
    dashed = {"arrowstyle": "-|>", "ls": "--", "color": colour}
    ax.annotate("", (43, MIDDLE + 8.5), (40.5, MIDDLE + 15), arrowprops=dashed)
    arrow(ax, (33, MIDDLE), (33, MIDDLE + 10))
    arrow(ax, (31.5, MIDDLE), (42, MIDDLE), head=False)
    ax.text(49, MIDDLE - 6, "⋮", ha="center", va="center")
    for scale, dy in ((1, 14), (2, 7), (3, 0), (8, -13)):
        look = (colour, TRAINED) if scale == 2 else (BASE, DATA)
        box(ax, 43, MIDDLE + dy - 2.8, 15, 5.6, f"×{scale}, 3×3, GELU", *look)
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
    square(ax, 33, top - 9 * step, 26.5, 9 * step + 0.6, DATA, colour)
    for i, (name, share) in enumerate(zip(names, shares, strict=True)):
        y = top - (i + 0.5) * step
        ax.text(34, y, name, ha="left", va="center")
        square(ax, 48, y - 1.5, share * 0.4, 3, OPERATORS[i], OPERATORS[i])
    ax.text(77, MIDDLE + 12, "bars: softmax of\nalpha, trained\n(an example)", va="center")


def _folded(ax: Axes, colour: str) -> None:
    path(ax, [(30, MIDDLE), (40, MIDDLE)])
    _grid(ax, 40, MIDDLE - 6, colour)
    square(ax, 44, MIDDLE - 2, 4, 4, DATA, colour)
    ax.text(47, MIDDLE - 10, "K: all operators in one kernel", ha="center", va="center")
    path(ax, [(46, MIDDLE + 2), (46, 43)], colour)
    ax.text(47.5, MIDDLE + 16, "the centre, exactly", ha="left", va="center")
    arrow(ax, (52, MIDDLE), (64, MIDDLE))


def _legend(ax: Axes) -> None:
    for y, fill, edge, text in ((9, FROZEN, BASE, "frozen"), (2, TRAINED, INK, "trained")):
        square(ax, 82, y, 4, 4, fill, edge)
        ax.text(87.5, y + 2, text, va="center")


_SLOTS = {
    "lora": _lora,
    "fixed_conv": _fixed_conv,
    "conv_lora": _conv_lora,
    "nas_lora": _nas_lora,
    "folded": _folded,
}
_WORDS = {
    "lora": "We takes d numbers to r, Wd takes r to 3d; their result is added to qkv's.",
    "fixed_conv": "Between We and Wd a 3 by 3 convolution K is added to z.",
    "conv_lora": "Between We and Wd the router picks one of eight experts, each at its own size.",
    "nas_lora": "Between We and Wd nine operators are added up, each times its softmax share.",
    "folded": "The nine operators are one kernel; its centre is merged into W0.",
}


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
    share = _parameters(encoder) / _parameters(sam)
    title = f"The encoder has {share:.0%} of the weights and does not depend on the prompt"
    parts = f"{_encoder(encoder)}; {_decoder(sam.mask_decoder)}".replace("\n", " ")
    return titled(figure, title, f"{parts}; embedding {c} × {h} × {w}.")


def _parameters(module) -> int:
    return sum(p.numel() for p in module.parameters())


def millions(module) -> str:
    """Parameters in words: 2.1 M, 12 k."""
    n = _parameters(module)
    return f"{n / 1e6:.2f} M" if n >= 1e5 else f"{n / 1e3:.0f} k"


def _encoder(encoder) -> str:
    whole = [i for i, b in enumerate(encoder.blocks) if b.window_size == 0]
    windows = max(b.window_size for b in encoder.blocks)
    return (
        f"image encoder\n{millions(encoder)}\n{len(encoder.blocks)} blocks,\n"
        f"windows of {windows} × {windows},\nglobal: {', '.join(map(str, whole))}"
    )


def _decoder(decoder) -> str:
    return f"mask decoder\n{millions(decoder)}\n{len(decoder.transformer.layers)} two-way\nblocks"


def box(ax: Axes, x, y, width, height, text: str, edge: str = INK, fill: str = DATA) -> None:
    """A box with text in its middle; x, y: its lower left corner."""
    style = "round,pad=0,rounding_size=1.2"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, ec=edge, fc=fill, lw=1.5))
    _centred(ax, x + width / 2, y + height / 2, text)


def square(ax: Axes, x, y, width, height, fill: str, edge: str) -> None:
    """A box with sharp corners and without words."""
    ax.add_patch(Rectangle((x, y), width, height, fc=fill, ec=edge, lw=1.2))


def funnel(ax: Axes, x, y, width, left: float, right: float, text: str, edge: str) -> None:
    """A matrix that changes the width of tokens: sides `left` and `right` high, centred on y."""
    ys = (y - left / 2, y + left / 2, y + right / 2, y - right / 2)
    corners = list(zip((x, x, x + width, x + width), ys, strict=True))
    ax.add_patch(Polygon(corners, ec=edge, fc=TRAINED, lw=1.5))
    _centred(ax, x + width / 2, y, text)


def _centred(ax: Axes, x: float, y: float, text: str, **style) -> None:
    ax.text(x, y, text, ha="center", va="center", linespacing=1.3, **style)


def arrow(
    ax: Axes, start, end, text: str = "", at=(0, 0), colour: str = INK, head: bool = True
) -> None:
    """From start to end, with text centred at `at`."""
    style = {"arrowstyle": "-|>" if head else "-", "mutation_scale": 11, "color": colour, "lw": 1.2}
    ax.add_patch(FancyArrowPatch(start, end, shrinkA=0, shrinkB=0, **style))
    if text:
        _centred(ax, *at, text)


def path(ax: Axes, points, colour: str = INK) -> None:
    """A line with corners that ends in an arrow."""
    for start, end in zip(points[:-2], points[1:-1], strict=True):
        arrow(ax, start, end, colour=colour, head=False)
    arrow(ax, points[-2], points[-1], colour=colour)


def plus(ax: Axes, x: float, y: float) -> None:
    """The place where two streams are added."""
    _centred(ax, x, y, "+", bbox={"boxstyle": "circle,pad=0.15", "fc": DATA, "ec": INK})
