"""Tokens that choose a class: the matching is the cheapest, the loss falls, the file remembers."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from adapting import random_images, small_sam
from tiny import OUT, SIDE, tiny_data

from naslora_core.adapters import LoRA, adapt, fold, load_adapter, load_folded, save_adapter
from naslora_core.errors import UserError
from naslora_core.sam.mask_head import semantic
from naslora_core.training.fitting import fit
from naslora_core.training.losses import match, matched_loss


def one_image(tokens=4, classes=3, seed=0):
    g = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (1, 16, 16), generator=g)  # the last class is absent
    masks = torch.randn(1, tokens, 16, 16, generator=g)
    return masks, torch.randn(1, tokens, classes + 1, generator=g), labels


def cost(mask, classes, truth, label, weight):
    p = mask.sigmoid()
    dice = 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    cross = F.binary_cross_entropy_with_logits(mask, truth)
    return -weight * classes.softmax(-1)[label] + 5 * cross + 5 * dice


def shown(labels):
    return torch.stack([labels == c for c in (1, 2, 3)], 1).float()


@pytest.mark.parametrize("seed", range(3))
def test_the_matching_is_the_cheapest_of_all(seed):
    masks, classes, labels = one_image(seed=seed)
    image, tokens, targets = match(masks, classes, shown(labels))
    every = {
        pair: sum(
            cost(masks[0, n], classes[0, n], shown(labels)[0, t], t, 2) for t, n in enumerate(pair)
        )
        for pair in permutations(range(4), 2)
    }
    best = min(every, key=every.get)
    assert dict(zip(targets.tolist(), tokens.tolist(), strict=True)) == dict(enumerate(best))
    assert image.tolist() == [0, 0]


def test_the_loss_is_what_the_matching_says():
    """Mask terms over all matched masks, as released."""
    masks, classes, labels = (
        torch.cat(x) for x in zip(one_image(), one_image(seed=1), strict=True)
    )
    labels[1][labels[1] == 2] = 0  # two masks in the first image, one in the second
    found = list(zip(*match(masks, classes, shown(labels)), strict=True))
    assert len(found) == 3
    wanted = torch.full((2, 4), 3)
    mask_terms = 0
    for b, n, t in found:
        wanted[b, n] = t
        term = cost(masks[b, n], classes[b, n], shown(labels)[b, t], t, 0)
        mask_terms += term / 3
    weight = torch.tensor([1.0, 1.0, 1.0, 0.1])
    expected = 10 * F.cross_entropy(classes.flatten(0, 1), wanted.flatten(), weight) + mask_terms
    assert torch.allclose(matched_loss(masks, classes, labels), expected)


def test_order_of_tokens_does_not_matter_and_empty_images_have_a_loss():
    masks, classes, labels = one_image()
    turned = matched_loss(masks.flip(1), classes.flip(1), labels)
    assert torch.allclose(matched_loss(masks, classes, labels), turned)
    empty = matched_loss(masks.requires_grad_(), classes, torch.zeros_like(labels))
    empty.backward()
    assert empty.isfinite() and masks.grad.abs().max() == 0


def test_a_batch_twice_as_long_has_the_same_loss():
    masks, classes, labels = one_image()
    twice = [torch.cat([part, part]) for part in (masks, classes, labels)]
    assert torch.allclose(matched_loss(*twice), matched_loss(masks, classes, labels))


def test_a_mask_that_is_not_finite_has_a_loss_that_tells():
    masks, classes, labels = one_image()
    assert matched_loss(masks * torch.nan, classes, labels).isnan()


def test_semantic_logits_against_the_sum():
    masks, classes, _ = one_image()
    found = semantic(masks, classes).sigmoid()
    share = classes[0].softmax(-1)
    wanted = sum(share[n, 1] * masks[0, n].sigmoid() for n in range(4))
    assert torch.allclose(found[0, 1], wanted.clamp(1e-4, 1 - 1e-4), atol=1e-5)


def test_semantic_logits_are_finite_where_autocast_rounds():
    """In bfloat16 1 - 1e-4 is 1, whose logit is infinite."""
    masks, classes = torch.full((1, 2, 4, 4), 30.0), torch.tensor([[[30.0, -30.0]] * 2])
    found = semantic(masks.bfloat16(), classes.bfloat16())
    assert torch.isfinite(found).all() and found.min() > 9


def test_a_matched_model_learns_saves_folds_and_counts_its_head(small_base, tmp_path):
    sam, data = small_sam(), tiny_data(classes=2)
    model = adapt(sam, LoRA(rank=2), classes=2, head="matched")
    assert sum(p.numel() for p in model.head.parameters()) == (
        10 * OUT + (OUT * OUT + OUT) * 2 + (OUT * OUT // 8 + OUT // 8) + (OUT * 3 + 3)
    )
    told = fit(model, data, steps=24, batch=4, lr=1e-2, progress=False).history
    losses = [event["loss"] for event in told]
    assert sum(losses[-4:]) < 0.8 * sum(losses[:4])
    images = random_images()
    with torch.no_grad():
        out = model(images)
        again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))(images)
        folded = load_folded(fold(model).save(tmp_path / "f.safetensors"))(images)
    assert out.masks.shape == (2, 2, SIDE, SIDE) and out.classes.shape == (2, 10, 3)
    assert torch.equal(out.masks, again.masks)
    assert (out.low_res - folded.low_res).abs().max() < 1e-4
    assert (out.classes - folded.classes).abs().max() < 1e-4


def test_an_image_may_show_more_classes_than_there_were_tokens():
    model = adapt(small_sam(), LoRA(rank=2), classes=12, head="matched")
    labels = torch.arange(SIDE).repeat(2, SIDE, 1) // 5  # each of 12 classes, and background
    with torch.no_grad():
        out = model(random_images())
        whole, *others = (
            matched_loss(out.low_res, out.classes, labels.where(labels != erased, 0))
            for erased in range(13)
        )
    assert out.classes.shape == (2, 12, 13) and all(loss != whole for loss in others)


def test_an_unknown_head_is_refused_with_the_choices():
    with pytest.raises(UserError, match="'many'.*plain, matched"):
        adapt(small_sam(), LoRA(), head="many")
