"""Masks of a model at each image's own size, without a prompt or with one."""

from collections.abc import Iterable, Iterator, Sequence
from numbers import Real

import numpy as np
import torch

from naslora_core.data import tiles
from naslora_core.data.dataset import IGNORE, Sample, check_sample, require_samples
from naslora_core.data.transforms import filled, to_batch, to_native
from naslora_core.errors import fault, number
from naslora_core.sam import SamPredictor
from naslora_core.training.losses import with_background
from naslora_core.training.prompts import box_of, components


def predict(model, samples: Sequence, batch: int = 16) -> list[np.ndarray]:
    """Prompt-free label maps `H W` uint8 of every sample, at its own size; batch: images, or tiles
    of one image, that are held at once."""
    return list(label_maps(model, samples, batch))


def label_maps(model, samples: Sequence, batch: int = 16) -> Iterator[np.ndarray]:
    """The label map of one sample after another; of a model of tiles, decided strip by strip, so
    that beside image and map only the logits of one row of tiles are held."""
    for parts in _in_strips(model, samples, batch):
        yield np.concatenate([labels(logits) for logits in parts])


def native_logits(model, samples: Sequence, batch: int = 16) -> Iterator[torch.Tensor]:
    """Prompt-free logits `N+1 H W` of one sample after another, at its own size; background, the
    logit 0, comes first."""
    for parts in _in_strips(model, samples, batch):
        yield torch.cat(list(parts), 1)


def _in_strips(model, samples: Sequence, batch: int) -> Iterator[Iterable[torch.Tensor]]:
    """Of each sample its logits `N+1 h W`, from the top down: one strip for whole images."""
    number("batch", batch)
    require_samples(samples)
    if not hasattr(model, "tile"):
        name = type(model).__name__
        remedy = "give a model of `adapt` or `open_model`, or Segmenter(sam)"
        raise fault(f"A {name}", "does not draw masks", "a Segmenter", remedy)
    if model.tile:
        yield from (strips(model, samples[i].image, batch) for i in range(len(samples)))
        return
    for start in range(0, len(samples), batch):
        part = [samples[i] for i in range(start, min(start + batch, len(samples)))]
        for one, sample in zip(_square_logits(model, part, model.resize), part, strict=True):
            yield [with_background(to_native(one[None], sample.mask.shape, model.resize))[0]]


@torch.no_grad()
def _square_logits(model, samples: Sequence[Sample], resize: str, **prompt) -> torch.Tensor:
    """Logits `B N S S` on the CPU, at the model's input size, of a model at rest."""
    images, _ = to_batch(samples, model.image_size, resize=resize)
    was_training = model.training
    logits = model.eval()(images.to(next(model.parameters()).device), **prompt).masks.float().cpu()
    model.train(was_training)
    return logits


def strips(model, image: np.ndarray, batch: int = 16) -> Iterator[torch.Tensor]:
    """Logits `N+1 h W` of an image `H W 3` (an array, or what is sliced like one) from the top
    down, blended from overlapping tiles. Held beside it: `batch` tiles, and a band of logits as
    high as a tile, `N side W` float32."""
    side, (high, wide) = model.tile, image.shape[:2]
    tops, lefts = tiles.starts(high, side), tiles.starts(wide, side)
    down, across = (torch.from_numpy(tiles.shares(n, side)) for n in (high, wide))
    band = None
    for row, (top, done) in enumerate(zip(tops, [*tops[1:], high], strict=True)):
        for first in range(0, len(lefts), batch):
            part = range(first, min(first + batch, len(lefts)))
            for i, logits in zip(part, _tile_logits(model, image, top, lefts, part), strict=True):
                band = torch.zeros(len(logits), side, wide) if band is None else band
                h, place = min(side, high - top), slice(lefts[i], min(wide, lefts[i] + side))
                share = down[row, top : top + h, None] * across[i, place]
                band[:, :h, place] += logits[:, :h, : share.shape[1]] * share
        yield with_background(band[None, :, : done - top])[0]
        band = torch.cat([band[:, done - top :], torch.zeros_like(band[:, : done - top])], 1)


