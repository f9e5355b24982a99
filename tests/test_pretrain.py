"""Pre-training is a function of (seed, sample): killed legs go on, and losses are what they say."""

import json
from dataclasses import replace

import pytest
import torch
from own import call

from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.sam.checkpoints import read_state
from naslora_workbook.cli import build_parser
from naslora_workbook.research.base_table import scene_cases
from naslora_workbook.research.pretraining import pretrain
from naslora_workbook.research.pretraining.leg import (
    Examples,
    Leg,
    batches,
    learning_rate,
    mask_loss,
    soft_iou,
)
from naslora_workbook.research.provenance import provenance

SEEN = (0, 800, 8_000, 15_000, 15_990)
SMALL = Leg(scenes=8, batch=2, clicks=2, boxes=1, warmup=4, decay=0.5, correct_every=2)


def test_examples_depend_on_their_index_alone():
    a, b = Examples(SMALL, 128)[3], Examples(SMALL, 128)[3]
    assert all(torch.equal(a[k], b[k]) for k in a)
    assert a["image"].shape == (3, 128, 128) and a["masks"].shape == (3, 128, 128)
    assert a["clicks"].shape == (2, 2) and a["boxes"].shape == (1, 4)
    for (x, y), mask in zip(a["clicks"].long().tolist(), a["masks"], strict=False):
        assert mask[y, x]


def test_the_rate_warms_up_stays_and_falls_to_zero():
    leg = Leg(scenes=16_000, decay=0.1, warmup=1600)
    rates = [learning_rate(seen, leg) for seen in range(0, leg.scenes, leg.batch)]
    assert rates[0] == pytest.approx(leg.lr / 100) and rates[99] == leg.lr == rates[899]
    assert rates[950] == pytest.approx(leg.lr / 2) and 0 < rates[999] < leg.lr / 50
    later = [learning_rate(seen + 16_000, Leg(32_000, 0.1, warmup=1600), 16_000) for seen in SEEN]
    assert later == pytest.approx([learning_rate(seen, leg) for seen in SEEN])


def test_losses_against_their_definitions():
    truth = (torch.rand(3, 1, 8, 8) > 0.5).float()
    sure = (truth * 2 - 1) * 50
    assert mask_loss(sure, truth).abs().max() < 1e-5
    assert soft_iou(sure, truth).eq(1).all() and soft_iou(-sure, truth).eq(0).all()
    flat = mask_loss(torch.zeros_like(truth), truth)  # p = 1/2: focal = 1/4 log 2
    dice = 1 - (truth.sum((2, 3)) + 1) / (32 + truth.sum((2, 3)) + 1)
    focal = 20 * 0.25 * torch.log(torch.tensor(2.0))
    assert torch.allclose(flat, focal + dice, atol=1e-5)


def test_the_command_asks_how_many_scenes(tmp_path):
    with pytest.raises(UserError, match=r"--scenes is missing: .* have seen \d+; give more"):
        call("pretrain", "--out", tmp_path / "leg")
    assert not (tmp_path / "leg").exists()


def test_a_leg_that_was_cut_equals_one_that_was_not(tmp_path):
    whole = torch.load(pretrain.run(SMALL, tmp_path / "a", every=1), weights_only=True)
    trainer = pretrain.Trainer(SMALL, _made(tmp_path / "b"))
    for batch, _ in zip(batches(SMALL, 0, 128), range(3), strict=False):  # cools
        trainer.update(batch)
    trainer.save()
    again = torch.load(pretrain.run(SMALL, tmp_path / "b", every=1), weights_only=True)
    assert all(torch.equal(whole[k], again[k]) for k in whole)
    scenes = [json.loads(x)["scenes"] for x in (tmp_path / "a" / "log.jsonl").open()]
    assert scenes == [2, 4, 6, 8]
    state = torch.load(tmp_path / "a" / "state.pt", weights_only=True)
    assert state["seen"] == SMALL.scenes


def test_muon_turns_matrices_by_orthogonal_steps_and_adamw_takes_the_rest(tmp_path):
    trainer = pretrain.Trainer(replace(SMALL, weight_decay=0), tmp_path)
    named = {id(p): n for n, p in trainer.sam.named_parameters()}
    rest, matrices = (
        [named[id(p)] for p in o.param_groups[0]["params"]] for o in trainer.optimisers
    )
    before = {n: p.detach().clone() for n, p in trainer.sam.named_parameters()}
    assert sorted([*rest, *matrices]) == sorted(before)
    assert {before[n].ndim for n in matrices} == {2}
    for p in trainer.sam.parameters():
        p.grad = torch.randn_like(p)
    for optimiser in trainer.optimisers:
        optimiser.param_groups[0]["lr"] = 1e-2
        optimiser.step()
    step = {n: (p.detach() - before[n]) / 1e-2 for n, p in trainer.sam.named_parameters()}
    turned = step["image_encoder.blocks.0.attn.qkv.weight"]
    values = torch.linalg.svdvals(turned) / (0.2 * max(turned.shape) ** 0.5)  # AdamW's mean square
    assert values.min() > 0.5 and values.max() < 1.3  # five Newton-Schulz steps reach so far
    vectors = [name for name in rest if before[name].ndim == 1]
    for name in vectors[:3]:  # AdamW's first step is the gradient's sign
        assert torch.allclose(step[name].abs(), torch.ones_like(step[name]), atol=1e-3)


def test_batches_go_on_behind_what_was_seen_and_are_whole():
    keys = [b["key"].tolist() for b in batches(SMALL, 3, 128, workers=0)]
    assert keys == [[3, 4], [5, 6]]


