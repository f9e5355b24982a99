"""Planted operators: a search must find what can be known, and the oracle must be able to fail."""

import dataclasses
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from naslora_core.errors import UserError
from naslora_core.search import Schedule, Stage
from naslora_workbook.lessons.domains import domain
from naslora_workbook.research import experiment_power
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research import recovery_in_sam as planted_sam
from naslora_workbook.research.operator_recovery import (
    Garden,
    Race,
    convolve,
    features,
    matrix,
)
from naslora_workbook.research.recovery_grid import recorded
from naslora_workbook.research.recovery_in_sam import Bed

QUICK = Garden(steps=120, batch=8, lr=0.02)


def test_every_class_expresses_its_own_teacher_and_none_expresses_all():
    found = matrix(Garden(), seed=0)
    for name, residual in found.items():
        assert residual[name] < 1e-6
        assert residual["conv_5x5"] < 1e-6 and residual["none"] == pytest.approx(1)
    assert found["conv_5x5"]["conv_3x3"] > 0.05 and found["conv_3x3"]["skip"] > 0.05


def test_a_teacher_has_unit_output_and_depends_on_its_seed():
    garden = Garden()
    kernels = [planted.teacher("conv_3x3", garden, seed) for seed in (0, 0, 1)]
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert convolve(kernels[0], features(garden, 0, 0)).std() == pytest.approx(1, rel=1e-4)
    with pytest.raises(UserError, match="'none' cannot be planted.*skip"):
        planted.teacher("none", garden, 0)


@pytest.mark.parametrize("name", ["skip", "conv_3x3", "avg_pool_3x3"])
def test_a_short_search_names_the_cheapest_class_that_fits(name):
    race = planted.race(name, 0, QUICK)
    assert race.cheapest == race.projection == name
    assert race.history[-1]["loss"] < race.history[0]["loss"]
    assert race.steps_to("projection") <= race.history[-1]["step"]


def test_a_search_that_was_too_short_is_no_hit():
    race = planted.race("avg_pool_3x3", 0, replace(QUICK, steps=2))
    assert not race.hit("projection") and race.steps_to("projection") is None


def test_the_step_from_which_a_reading_stays_right():
    history = [{"step": s, "argmax": a} for s, a in ((1, "a"), (2, "b"), (3, "a"), (4, "a"))]
    assert Race("x", 0, "a", "a", "a", {}, history).steps_to("argmax") == 3
    assert Race("x", 0, "b", "a", "a", {}, history).steps_to("argmax") is None


def test_inside_a_sam_the_teacher_has_the_wanted_strength_and_the_student_starts_as_the_base():
    from naslora_core.sam import load_sam

    sam, bed = load_sam(), Bed(blocks=(5,), steps=4, batch=2)
    samples = list(domain("polyp", train=4).train)
    x = planted_sam.tokens(sam, samples, 5)
    encoder = sam.image_encoder
    images, _ = planted_sam.to_batch(samples, 128)
    with torch.no_grad():
        whole = encoder((images - sam.pixel_mean) / sam.pixel_std)
        assert torch.allclose(planted_sam.Tail(encoder, 5)(x), whole, atol=1e-5)
        teacher = planted_sam.plant(sam, planted_sam.one_operator("conv_3x3", bed), 0, bed, x)
        qkv = teacher.sam.image_encoder.blocks[5].attn.qkv
        z = teacher.sam.image_encoder.blocks[5].norm1(x)
        path = qkv(z) - qkv.base(z)
        assert path.std() / qkv.base(z).std() == pytest.approx(bed.strength, rel=1e-3)
    (race,) = planted_sam.race(sam, samples, "conv_3x3", 0, bed)
    assert race.place == "block 5" and race.cheapest == "conv_3x3" and race.history


def test_recorded_searches_are_read_by_plant_and_seed(tmp_path):
    for name, seed in (("skip", 1), ("skip", 0), ("conv_3x3", 0)):
        race = dataclasses.asdict(Race(name, seed, name, name, "skip", {}))
        (tmp_path / f"{name}{seed}.json").write_text(json.dumps({"races": [race]}))
    found = [(race.planted, race.seed) for race in recorded(tmp_path)]
    assert found == [("skip", 0), ("skip", 1), ("conv_3x3", 0)]


def test_a_record_of_the_power_experiment_says_what_was_read():
    found = experiment_power._record(planted.race("skip", 0, replace(QUICK, steps=20)))
    assert found["planted"] == found["cheapest"] == "skip" and found["place"] == "cell"
    assert 0 < found["steadiness"] <= 1 and 0 < found["winner"] < 1


def test_alpha_moves_at_the_gardens_rate():
    slow = planted.race("skip", 0, replace(QUICK, steps=20, alpha_lr=0.0))
    assert slow.history[-1]["probability"] == pytest.approx([1 / 9] * 9)
    fast = planted.race("skip", 0, replace(QUICK, steps=20, alpha_lr=0.1))
    assert max(fast.history[-1]["probability"]) > 0.12


def test_weights_rates_fall_over_the_second_half_and_alphas_never():
    """Under a steady gradient Adam moves each parameter by its rate."""

    class Far(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.arch_alpha = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))

        def forward(self, x):
            return x * (self.weight + self.arch_alpha)

    model, found = Far(), []
    schedule = Schedule("s", (Stage("s", 8, "both", lr=0.01, alpha_lr=0.02),))
    for _ in planted.search(model, lambda step: (torch.ones(1), torch.full((1,), 1e6)), schedule):
        found.append([model.weight.item(), model.arch_alpha.item()])
    weight, alpha = torch.tensor([[0.0, 0.0], *found]).diff(dim=0).T
    falling = 0.01 * torch.tensor([1, 1, 1, 1, 1, 0.75, 0.5, 0.25])
    assert torch.allclose(weight, falling, rtol=0.01)
    assert torch.allclose(alpha, torch.full((8,), 0.02), rtol=0.01)


def test_noise_is_the_share_it_says():
    garden = Garden(noise=0.5)
    kernel = planted.teacher("skip", garden, 0)
    z, y = planted.lesson(kernel, garden, 0, 3)
    assert (y - F.conv2d(z, kernel, padding=2)).std() == pytest.approx(0.5, rel=0.05)
