"""The value a cell ends in: a PNG that says in words what it shows."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image, ImageColor

from naslora_workbook.figures.theme import ADAPTER, BASE, CLASSES, PROMPT_OUT, TRUTH, finding

LIMIT = 100_000  # bytes a picture may have in a notebook
TRIES = ((2, None), (2, 256), (2, 128), (1.5, 256), (1.5, 128), (1.5, 64), (1, 256), (1, 64))
# device pixels for one on the page, colours (None: all): the first within LIMIT is taken
FIXED = [ImageColor.getrgb(c) for c in (*ADAPTER.values(), *CLASSES, TRUTH, PROMPT_OUT, BASE)]
FIXED += [(grey, grey, grey) for grey in range(0, 256, 51)]  # and smooth black text


class Picture:
    """A drawn figure: displays itself in notebooks, carries `alt`, and can be saved.

    The PNG has no metadata, so the same figure is the same bytes. Above LIMIT it is reduced to
    few colours, then to fewer pixels; quick: drawn once, whatever its size, for widgets.
    """

    def __init__(self, figure: Figure, alt: str, quick: bool = False):
        self.alt = alt
        self.width = round(figure.get_figwidth() * 100)  # pixels on the page
        self.png = _encode(render(figure, 1.5), 3) if quick else _within_limit(figure)

    @property
    def html(self) -> str:
        """An `<img>` that needs no other file."""
        data = base64.b64encode(self.png).decode()
        alt = html.escape(self.alt, quote=True)
        return (
            f'<img alt="{alt}" width="{self.width}" style="max-width:100%" '
            f'src="data:image/png;base64,{data}">'
        )

    def _repr_png_(self):
        return self.png, {"alt": self.alt, "width": self.width}

    def __repr__(self) -> str:
        return "<Picture>"


def titled(figure: Figure, title: str, said: str = "", at: Axes | None = None) -> Picture:
    """The figure with its finding above it (or above the axes `at`); both sentences are its alt."""
    finding(at or figure, title)
    return Picture(figure, f"{title}. {said}".strip().replace("\n", " "))


def html_table(rows: Iterable[Iterable], head: Iterable = ()) -> str:
    """A table of texts in HTML."""
    lines = [("th", head)] * bool(head) + [("td", row) for row in rows]
    cells = ("".join(f"<{tag}>{html.escape(str(c))}</{tag}>" for c in line) for tag, line in lines)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in cells)}</table>"


class Rows(dict):
    """Name -> {column: value}; displays as a table."""

    def _repr_html_(self) -> str:
        rows = ((name, *row.values()) for name, row in self.items())
        return html_table(rows, ("", *next(iter(self.values()))))


def _within_limit(figure: Figure) -> bytes:
    images: dict[float, Image.Image] = {}
    for scale, colours in TRIES:
        if scale not in images:
            images[scale] = render(figure, scale)
        png = _encode(_palette(images[scale], colours) if colours else images[scale])
        if len(png) <= LIMIT:
            break
    return png


def render(figure: Figure, scale: float) -> Image.Image:
    """The figure in RGB at `scale` times 100 dots an inch."""
    agg = FigureCanvasAgg(figure)
    figure.set_dpi(100 * scale)
    agg.draw()
    return Image.fromarray(np.asarray(agg.buffer_rgba())[..., :3])


def _encode(image: Image.Image, effort: int = 6) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=effort)
    return file.getvalue()


def _palette(image: Image.Image, colours: int) -> Image.Image:
    """The image with few colours. A strip of the fixed ones takes part in their choice, so that a
    small green star is not painted over by a large photograph."""
    strip = Image.new("RGB", (len(FIXED), 1))
    strip.putdata(FIXED)
    both = Image.new("RGB", (image.width, image.height + image.height // 10))
    both.paste(image)
    both.paste(strip.resize((image.width, image.height // 10), 0), (0, image.height))
    both = both.quantize(colours, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return both.crop((0, 0, *image.size))
