"""A schedule is data: what moves when, on which images, what it costs and what it can decide."""

import dataclasses
import math

import pytest
import torch

from naslora_core.errors import UserError
from naslora_core.search.schedule import (
    Schedule,
    Stage,
    bilevel,
    budget,
    joint,
    named_schedule,
    stage_wise,
    weights_only,
    winner_probability,
)


@pytest.mark.parametrize("steps", [1, 7, 80, 251, 400])
@pytest.mark.parametrize("make", [stage_wise, joint, bilevel, weights_only])
def test_a_schedule_has_the_steps_it_was_asked_for_alpha_included(make, steps):
    schedule = make(steps, 1e-3)
    assert schedule.steps == steps == sum(s.steps for s in schedule.stages)
    assert all(s.steps >= 0 for s in schedule.stages)


def test_stage_wise_warms_up_then_moves_both_then_settles():
    schedule = stage_wise(100, 1e-3)
    assert [s.name for s in schedule.stages] == ["warm-up", "search", "settle"]
    warm, search, settle = schedule.stages
    for stage in (warm, settle):
        assert stage.moves_at(0) == stage.moves_at(1) == (("weights",), None)
    assert search.moves_at(0) == search.moves_at(1) == (("weights", "alpha"), None)


def test_bilevel_moves_weights_on_one_half_and_alpha_on_the_other():
    search = bilevel(100, 1e-3).stages[0]
    assert {search.moves_at(0), search.moves_at(1)} == {(("weights",), "A"), (("alpha",), "B")}


@pytest.mark.parametrize("make", [stage_wise, joint, bilevel, weights_only])
@pytest.mark.parametrize("steps", [40, 250])
def test_counted_alpha_steps_are_the_turns_that_move_alpha(make, steps):
    schedule = make(steps, 1e-3)
    turns = [stage.moves_at(done)[0] for stage, done in schedule.timeline]
    assert schedule.alpha_steps == sum("alpha" in moved for moved in turns)


def test_a_stage_counts_its_turns_from_its_own_first_step():
    stages = Stage("warm", 5, "weights", 1e-3), Stage("search", 3, "alternate", 1e-3)
    turns = [stage.moves_at(done) for stage, done in Schedule("late", stages).timeline[5:]]
    assert turns == [(("weights",), "A"), (("alpha",), "B"), (("weights",), "A")]
    assert Schedule("late", stages).alpha_steps == 1


def test_joint_moves_both_on_the_same_images():
    assert joint(10, 1e-3).stages[0].moves_at(3) == (("weights", "alpha"), None)


def test_schedules_are_values():
    assert stage_wise(10, 1e-3) == stage_wise(10, 1e-3) != stage_wise(10, 2e-3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        joint(10, 1e-3).stages[0].steps = 3


def test_names_and_what_a_method_without_alpha_gets():
    assert named_schedule("joint", 10, 1e-3, searches=True) == joint(10, 1e-3)
    assert named_schedule("joint", 10, 1e-3, searches=False) == weights_only(10, 1e-3)
    own = Schedule("mine", (Stage("a", 3, "weights", 1e-3),))
    assert named_schedule(own, 10, 1e-3, searches=False) is own
    with pytest.raises(UserError, match=r"'two-level'.*stage-wise, joint"):
        named_schedule("two-level", 10, 1e-3, searches=True)
    with pytest.raises(UserError, match=r"'joint' moves alpha.*weights_only"):
        named_schedule(joint(10, 1e-3), 10, 1e-3, searches=False)


def test_a_stage_refuses_what_it_cannot_do():
    with pytest.raises(UserError, match=r"'warm'.*'alpa'.*alternate"):
        Stage("warm", 3, "alpa", 1e-3)
    with pytest.raises(UserError, match="steps=-1"):
        Stage("warm", -1, "weights", 1e-3)


def test_the_budget_in_plain_words():
    schedule = Schedule("s", (Stage("search", 180, "alpha", 1e-3, alpha_lr=3e-3),))
    text = budget(schedule, 9)
    for fact in ("180 alpha steps at 0.003", "about 0.27", "up to about 0.52", "uniform is 0.11"):
        assert fact in text
    assert "unlikely" in text
    assert "unlikely" not in budget(joint(400, 1e-3), 9)
    assert "never moves" in budget(weights_only(100, 1e-3), 9)


def test_the_estimate_is_what_adam_does_under_a_steady_gradient():
    alpha = torch.zeros(7, requires_grad=True)
    optimiser = torch.optim.AdamW([alpha], 3e-3, betas=(0.5, 0.999), weight_decay=0)
    steady = torch.ones(7)
    steady[0] = -1
    for _ in range(299):
        alpha.grad = steady.clone()
        optimiser.step()
    reached = alpha.detach().softmax(0)[0].item()
    assert math.isclose(reached, 0.5, abs_tol=0.01)
    assert math.isclose(winner_probability(299 * 3e-3, 7), reached, abs_tol=0.01)
    assert winner_probability(0, 7) == pytest.approx(1 / 7)
    assert winner_probability(1e6, 7) == pytest.approx(1)


def test_the_rate_warms_up_and_falls_as_the_schedule_says():
    slow = Schedule("s", (Stage("all", 100, "weights", 1.0),), warmup=0.1, decay=0.5)
    assert [slow.lr_factor(i) for i in (0, 4, 9, 50, 75, 99)] == [0.1, 0.5, 1, 1, 0.5, 0.02]
    flat = dataclasses.replace(slow, warmup=0, decay=0)
    assert {flat.lr_factor(i) for i in range(100)} == {1}
    for wrong in ({"warmup": -0.1}, {"decay": 1.5}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            dataclasses.replace(slow, **wrong)