def test_a_legs_weight_decay_reaches_both_optimisers(tmp_path):
    optimisers = pretrain.Trainer(replace(SMALL, weight_decay=0.5), tmp_path).optimisers
    assert [o.param_groups[0]["weight_decay"] for o in optimisers] == [0.5, 0.5]


def test_a_new_leg_starts_from_published_weights(tmp_path):
    tensors = build_nano().state_dict()
    start = {"tensors": tensors, "scenes": 6, "minutes": 1.5}
    trainer = pretrain.Trainer(SMALL, _made(tmp_path), start)
    assert trainer.seen == trainer.begin == 6 and trainer.minutes == 1.5
    assert all(torch.equal(v, tensors[k]) for k, v in trainer.sam.state_dict().items())


def test_publishing_writes_weights_that_match_their_manifest(tmp_path, monkeypatch):
    monkeypatch.setattr(pretrain, "scene_cases", lambda: list(scene_cases(2)))
    torch.save(build_nano().state_dict(), tmp_path / "cooled.pt")
    (tmp_path / "log.jsonl").write_text(json.dumps({"scenes": 8, "minutes": 0.1}) + "\n")
    before = _made(tmp_path / "before")
    (before / "sam_nano_curve.json").write_text('[{"scenes": 4}, {"scenes": 8}]')
    monkeypatch.setattr(pretrain, "WEIGHTS", before)
    with pytest.raises(UserError, match=r"provenance\.json is not there; finish a leg"):
        pretrain.publish(tmp_path)
    made = provenance("pretrain elsewhere") | {"device": "another machine"}
    (tmp_path / "provenance.json").write_text(json.dumps(made))
    manifest = pretrain.publish(tmp_path)
    state = read_state(tmp_path / "sam_nano.safetensors", manifest["sha256"])
    assert state["image_encoder.pos_embed"].dtype == torch.float16
    assert manifest["bytes"] < 8e6 and manifest["scenes_seen"] == 8
    assert manifest["provenance"] == made  # of the machine that trained
    curve = json.loads((tmp_path / "sam_nano_curve.json").read_text())
    assert curve == [{"scenes": 4}, {"scenes": 8, "minutes": 0.1}]  # the legs before, then this


def test_a_loss_that_is_not_finite_leaves_the_last_good_state(tmp_path, monkeypatch):
    pretrain.run(replace(SMALL, scenes=4), tmp_path, every=1)
    before = (tmp_path / "state.pt").read_bytes()
    monkeypatch.setattr(pretrain, "step_loss", lambda *_: torch.tensor(torch.nan))
    with pytest.raises(UserError, match="The loss is nan after 4 scenes.*Lower --lr"):
        pretrain.run(SMALL, tmp_path, every=1)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not (tmp_path / "cooled.pt").exists()  # of the shorter leg: not to be published as this
    with pytest.raises(UserError, match=r"cooled\.pt is not there; finish a leg"):
        pretrain.publish(tmp_path)


@pytest.mark.parametrize("wrong", [{"decay": 0}, {"decay": 1.5}, {"batch": 0}, {"scenes": 0}])
def test_a_leg_that_cannot_train_is_refused(wrong):
    with pytest.raises(UserError, match="trains nothing"):
        pretrain.Leg(**{"scenes": 8} | wrong)


def test_a_leg_that_is_behind_its_weights_is_refused(tmp_path):
    start = {"tensors": build_nano().state_dict(), "scenes": 8, "minutes": 1.5}
    with pytest.raises(UserError, match="has nothing to do: the weights have seen 8"):
        pretrain.run(SMALL, tmp_path, start)
    assert not (tmp_path / "cooled.pt").exists()
    nearly = start | {"scenes": 7}  # no whole batch of two is left
    with pytest.raises(UserError, match="has nothing to do"):
        pretrain.run(SMALL, tmp_path / "nearly", nearly)


def test_a_later_leg_that_was_cut_keeps_its_rates(tmp_path):
    start = {"tensors": build_nano().state_dict(), "scenes": 4, "minutes": 1.5}
    trainer = pretrain.Trainer(SMALL, _made(tmp_path), start)
    trainer.update(next(batches(SMALL, 4, 128, workers=0)))
    trainer.save()
    again = pretrain.Trainer(SMALL, tmp_path, start)
    assert (again.begin, again.seen) == (4, 6)


def _made(folder):
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.gpu
def test_a_leg_runs_on_a_gpu_and_its_weights_load_without_one(tmp_path):
    path = pretrain.run(SMALL, tmp_path, every=1, device="cuda", workers=2)
    state = torch.load(path, weights_only=True, map_location="cpu")
    assert all(torch.isfinite(v).all() for v in state.values())
    scenes = [json.loads(x)["scenes"] for x in (tmp_path / "log.jsonl").open()]
    assert scenes == [2, 4, 6, 8]


def test_the_command_hands_its_words_to_the_leg(monkeypatch, tmp_path):
    given = {}
    monkeypatch.setattr(pretrain, "run", lambda leg, *a, **k: given.update(leg=leg, **k))
    words = f"pretrain --scenes 500000 --decay 1 --batch 64 --lr 1e-3 --workers 3 --out {tmp_path}"
    arguments = build_parser().parse_args(words.split())
    arguments.run(arguments)
    leg = given.pop("leg")
    assert (leg.scenes, leg.decay, leg.batch, leg.lr) == (500_000, 1.0, 64, 1e-3)
    assert given.pop("command")
    assert given.pop("device") == torch.device("cpu")
    assert given == {"workers": 3}
