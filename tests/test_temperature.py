"""The softmax over alpha has a temperature: data of a stage, kept in files, told in events."""

import json
import math

import pytest
import torch
from adapting import random_images, shaken, small_sam
from tiny import tiny_data

from naslora_core.adapters import (
    LoRA,
    NASLoRA,
    adapt,
    cells,
    fold,
    load_adapter,
    save_adapter,
)
from naslora_core.errors import UserError
from naslora_core.search import Schedule, Stage, entropy
from naslora_core.training import run_folder as state
from naslora_core.training.fitting import fit
from naslora_core.training.loop import Alphas

RUN = {"batch": 2, "progress": False}
LINE = Schedule(
    "annealed",
    (
        Stage("warm-up", 1, "weights", 1e-2, temperature=2.0),
        Stage("search", 4, "alternate", 1e-2, temperature=(1.0, 0.1), entropy=0.5),
        Stage("settle", 2, "weights", 1e-2),
    ),
)


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def test_a_stage_gives_a_number_a_line_or_nothing():
    warm, search, settle = LINE.stages
    assert warm.temperature_at(0) == 2 and settle.temperature_at(1) is None
    assert [search.temperature_at(i) for i in range(4)] == pytest.approx([1, 0.7, 0.4, 0.1])
    assert Stage("s", 1, "alpha", 1e-3, temperature=(3.0, 1.0)).temperature_at(0) == 3
    steps = [2, 1, 0.7, 0.4, 0.1, None, None]
    assert [s.temperature_at(done) for s, done in LINE.timeline] == [
        pytest.approx(t) for t in steps
    ]
    for t in (0, -1.0, (1.0, 0.0)):
        with pytest.raises(UserError, match="'s' has temperature=.*above 0"):
            Stage("s", 1, "alpha", 1e-3, temperature=t)


def test_events_tell_it_and_settling_keeps_it(sam):
    model = adapt(sam, NASLoRA(rank=2))
    history = fit(model, tiny_data(), LINE, **RUN).history
    heats = [e["temperature"] for e in history]
    assert heats == pytest.approx([2, 1, 0.7, 0.4, 0.1, 0.1, 0.1])
    cell = next(iter(cells(model).values()))
    assert history[-1]["alpha"][0] == pytest.approx((cell.arch_alpha / 0.1).softmax(0).tolist())


def test_killed_and_resumed_is_the_same_between_and_inside_stages(sam, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "EVERY", 1)
    method = NASLoRA(rank=2, operators="darts")  # with batch statistics, too
    whole = fit(adapt(sam, method), tiny_data(), LINE, **RUN)
    for at in (3, 5, 6):
        out = tmp_path / str(at)

        def stop(event, at=at):
            if event["step"] == at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(adapt(sam, method), tiny_data(), LINE, out=out, on_event=stop, **RUN)
        again = fit(adapt(sam, method), tiny_data(), LINE, out=out, **RUN)
        assert all(
            torch.equal(t, again.model.adapter_state_dict()[n])
            for n, t in whole.model.adapter_state_dict().items()
        )
        log = [json.loads(x) for x in (out / "events.jsonl").open()]
        assert [e | {"seconds": 0} for e in log] == [e | {"seconds": 0} for e in whole.history]


def test_a_file_and_a_fold_carry_it(sam, tmp_path):
    model = shaken(adapt(sam, NASLoRA(rank=2)))
    with torch.no_grad():
        plain = model(random_images()).low_res
        Alphas(model).heat(0.2)
        sharp = model(random_images()).low_res
        assert (sharp - plain).abs().max() > 1e-3
        path = save_adapter(model, tmp_path / "a.safetensors")
        assert torch.equal(load_adapter(sam, path)(random_images()).low_res, sharp)
        assert (fold(model).model(random_images()).low_res - sharp).abs().max() < 1e-4


def test_entropy_is_a_share_of_the_uniform_ones():
    assert entropy(torch.full((9,), 1 / 9)).item() == pytest.approx(1)
    assert entropy(torch.eye(9)[2]) == 0 and entropy(torch.ones(1)) == 0
    assert entropy(torch.tensor([0.5, 0.5, 0, 0])).item() == pytest.approx(0.5)
    p = torch.zeros(3).requires_grad_()
    entropy((p + torch.tensor([1.0, 0, 0])).softmax(0)).backward()
    assert p.grad[0] < 0 < p.grad[1]  # descending makes the first surer


@pytest.mark.parametrize("weight, sign", [(50.0, -1), (-50.0, 1)])
def test_its_weight_asks_for_a_decision_or_for_none(sam, weight, sign):
    ends = []
    for entropy_weight in (0.0, weight):
        model = adapt(sam, NASLoRA(rank=2, blocks="global"))
        for i, cell in enumerate(cells(model).values()):
            cell.arch_alpha.data[i] = 1.0
        stage = Stage("search", 3, "both", 1e-3, 0.1, entropy=entropy_weight)
        fit(model, tiny_data(), Schedule("one", (stage,)), **RUN)
        ends.append(Alphas(model).entropy().item())
    assert math.copysign(1, ends[1] - ends[0]) == sign


def test_weights_steps_feel_no_entropy(sam):
    ends = []
    for weight in (0.0, 50.0):
        model = adapt(sam, NASLoRA(rank=2, blocks="global"))
        stage = Stage("train", 2, "weights", 1e-3, entropy=weight)
        history = fit(model, tiny_data(), Schedule("one", (stage,)), **RUN).history
        ends.append([e["loss"] for e in history])
    assert ends[0] == ends[1]


def test_a_model_without_alpha_has_no_temperature(sam):
    alphas = Alphas(adapt(sam, LoRA(rank=2)))
    alphas.heat(0.5)
    assert alphas.event() == {} and not alphas.parameters
