"""Clicks answered without a kernel: a grid of masks, computed before and kept in the page."""

import base64
import html
import io
import json
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageColor

from naslora_workbook.figures.theme import PREDICTION, PROMPT

ACROSS = 9  # clicks from left to right
SIDE = 160  # pixels of a mask's longer side


class BakedClicks:
    """An image that shows, at every click, the mask of the nearest of its kept clicks.

    predict: (points `1 2` as x, y in pixels, labels `1`) -> mask `H W`; image: uint8 `H W 3`;
    first: where the star stands at the beginning, as shares of width and height. The arrow keys
    move it, too.
    """

    def __init__(self, predict: Callable, image: np.ndarray, first: tuple[float, float]):
        height, width = image.shape[:2]
        self.grid = ACROSS, max(1, round(ACROSS * height / width))
        self.image, self.first = image, [int(s * n) for s, n in zip(first, self.grid, strict=True)]
        places = [
            ((x + 0.5) / self.grid[0] * width, (y + 0.5) / self.grid[1] * height)
            for y in range(self.grid[1])
            for x in range(self.grid[0])
        ]
        masks = [predict(np.array([place]), np.ones(1)) for place in places]
        self.shares = [round(100 * float(np.mean(mask))) for mask in masks]
        self.masks = [_small(mask) for mask in masks]

    def __repr__(self) -> str:
        return "<BakedClicks>"

    def _repr_html_(self) -> str:
        kept = [list(self.grid), self.first, self.masks, self.shares]
        words = f"Photograph that answers {len(self.masks)} clicks; the arrow keys move the star"
        photo = Image.fromarray(self.image)
        photo.thumbnail((700, 700))
        return (
            f'<div><div class="naslora-clicks" tabindex="0" role="application" '
            f'aria-label="{html.escape(words, quote=True)}" style="position:relative;width:'
            f'{photo.width}px;max-width:100%;cursor:crosshair">'
            f'<img alt="{words}" src="{_data(photo, "JPEG")}" style="display:block;width:100%">'
            f'<img alt="" style="{_OVER};width:100%;height:100%;opacity:.5">'
            f'<span style="{_OVER};color:{PROMPT};font-size:28px;line-height:1;{_STAR}">★</span>'
            f'</div><p aria-live="polite"></p><script>({_MOVE})(document.currentScript.'
            f"parentElement, {json.dumps(kept)})</script></div>"
        )


def _small(mask: np.ndarray) -> str:
    """A mask as a clear picture with coloured pixels, in base64."""
    picture = Image.fromarray(np.asarray(mask).astype(np.uint8))
    picture.thumbnail((SIDE, SIDE), Image.Resampling.NEAREST)
    picture = picture.convert("P")
    picture.putpalette([0, 0, 0, *ImageColor.getrgb(PREDICTION)])
    file = io.BytesIO()
    picture.save(file, "PNG", bits=1, transparency=0)
    return base64.b64encode(file.getvalue()).decode()


def _data(picture: Image.Image, kind: str) -> str:
    file = io.BytesIO()
    picture.save(file, kind, quality=80)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


_OVER = "position:absolute;left:0;top:0;pointer-events:none"
_STAR = "transform:translate(-50%,-50%);text-shadow:0 0 3px white,0 0 3px white"
_MOVE = """(where, [grid, at, masks, shares]) => {
  const box = where.firstElementChild, [, mask, star] = box.children, said = box.nextSibling;
  const show = () => {
    const i = at[1] * grid[0] + at[0];
    mask.src = 'data:image/png;base64,' + masks[i];
    star.style.left = 100 * (at[0] + .5) / grid[0] + '%';
    star.style.top = 100 * (at[1] + .5) / grid[1] + '%';
    said.textContent = 'Mask of ' + shares[i] + ' % of the photograph.';
  };
  const go = to => { at = to.map((v, k) => Math.min(grid[k] - 1, Math.max(0, v))); show(); };
  box.onclick = e => {
    const r = box.getBoundingClientRect();
    go([(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height]
      .map((share, k) => Math.floor(share * grid[k])));
  };
  box.onkeydown = e => {
    const turn = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
    if (!turn[e.key]) return;
    e.preventDefault();
    go(at.map((v, k) => v + turn[e.key][k]));
  };
  show();
}"""
