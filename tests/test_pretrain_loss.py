"""What pre-training asks of a step: the best of three masks, the IoU of all, one more click."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from naslora_core.sam import SamPredictor
from naslora_workbook.research.base_table import SCENE_SEED, score
from naslora_workbook.research.pretraining import leg
from naslora_workbook.research.pretraining.leg import Leg, mask_loss, prompt_loss, step_loss
from naslora_workbook.research.pretraining.pretrain import VALIDATION_SEED

SIDE = 8  # of images and of drawn masks
TRUSTED = torch.tensor([[0.9, 0.1, 0.7, 0.2], [0.9, 0.3, 0.1, 0.5]])  # IoU that is predicted
CHOSEN = {"clicks": [2, 3], "boxes": [0, 0]}  # of three masks the most trusted, of one that one


@pytest.mark.parametrize("ambiguous", [True, False])
def test_a_round_is_judged_by_its_definition(ambiguous):
    g = torch.Generator().manual_seed(0)
    masks, iou = torch.randn(5, 4, SIDE, SIDE, generator=g), torch.rand(5, 4, generator=g)
    truth = (torch.rand(5, 1, SIDE, SIDE, generator=g) > 0.5).float()
    drawn = missed = 0.0
    for mask, told, true in zip(masks, iou, truth, strict=True):
        each = [mask_loss(m[None, None], true[None]).item() for m in mask]
        drawn += (min(each[1:]) if ambiguous else each[0]) / 5
        for m, t in zip(mask > 0, told, strict=True):
            reached = (m & (true[0] > 0.5)).sum() / (m | (true[0] > 0.5)).sum()
            missed += float((t - reached) ** 2) / 20
    found = prompt_loss(masks, iou, truth, ambiguous).item()
    assert missed > 0.05 and found == pytest.approx(drawn + missed, rel=1e-5)


@pytest.fixture
def asked(monkeypatch):
    """What the decoder is asked; it draws all of the first object's image, none of the second's."""
    calls = []

    def prompted(sam, embedding, **given):
        assert embedding.shape == (2, 1, 2, 2)
        level = torch.tensor([[1.0, 2, 3, 4], [-1, -2, -3, -4]]) * (1 + len(calls))
        answer = level[..., None, None].expand(2, 4, SIDE, SIDE), TRUSTED
        calls.append((given, answer))
        return answer

    monkeypatch.setattr(leg, "prompted", prompted)
    return calls


def a_batch():
    """One image: two objects with a click, two with a box."""
    masks = torch.zeros(1, 4, SIDE, SIDE)
    masks[:, ::2, :3], masks[:, 1::2, 5:] = 1, 1
    clicks, boxes = torch.tensor([[[4.0, 1], [4, 6]]]), torch.tensor([[[0.0, 0, 7, 2]] * 2])
    given = {"masks": masks, "clicks": clicks, "boxes": boxes, "key": torch.tensor([3])}
    return given | {"image": torch.zeros(1, 3, SIDE, SIDE)}


def step(corrected):
    def encode(images):
        return torch.zeros(len(images), 1, 2, 2)

    sam = SimpleNamespace(image_encoder=encode, pixel_mean=0, pixel_std=1)
    return step_loss(sam, a_batch(), corrected)


@pytest.mark.parametrize("kind", ["clicks", "boxes"])
def test_a_correction_keeps_the_prompt_and_clicks_where_the_chosen_mask_is_wrong(asked, kind):
    step(kind)
    rounds = {"clicks": asked[:2], "boxes": asked[1:]}[kind]
    (first, (drawn, _)), (again, _) = rounds
    assert torch.equal(again["mask"], drawn[range(2), CHOSEN[kind]][:, None])
    points, labels = again["points"]
    if kind == "clicks":
        before = first["points"]
        assert torch.equal(points[:, :1], before[0]) and torch.equal(labels[:, :1], before[1])
        points, labels = points[:, 1:], labels[:, 1:]
    else:
        assert torch.equal(again["boxes"], first["boxes"])
    assert points.shape == (2, 1, 2) and labels.tolist() == [[0], [1]]  # too much, missed
    truth = a_batch()["masks"][0, :2].bool()
    for (x, y), mask, missed in zip(
        points[:, 0].long().tolist(), truth, (False, True), strict=True
    ):
        assert mask[y, x] == missed


def test_a_steps_loss_is_that_of_all_its_rounds(asked):
    truth = a_batch()["masks"][0, :2, None]
    for corrected, ambiguous in ((None, (1, 0)), ("clicks", (1, 0, 0)), ("boxes", (1, 0, 0))):
        asked.clear()
        found = step(corrected)
        rounds = zip(asked, ambiguous, strict=True)
        each = [prompt_loss(*answer, truth, bool(best)) for (_, answer), best in rounds]
        assert torch.allclose(found, sum(each))


def test_what_is_judged_was_never_shown():
    assert len({Leg(1).seed, VALIDATION_SEED, SCENE_SEED}) == 3


def test_a_click_is_scored_by_the_mask_that_the_model_trusts(monkeypatch):
    truth = np.zeros((32, 32), bool)
    truth[8:24, 8:24] = True
    half = truth & (np.arange(32) < 16)

    def predict(self, multimask_output, **prompt):
        return np.stack([truth, half, ~truth]), np.array([0.2, 0.9, 0.3]), None

    for name in ("__init__", "set_image"):
        monkeypatch.setattr(SamPredictor, name, lambda *_: None)
    monkeypatch.setattr(SamPredictor, "predict", predict)
    sam = SimpleNamespace(prompt_encoder=SimpleNamespace(image_embedding_size=(16, 16)))
    row = score(sam, [(np.zeros((32, 32, 3), np.uint8), truth[None])])
    assert (row["click"], row["click_best_of_3"], row["box"]) == (0.5, 1.0, 1.0)
