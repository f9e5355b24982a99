"""Validation while training: the best is kept, and a run stops when nothing improves."""

import json

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_data

from naslora_core.adapters import LoRA, NASLoRA, adapt, load_adapter
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.training.evaluate import evaluate
from naslora_core.training.fit import fit
from naslora_core.training.watch import VALUE, Watch, best, looks

QUIET = {"batch": 2, "progress": False}


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return build_nano().eval().requires_grad_(False)


def test_the_first_of_the_best():
    assert [best(s) for s in ([], [0.1], [0.1, 0.3, 0.3], [0.4, 0.3])] == [0, 1, 2, 1]
    history = [{VALUE: v} for v in (0.5, 0.4, 0.4)]
    assert Watch(1, 2).tired(history) and not Watch(1, 3).tired(history)
    assert not Watch(1).tired(history) and not Watch(1, 1).tired([])
    with pytest.raises(UserError, match="patience=0"):
        Watch(5, 0)


def test_best_and_last_are_adapters_and_score_what_the_log_says(sam, tmp_path):
    data, model = tiny_data(), adapt(sam, LoRA(rank=2))
    result = fit(model, data, steps=6, out=tmp_path, watch=Watch(2), **QUIET)
    seen = looks(result.history)
    assert len(seen) == 3 and [VALUE in e for e in result.history] == [False, True] * 3
    scores = {}
    for name in ("best", "last"):
        kept = load_adapter(sam, tmp_path / f"{name}.safetensors")
        scores[name] = evaluate(kept, data.val).mean["dice"]
    assert scores["best"] == pytest.approx(max(seen), abs=1e-5)
    assert scores["last"] == pytest.approx(seen[-1], abs=1e-5)


def test_a_tired_run_stops_and_stays_stopped(sam, tmp_path, monkeypatch):
    values = iter((0.5, 0.4, 0.3, 0.9))
    monkeypatch.setattr(Watch, "look", lambda *_: {VALUE: next(values)})
    settings = {"steps": 8, "out": tmp_path, "watch": Watch(1, 2)} | QUIET
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 3
    assert len(fit(adapt(sam, LoRA(rank=2)), tiny_data(), **settings).history) == 3


def test_looking_changes_nothing(sam, tmp_path):
    for name, watch in (("blind", None), ("watched", Watch(1, images=1))):
        model = adapt(sam, NASLoRA(rank=2))
        fit(model, tiny_data(), steps=4, out=tmp_path / name, watch=watch, **QUIET)
    a, b = (load_file(tmp_path / n / "last.safetensors") for n in ("blind", "watched"))
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert json.loads((tmp_path / "watched" / "run.json").read_text())["watch"] == (
        "Watch(every=1, patience=None, images=1)"
    )
