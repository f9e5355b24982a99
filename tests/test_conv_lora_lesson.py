"""Lesson 06: its checks name each planted bug, its figures read known maps, its helpers route."""

import pytest
import torch
import torch.nn.functional as F
from adapting import random_images, shaken, small_sam
from matplotlib.figure import Figure

from naslora_core.adapters import ConvLoRA, adapt
from naslora_workbook import figures as figures
from naslora_workbook.figures.scales import _route
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_06 import (
    half_reshaped_path,
    reshaped_path,
    spatial_path,
)
from naslora_workbook.lessons.routing import chosen_experts, one_expert, qkv_inputs


@pytest.fixture(autouse=True)
def solved(tmp_path, monkeypatch):
    monkeypatch.setenv("NASLORA_SOLVED", str(tmp_path / "solved.json"))


def gradients(z, w_gate, answers, target, gates_of):
    found = []
    for k in (1, w_gate.shape[1]):
        w = w_gate.clone().requires_grad_()
        E = torch.einsum("bm,bmrhw->brhw", gates_of(z.mean((2, 3)) @ w, k), answers)
        found += torch.autograd.grad(F.mse_loss(z + E, target), w)
    return found


def kept(logits, k):
    top = logits.topk(k)
    return torch.zeros_like(logits).scatter(1, top.indices, top.values.softmax(1))


def switch(logits, k):
    return logits.softmax(1) * (logits >= logits.topk(k).values[:, -1:])


def test_top_1_has_no_gradient_unless_its_gate_is_the_share_among_all():
    assert checks.ex_6_1(lambda *a: gradients(*a, kept)).state == checks.SOLVED
    wrong = checks.ex_6_1(lambda *a: gradients(*a, switch))
    assert wrong.state == checks.WRONG and "ONE logit" in wrong.sentence
    assert checks.ex_6_1(lambda *a: gradients(*a, kept)[::-1]).state == checks.WRONG
    absent = checks.ex_6_1(lambda *a: [None, gradients(*a, kept)[1]])
    assert absent.sentence.startswith("Result 1 is None.") and "zeros" in absent.sentence


def test_a_sum_that_overflows_is_found():
    def naive(answers, log_gates):
        return (log_gates.exp()[..., None, None, None] * answers.exp()).sum(1).log()

    def safe(answers, log_gates):
        return (answers + log_gates[..., None, None, None]).logsumexp(1)

    assert checks.ex_6_2(naive).state == checks.WRONG
    assert checks.ex_6_2(safe).state == checks.SOLVED


def test_a_path_that_reshapes_is_found_even_if_only_on_the_way_back():
    assert checks.ex_6_3(spatial_path).state == checks.SOLVED
    for wrong in (reshaped_path, half_reshaped_path):
        assert checks.ex_6_3(wrong).state == checks.WRONG


def test_figures_say_what_they_show():
    centre = F.pad(torch.ones(1, 1), (1, 1, 1, 1))
    assert "any 11% to 100%" in figures.fields({"any": [torch.ones(3, 3), 5 * centre]}).alt
    losses = {"top-1": [1.0, 1.0, 2.0], "softmax": [1.0, 2.0, 3.0]}
    walked = figures.router_walk([0.0, 1.0, 2.0], [[0.5, 0.5]] * 3, losses)
    assert "top-1 1 of 2, softmax 0 of 2" in walked.alt
    photo, apart = torch.zeros(8, 8, 3).byte().numpy(), torch.tensor([[1, 2], [1, 1]])
    shown = figures.routes(photo, {"a": apart, "b": apart * 0 + 3, "c": torch.ones(1, 1)}, 4)
    assert "In 1 of 2 windowed blocks" in shown.alt
    ax = Figure().add_subplot()
    _route(ax, photo, apart.numpy(), window=6)  # 8 pixels in windows of 6: the last is cut
    places = {(*p.get_xy(), p.get_width(), p.get_height()) for p in ax.patches}
    assert places == {(0, 0, 6, 6), (6, 0, 2, 6), (0, 6, 6, 2), (6, 6, 2, 2)}


def test_experts_are_told_window_by_window_and_can_be_forced():
    model, images = shaken(adapt(small_sam(), ConvLoRA())), random_images(2)
    found, blocks = chosen_experts(model, images), model.sam.image_encoder.blocks
    for x, experts, block in zip(qkv_inputs(model, images), found, blocks, strict=True):
        assert x.shape[0] == experts.numel()
        windows = 1 if block.window_size == 0 else experts.shape[1]
        assert experts.shape == (2, windows, windows) and 1 <= experts.min() <= experts.max() <= 8
    with torch.no_grad(), one_expert(model, 3):
        forced = model(images).low_res
        assert all((e == 3).all() for e in chosen_experts(model, images))
    with torch.no_grad():
        free = model(images).low_res
    assert not torch.equal(forced, free)
