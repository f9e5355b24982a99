"""Masks of a model at each image's own size, without a prompt or with one."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from naslora_core.data.dataset import IGNORE, Sample
from naslora_core.data.transforms import filled, to_batch, to_native
from naslora_core.errors import UserError
from naslora_core.sam import SamPredictor
from naslora_core.training.losses import with_background
from naslora_core.training.prompts import box_of, components


def predict(model, samples: Sequence, batch: int = 16) -> list[np.ndarray]:
    """Prompt-free label maps `H W` uint8 of every sample, at its own size."""
    return [labels(logits) for logits in native_logits(model, samples, batch)]


@torch.no_grad()
def predict_image(model, image: np.ndarray, box=None, click=None) -> np.ndarray:
    """Label map `H W` uint8 (0 background, 1..C) of one image `H W 3` uint8, RGB.

    box: x0, y0, x1, y1 and click: x, y, in the image's pixels (x to the right, y down).

        model = open_model("build/fit/mine/best.safetensors")
        image = np.asarray(Image.open("photo.jpg").convert("RGB"))
        mask = predict_image(model, image)

    Raises UserError for an array that is no such image, for a prompt that lies outside of it, and
    for a box without any pixel.
    """
    sample = Sample(checked(image), np.zeros(np.shape(image)[:2], np.uint8), "image")
    if box is None and click is None:
        return predict(model, [sample])[0]
    batch, _ = to_batch([sample], model.image_size, resize=model.resize)
    shape = sample.mask.shape
    boxes = _inside(box, shape, model) if box is not None else None
    points = None
    if click is not None:
        points = _inside(click, shape, model)[:, None], torch.ones(1, 1, dtype=torch.int)
    was_training = model.training
    logits = model.eval()(batch, points=points, boxes=boxes).masks.float()
    model.train(was_training)
    return labels(with_background(to_native(logits, shape, model.resize))[0])


def checked(image: np.ndarray) -> np.ndarray:
    """The image, if it is `H W 3` of uint8; UserError with the way there where it is not."""
    found = f"{getattr(image, 'dtype', type(image).__name__)} {np.shape(image)}"
    if np.ndim(image) != 3 or np.shape(image)[-1] != 3 or 0 in np.shape(image):
        raise UserError(
            f"The image is {found}; expected height, width and the channels red, green, blue: "
            "np.asarray(Image.open(FILE).convert('RGB'))."
        )
    if getattr(image, "dtype", None) != np.uint8:
        raise UserError(
            f"The image is {found}; expected uint8 in 0..255; of numbers in 0..1: "
            "(255 * image).round().astype(np.uint8)."
        )
    return image


def _inside(xy: Sequence[float], shape: tuple[int, int], model) -> torch.Tensor:
    """Pixels of the image as pixels of the model's square, `1 2` or `1 4`."""
    (h, w), (high, wide) = shape, filled(shape, model.image_size, model.resize)
    place = torch.tensor(xy, dtype=torch.float32).view(-1, 2)
    told = " ".join(f"{v:g}" for v in xy)
    if not ((place >= 0) & (place <= torch.tensor([w, h]))).all():  # nan is nowhere
        raise UserError(
            f"The prompt {told} lies outside of an image {w} wide and {h} high; give x before y, "
            "in pixels from the upper left corner."
        )
    if not (place[:1] < place[1:]).all():
        raise UserError(
            f"The box {told} holds no pixel; give its left, upper, right and lower edge, the "
            "smaller number first."
        )
    scale = torch.tensor([wide / w, high / h])
    return (place * scale).view(1, -1)


def labels(logits: torch.Tensor) -> np.ndarray:
    """Logits `N+1 H W`, background first, to a label map `H W` uint8."""
    return logits.argmax(0).to(torch.uint8).numpy()


@torch.no_grad()
def native_logits(model, samples: Sequence, batch: int = 16) -> Iterator[torch.Tensor]:
    """Prompt-free logits `N+1 H W` of one sample after another, at its own size.

    Background, the logit 0, comes first. Enlarged before anything is decided.
    """
    was_training = model.training
    for start in range(0, len(samples), batch):
        part = [samples[i] for i in range(start, min(start + batch, len(samples)))]
        images, _ = to_batch(part, model.image_size, resize=model.resize)
        model.eval()
        logits = model(images.to(next(model.parameters()).device)).masks.float().cpu()
        model.train(was_training)
        for one, sample in zip(logits, part, strict=True):
            yield with_background(to_native(one[None], sample.mask.shape, model.resize))[0]


def predict_boxed(sam, samples: Sequence) -> list[np.ndarray]:
    """What a user gets from the unadapted SAM: a tight box on every object, however small, masks
    united."""
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
