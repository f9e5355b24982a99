"""What one step of a run hands to AdamW: rates, decays, betas, clipped gradients."""

import pytest
import torch
from adapting import small_sam
from tiny import tiny_data

from naslora_core.adapters import NASLoRA, adapt
from naslora_core.search import Schedule, Stage
from naslora_core.training.devices import single_process
from naslora_core.training.loop import TrainingRun

FIRST = Stage("first", 30, "both", lr=0.1, alpha_lr=0.2)
LAST = Stage("last", 10, "both", 0.3, 0.4, weight_decay=0.5, alpha_weight_decay=0.6)


def facts(group):
    length = torch.cat([p.grad.flatten() for p in group["params"]]).norm().item()
    return {k: group[k] for k in ("lr", "weight_decay", "betas")} | {"norm": length}


@pytest.fixture(scope="module")
def steps():
    """Of each step the facts of both groups; its loss is steep for both."""
    model = adapt(small_sam(), NASLoRA(2, blocks=(5,)))
    how = tiny_data().train, Schedule("two", (FIRST, LAST)), 2, 0, None
    run, told = TrainingRun(model, *how, single_process(torch.device("cpu"))), []

    def steep(*_):
        loss = sum(1e3 * p.sum() for p in model.trainable().values())
        loss.backward()
        return loss.detach()

    run._backward = steep
    for stage, done in run.remaining_steps():
        run.train_step(stage, done, None, None)
        told.append({g["kind"]: facts(g) for g in run.optimiser.param_groups})
    return told


def of(steps, kind, what):
    return [step[kind][what] for step in steps]


def test_weights_warm_up_over_a_twentieth_and_fall_to_zero_over_nine_tenths(steps):
    slope = [0.5] + [1.0] * 4 + [n / 36 for n in range(35, 0, -1)]  # of 40 steps
    rates = [0.1] * 30 + [0.3] * 10
    wanted = [rate * s for rate, s in zip(rates, slope, strict=True)]
    assert of(steps, "weights", "lr") == pytest.approx(wanted)


def test_alphas_rate_is_its_stages_own_from_the_first_step_to_the_last(steps):
    assert of(steps, "alpha", "lr") == [0.2] * 30 + [0.4] * 10


def test_decays_are_the_stages(steps):
    assert of(steps, "weights", "weight_decay") == [1e-4] * 30 + [0.5] * 10
    assert of(steps, "alpha", "weight_decay") == [1e-3] * 30 + [0.6] * 10


def test_alpha_forgets_its_gradients_sooner_as_in_darts(steps):
    assert steps[0]["weights"]["betas"] == (0.9, 0.999)
    assert steps[0]["alpha"]["betas"] == (0.5, 0.999)


def test_each_groups_gradient_is_clipped_to_length_one_by_itself(steps):
    for kind in ("weights", "alpha"):
        assert of(steps, kind, "norm") == pytest.approx([1] * 40, abs=1e-3)