def _tile_logits(model, image, top: int, lefts: Sequence[int], part: range) -> torch.Tensor:
    """Logits `B N side side` of some tiles of one row, at the image's scale."""
    cut = [tiles.piece(image, top, lefts[i], model.tile) for i in part]
    samples = [Sample(c, np.zeros(c.shape[:2], np.uint8), "tile") for c in cut]
    logits = _square_logits(model, samples, "square")
    return to_native(logits, (model.tile, model.tile))


def predict_image(model, image: np.ndarray, box=None, click=None) -> np.ndarray:
    """Label map `H W` uint8 (0 background, 1..C) of one image `H W 3` uint8, RGB.

    box: x0, y0, x1, y1 and click: x, y, in the image's pixels (x to the right, y down).

        model = open_model("build/fit/mine/best.safetensors")
        image = np.asarray(Image.open("photo.jpg").convert("RGB"))
        mask = predict_image(model, image)

    Raises UserError for what is no such image, a prompt outside of it, a box without a pixel, and
    a prompt for a model of tiles.
    """
    sample = Sample(image, np.zeros(np.shape(image)[:2], np.uint8), "given")
    check_sample(sample)
    if box is None and click is None:
        return predict(model, [sample])[0]
    if model.tile:
        given = f"draws tiles of {model.tile} pixels, and no prompt"
        raise fault("The model", given, "an image alone", "leave box and click out, or cut a tile")
    shape, prompt = sample.mask.shape, {}
    if box is not None:
        prompt["boxes"] = _inside("box", box, 4, shape, model)
    if click is not None:
        place = _inside("click", click, 2, shape, model)
        prompt["points"] = place[:, None], torch.ones(1, 1, dtype=torch.int)
    logits = _square_logits(model, [sample], model.resize, **prompt)
    return labels(with_background(to_native(logits, shape, model.resize))[0])


def _inside(name: str, xy, count: int, shape: tuple[int, int], model) -> torch.Tensor:
    """Pixels of the image as pixels of the model's square, `1 count`."""
    values, where = np.ravel(np.asarray(xy, object)), f"The {name} {xy!r:.60}"
    if len(values) != count or not all(isinstance(v, Real) for v in values):
        raise fault(f"The {name}", f"is {xy!r:.60}", f"{count} numbers", "give them in pixels")
    (h, w), (high, wide) = shape, filled(shape, model.image_size, model.resize)
    place = torch.from_numpy(values.astype(np.float32)).view(-1, 2)
    if not ((place >= 0) & (place <= torch.tensor([w, h]))).all():  # nan is nowhere
        remedy = "give x before y, in pixels from the upper left corner"
        raise fault(where, f"lies outside of an image {w} wide and {h} high", "it inside", remedy)
    if not (place[:1] < place[1:]).all():
        raise fault(where, "holds no pixel", "left, upper, right, lower", "put the smaller first")
    return (place * torch.tensor([wide / w, high / h])).view(1, -1)


def labels(logits: torch.Tensor) -> np.ndarray:
    """Logits `N+1 H W`, background first, to a label map `H W` uint8."""
    return logits.argmax(0).to(torch.uint8).numpy()


def predict_boxed(sam, samples: Sequence) -> list[np.ndarray]:
    """Label maps of the unadapted SAM with a tight box on every object, however small."""
    if not hasattr(sam, "prompt_encoder"):
        name, remedy = type(sam).__name__, "give one of `load_sam`, or leave prompt out"
        raise fault(f"A {name}", "takes no box", "the unadapted SAM", remedy)
    predictor, found = SamPredictor(sam), []
    for sample in samples:
        predictor.set_image(sample.image)
        answer = np.zeros_like(sample.mask)
        for label in np.unique(sample.mask[(sample.mask > 0) & (sample.mask != IGNORE)]):
            for part in components(sample.mask == label, least=0):
                mask, _, _ = predictor.predict(box=box_of(part), multimask_output=False)
                answer[mask[0]] = label
        found.append(answer)
    return found
