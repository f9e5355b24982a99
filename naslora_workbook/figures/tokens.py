"""What a token can see and what it looks at: windows, the way into them and back, attention."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.patches import Rectangle
from PIL import Image
from scipy.stats import entropy
from torch import nn

from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.picture import Picture, titled
from naslora_workbook.figures.theme import INK, PROMPT_OUT, blank, canvas
from naslora_workbook.figures.widgets import explore, is_baked, is_live

PADDING, HEAT = "#DDDDDD", "plasma"
SIDE, WINDOW = 10, 4  # tokens a side of the photograph that is cut into windows, and of a window
GAPS = {  # step -> (whether zeros are added, tokens between two windows)
    "map": (False, 0.0),
    "padded": (True, 0.0),
    "cut": (True, 0.5),
    "windows": (True, 1.0),
    "joined": (True, 0.5),
    "padding off": (True, 0.0),
    "map again": (False, 0.0),
}


def token_grid(predictor, photo, token) -> Picture:
    """The model's input with its tokens: in a windowed block and in a global one.

    predictor: SamPredictor; photo: uint8 `H W 3`; token: (row, column).
    What the token can see in that block is bright.
    """
    encoder = predictor.model.image_encoder
    side, image = tokens_a_side(encoder), model_input(predictor, photo)
    figure, axes = canvas(1, 2, height=3.9)
    seen = []
    for ax, index in zip(axes[0], kinds(encoder), strict=True):
        window = encoder.blocks[index].window_size
        seen.append(_grid(ax, image, side, window, token))
        kind = f"windows of {window} × {window}" if window else "global"
        ax.set_title(f"block {index}, {kind}: {seen[-1]} tokens")
    title = f"In a windowed block a token attends to {seen[0]} of {side * side} tokens"
    return titled(figure, title, f"In a global block to {seen[1]}.")


def attention(predictor, photo, token):
    """Where one token looks, in the first windowed and the first global block.

    token: (row, column) on the token map. Mean over heads; each map sums to 1. Live, and on pages
    that can be moved, a slider takes the token along its row.
    """
    encoder, row = predictor.model.image_encoder, token[0]
    side, image = tokens_a_side(encoder), model_input(predictor, photo)
    moving = is_live() or is_baked()
    columns = range(0, side, 2) if moving else [token[1]]
    maps = {
        (column, index): attention_map(predictor, photo, index, (row, column))
        for column in columns
        for index in kinds(encoder)
    }
    most = max(weights.max() for weights in maps.values())

    def draw(axes, column) -> str:
        for ax, index in zip(axes, kinds(encoder), strict=True):
            weights = maps[column, index]
            _spotlight(ax, image, weights, most)
            _mark(ax, (row, column), image.shape[0] / side)
            kind = "windowed" if encoder.blocks[index].window_size else "global"
            ax.set_title(f"block {index}, {kind}: spread over {spread(weights):.0f} tokens")
        return axes[0].get_title("left")

    if moving:
        return explore(draw, columns, f"token in row {row}, column", axes=2)
    figure, axes = canvas(1, 2, height=3.6)
    draw(axes[0], token[1])
    weight = {"shrink": 0.8, "aspect": 30, "label": "attention weight"}
    figure.colorbar(ScalarMappable(Normalize(0, most), HEAT), ax=axes, **weight)
    title = "A token's attention stops at its window, or spans the map"
    tokens = " and ".join(f"{spread(weights):.0f}" for weights in maps.values())
    return titled(figure, title, f"It is spread over {tokens} tokens.")


def spread(weights: np.ndarray) -> float:
    """How many tokens of equal weight would have the same entropy: exp(-sum w log w)."""
    return float(np.exp(entropy(weights, axis=None)))


@contextmanager
def listening(modules: Iterable[nn.Module], hook: Callable) -> Iterator[None]:
    """Inside, the forward hook is called for each of the modules."""
    hooks = [module.register_forward_hook(hook) for module in modules]
    try:
        yield
    finally:
        for each in hooks:
            each.remove()


@torch.no_grad()
def attention_map(predictor, photo, index: int, token) -> np.ndarray:
    """Attention weights `side side` of one token in block `index`, mean over heads."""
    encoder, (row, column) = predictor.model.image_encoder, token
    attn, window = encoder.blocks[index].attn, encoder.blocks[index].window_size
    seen = []
    pixels = torch.as_tensor(predictor.transform.apply_image(photo), device=predictor.device)
    with listening([attn], lambda _, inputs, y: seen.append(inputs[0])):
        encoder(predictor.model.preprocess(pixels.permute(2, 0, 1)[None].float()))
    side = tokens_a_side(encoder)
    width = window or side  # tokens a side of what the block attends in
    windows = -(-side // width)  # a side
    one = seen[0][(row // width) * windows + column // width][None]  # 1 w w C
    weights = attention_weights(attn, one)[:, (row % width) * width + column % width].mean(0)
    full = np.zeros((windows * width,) * 2)
    y, x = row // width * width, column // width * width
    full[y : y + width, x : x + width] = weights.view(width, width).cpu()
    return full[:side, :side]


def attention_weights(attn, x: torch.Tensor) -> torch.Tensor:
    """softmax(q k^T / sqrt(d) + relative position) of `1 h w C`: `heads hw hw`."""
    from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

    _, h, w, _ = x.shape
    q, k, _ = attn.qkv(x).reshape(h * w, 3, attn.num_heads, -1).permute(1, 2, 0, 3)
    weights = attn.scale * q @ k.mT
    if attn.use_rel_pos:
        place = (attn.rel_pos_h, attn.rel_pos_w, (h, w), (h, w))
        weights = add_decomposed_rel_pos(weights, q, *place)
    return weights.softmax(-1)


def model_input(predictor, photo) -> np.ndarray:
    """The square that the encoder sees, uint8 `S S 3`: longest side resized, the rest padded."""
    size = predictor.model.image_encoder.img_size
    image = predictor.transform.apply_image(photo)
    square = np.zeros((size, size, 3), np.uint8)
    square[: image.shape[0], : image.shape[1]] = image
    return square


def tokens_a_side(encoder) -> int:
    """Tokens along one side of the map."""
    return encoder.img_size // encoder.patch_embed.proj.stride[0]


def kinds(encoder) -> tuple[int, int]:
    """The first windowed and the first global block."""
    sizes = [block.window_size for block in encoder.blocks]
    return next(i for i, s in enumerate(sizes) if s), sizes.index(0)


def _grid(ax: Axes, image, side: int, window: int, token) -> int:
    """Draw tokens and windows, dim what `token` cannot see; how many tokens it sees."""
    pixels, width = image.shape[0] / side, window or side
    y, x = (t // width * width for t in token)
    bright = np.zeros((side, side), bool)
    bright[y : y + width, x : x + width] = True
    shade = np.where(np.kron(bright, np.ones((int(pixels),) * 2)), 0, 0.6)
    overlay(ax, image)
    ax.imshow(np.dstack([np.zeros(shade.shape + (3,)), shade]))
    for i in range(side + 1):
        bold = i % width == 0 or i == side
        for line in (ax.axhline, ax.axvline):
            line(i * pixels - 0.5, color="white", lw=1.8 if bold else 0.4, clip_on=False)
    _mark(ax, token, pixels)
    return int(bright.sum())


def _spotlight(ax: Axes, image, weights: np.ndarray, most: float) -> None:
    """The image in grey, and on it the attention, clear where it is 0."""
    overlay(ax, np.repeat(image.mean(-1, keepdims=True), 3, -1).astype(np.uint8))
    place = ax.images[0].get_extent()
    ax.imshow(weights, HEAT, Normalize(0, most), alpha=np.sqrt(weights / most), extent=place)


def _mark(ax: Axes, token, pixels: float) -> None:
    row, column = token
    at = (column * pixels - 0.5, row * pixels - 0.5)
    ax.add_patch(Rectangle(at, pixels, pixels, fc="none", ec="white", lw=3.5))
    ax.add_patch(Rectangle(at, pixels, pixels, fc="none", ec=PROMPT_OUT, lw=2))


def windows_and_back(photo: np.ndarray):
    """A photograph `H W 3` as `SIDE × SIDE` tokens, through windows and back, under a slider.

    One square is one token, in its mean colour; numbers are places in the batch.
    """
    height, width = photo.shape[:2]
    start = (width - height) // 2
    square = Image.fromarray(photo[:, start : start + height] if width > height else photo)
    tokens = np.asarray(square.resize((SIDE, SIDE), Image.Resampling.BOX))
    title = "Windows move into the batch; zeros (grey) fill up the last ones"
    few = ["map", "padded", "windows", "map again"]
    return explore(lambda ax, step: _draw(ax, tokens, step), list(GAPS), "step", title, few=few)


def _draw(ax: Axes, tokens: np.ndarray, step: str) -> str:
    padded, gap = GAPS[step]
    count = -(-SIDE // WINDOW)
    full = count * WINDOW if padded else SIDE
    for y, x in np.ndindex(full, full):
        colour = tokens[y, x] / 255 if max(y, x) < SIDE else PADDING
        place = x + x // WINDOW * gap, y + y // WINDOW * gap
        ax.add_patch(Rectangle(place, 1, 1, fc=colour, ec="white", lw=0.4))
    if gap == 1:
        halo = {"boxstyle": "circle,pad=0.2", "fc": "white", "ec": INK}
        for number, (i, j) in enumerate(np.ndindex(count, count)):
            middle = (np.array([j, i]) + 0.5) * WINDOW + (j * gap, i * gap)
            ax.text(*middle, number, ha="center", va="center", bbox=halo)
    end = count * WINDOW + (count - 1) + 0.2
    ax.set(xlim=(-0.2, end), ylim=(end, -0.2), aspect="equal")
    blank(ax)
    shape = f"{count**2} × {WINDOW} × {WINDOW} × C" if gap else f"1 × {full} × {full} × C"
    ax.set_xlabel(shape, loc="left")
    return step
