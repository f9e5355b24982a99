"""Click on a photograph and get a mask."""

from collections.abc import Callable

import numpy as np

from naslora_workbook.figures.baked import BakedClicks
from naslora_workbook.figures.masks import overlay
from naslora_workbook.figures.panels import panel
from naslora_workbook.figures.picture import Picture
from naslora_workbook.figures.theme import WIDTH, canvas
from naslora_workbook.figures.widgets import is_baked, is_live

PLACES = ((0.5, 0.5), (0.3, 0.4), (0.7, 0.6))  # of the clicks on a static page, as x, y shares


def click(predict, image, places=PLACES):
    """An image that answers clicks, by a kernel or from a store; else three clicks side by side.

    predict: a SamPredictor after `set_image(image)`, or a function (points `P 2` as x, y in pixels,
    labels `P`, 1 in and 0 out) -> mask `H W`; image: uint8 `H W 3`; places: clicks of the static
    picture, as shares of width and height. By keyboard: the two sliders place the star.
    """
    predict = best_mask(predict) if hasattr(predict, "predict") else predict
    if is_live():
        return _clickable(predict, np.asarray(image))
    if is_baked():
        return BakedClicks(predict, np.asarray(image), places[0])
    height, width = np.shape(image)[:2]

    def draw(ax, place):
        at = np.array([[place[0] * width, place[1] * height]])
        overlay(ax, image, predict(at, np.ones(1)), points=(at, [1]))
        return "click at {:.0f}, {:.0f}".format(*at[0])

    title, tall = "A click is enough to get a mask", WIDTH / len(places) * height / width
    return panel(draw, places, title=title, height=tall + 0.4)


def best_mask(predictor) -> Callable:
    """A function (points, labels) -> the mask of highest predicted IoU, of a SamPredictor."""

    def predict(points, labels):
        masks, iou, _ = predictor.predict(points, labels, multimask_output=len(points) == 1)
        return masks[int(iou.argmax())]

    return predict


def _picture(predict, image, points, labels) -> str:
    height, width = image.shape[:2]
    figure, axes = canvas(height=WIDTH * height / width)
    mask = predict(np.array(points, float), np.array(labels)) if points else None
    axes[0, 0].set_position((0, 0, 1, 1))
    figure.set_layout_engine("none")
    overlay(axes[0, 0], image, mask, points=(points, labels))
    share = "" if mask is None else f", mask of {np.mean(mask):.0%} of the image"
    clicks = f"{len(points)} click" + "s" * (len(points) != 1)
    return Picture(figure, f"Photograph with {clicks}{share}", quick=True).html


def _clickable(predict, image):
    """Image, sliders for x and y, in or out, undo. A mouse click writes where it fell into a
    hidden text field, which is how a page talks to its kernel without an extension."""
    import ipywidgets as w

    height, width = image.shape[:2]
    points, labels = [], []
    picture, place = w.HTML(), w.Text(layout={"display": "none"})
    x = w.IntSlider(width // 2, 0, width - 1, description="x")
    y = w.IntSlider(height // 2, 0, height - 1, description="y")
    kind = w.ToggleButtons(options=[("this", 1), ("not this", 0)])
    add, undo = w.Button(description="click here"), w.Button(description="undo")

    def show():
        page = _picture(predict, image, points, labels)
        picture.value = page.replace("<img ", f'<img onclick="{_SEND}" style="cursor:crosshair" ')

    def put(at):
        points.append(at)
        labels.append(kind.value)
        show()

    def clicked(change):
        if change["new"]:
            share = [float(s) for s in change["new"].split()[:2]]
            x.value, y.value = int(share[0] * width), int(share[1] * height)
            put((x.value, y.value))

    def back(_):
        del points[-1:], labels[-1:]
        show()

    place.observe(clicked, "value")
    add.on_click(lambda _: put((x.value, y.value)))
    undo.on_click(back)
    show()
    box = w.VBox([picture, place, w.HBox([x, y, add]), w.HBox([kind, undo])])
    box.add_class("naslora-click")
    return box


_SEND = (  # shares of width and height, and the time, so that the same place counts twice
    "const r=this.getBoundingClientRect(),"
    "t=this.closest('.naslora-click').querySelector('input[type=text]');"
    "t.value=(event.clientX-r.left)/r.width+' '+(event.clientY-r.top)/r.height+' '+Date.now();"
    "t.dispatchEvent(new Event('input',{bubbles:true}));"
    "t.dispatchEvent(new Event('change',{bubbles:true}))"
)
