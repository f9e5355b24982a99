"""What `sam_nano` is trained on, as SAM is: clicks and boxes, then corrections of the answer."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from naslora_core.sam.mask_head import run_decoder
from naslora_core.training.losses import soft_dice
from naslora_workbook.research.pretraining.leg import correction_click


def mask_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """20 focal + dice for each mask, logits and soft truth `N M h w` -> `N M` (SAM, appendix A)."""
    cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    p = logits.sigmoid()
    focal = (p - truth).abs() ** 2 * cross
    return 20 * focal.mean((-2, -1)) + 1 - soft_dice(p, truth, (-2, -1))


def soft_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU `N M` of thresholded masks: what the IoU head learns to predict."""
    a, b = logits > 0, truth > 0.5
    return (a & b).sum((-2, -1)) / (a | b).sum((-2, -1)).clamp(min=1)


class Prompted:
    """All four masks of a SAM for one prompt an object, and their loss."""

    def __init__(self, sam, embedding: Tensor):
        self.sam, self.embedding = sam, embedding  # N C h w, repeated for every object
        self.pe = sam.prompt_encoder.get_dense_pe()

    def __call__(self, points=None, boxes=None, mask=None):
        decoder = self.sam.mask_decoder
        sparse, dense = self.sam.prompt_encoder(points=points, boxes=boxes, masks=mask)
        mlps = dict(enumerate(decoder.output_hypernetworks_mlps))
        source, tokens = self.embedding + dense, decoder.mask_tokens.weight
        masks, iou, _ = run_decoder(decoder, source, self.pe, sparse, tokens, mlps)
        return masks.float(), iou.float()


def prompt_loss(masks: Tensor, iou: Tensor, truth: Tensor, ambiguous: bool) -> Tensor:
    """Loss of one round: an ambiguous click is judged by the best of its three masks alone."""
    each = mask_loss(masks, truth.expand_as(masks))  # N 4
    drawn = each[:, 1:].min(1).values if ambiguous else each[:, 0]
    return drawn.mean() + F.mse_loss(iou, soft_iou(masks.detach(), truth))


def step_loss(sam, batch: dict[str, Tensor], corrected: str | None) -> Tensor:
    """Clicks and boxes, then one round of corrections for one of the two kinds, or for none."""
    images, masks = batch["image"].float(), batch["masks"].float()  # B 3 S S, B M S S
    embedding = sam.image_encoder((images - sam.pixel_mean) / sam.pixel_std)
    side = 4 * embedding.shape[-1]
    low = F.interpolate(masks, (side, side), mode="area")
    total, clicks = 0.0, batch["clicks"].shape[1]
    for kind, part in (("clicks", slice(0, clicks)), ("boxes", slice(clicks, None))):
        prompts, truth = batch[kind].flatten(0, 1), low[:, part].flatten(0, 1)[:, None]
        predict = Prompted(sam, embedding.repeat_interleave(batch[kind].shape[1], 0))
        given = {"boxes": prompts}
        if kind == "clicks":
            given = {"points": (prompts[:, None], prompts.new_ones(len(prompts), 1))}
        out, iou = predict(**given)
        total = total + prompt_loss(out, iou, truth, kind == "clicks")
        if kind == corrected:
            # of a click's three masks the most trusted one, of a box's masks the first
            best = 1 + iou[:, 1:].argmax(1) if kind == "clicks" else torch.zeros(len(out)).long()
            drawn = out[range(len(out)), best][:, None].detach()
            given = _corrected(given, drawn, masks[:, part].flatten(0, 1), batch["key"])
            total = total + prompt_loss(*predict(**given, mask=drawn), truth, ambiguous=False)
    return total


def _corrected(given: dict, logits: Tensor, truth: Tensor, keys: Tensor) -> dict:
    """The prompt with one more click where the mask is wrong; a scene's key draws its clicks."""
    each = len(truth) // len(keys)
    rngs = [rng for rng in map(np.random.default_rng, keys.tolist()) for _ in range(each)]
    guess = F.interpolate(logits, truth.shape[-2:], mode="bilinear")[:, 0] > 0
    cases = zip(rngs, guess.cpu().numpy(), truth.bool().cpu().numpy(), strict=True)
    clicks, labels = zip(*(correction_click(*case) for case in cases), strict=True)
    more = torch.from_numpy(np.stack(clicks))[:, None], torch.tensor(labels)[:, None].float()
    more = tuple(part.to(truth.device) for part in more)
    if "points" in given:
        more = tuple(torch.cat(pair, 1) for pair in zip(given["points"], more, strict=True))
    return {**given, "points": more}
