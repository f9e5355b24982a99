"""A plan says what a step then takes, from shapes alone."""

from dataclasses import replace

import pytest
import torch

from naslora_core.adapters import ConvLoRA, DecoderOnly, LoRA
from naslora_core.cli import build_parser
from naslora_core.errors import UserError
from naslora_workbook.research import plan as planner
from naslora_workbook.research import planning
from naslora_workbook.research.allocated import allocated_peak
from naslora_workbook.research.calibration import Calibration, calibrate
from naslora_workbook.research.footprint import Footprint, footprint
from naslora_workbook.research.plan import ROOM, Plan, plan, propose
from naslora_workbook.research.plan_error import CASES, Case, _module, held

UNIT = Calibration(flop=1e-9, byte=0, operation=0)
BAR = 0.15  # a plan may be off by so much


def test_a_layer_whose_need_is_known():
    layer = torch.nn.Linear(256, 512, bias=False)
    need = footprint(layer, lambda m: m(torch.empty(64, 256)).sum())
    x, y, w = 64 * 256 * 4, 64 * 512 * 4, 256 * 512 * 4
    assert (need.weights, need.states, need.gradients) == (w, 2 * w, w)
    # kept: the input, and the sum's result; at the worst moment, the gradients of y and of w
    assert need.kept == x + 4 and need.working in (x + y + 4, x + w + 4, x + w + 8)
    assert need.flops == 2 * 2 * 64 * 256 * 512  # forward, and the weight's gradient


def test_nothing_is_computed_or_allocated():
    with torch.device("meta"):
        layer = torch.nn.Linear(10**5, 10**5)  # 40 GB
    need = footprint(layer, lambda m: m(torch.empty(1, 10**5)).sum())
    assert need.weights > 4e10 and need.peak > 1.6e11


def test_the_measured_peak_counts_what_is_alive_at_once():
    def step():
        a = torch.empty(2**20)
        b = torch.empty(2**20)
        del a, b
        return torch.empty(2**20)

    assert allocated_peak(step) == 2 * 4 * 2**20


@pytest.mark.parametrize(
    "case",
    [
        Case("nano", "lora", 2),
        Case("nano", "nas_lora", 2, "bf16", checkpointing=True, blocks="late-3"),
        Case("nano", "conv_lora", 1),
    ],
    ids=lambda c: c.method,
)
def test_peaks_are_as_measured(case):
    row = held(case, UNIT, rounds=1)
    assert row["ratio"]["peak"] == pytest.approx(1, abs=BAR)
    assert row["predicted"]["seconds"] > 0


@pytest.mark.parametrize("size", ["nano", "vit_b"])
def test_a_case_computes_in_its_precision(size):
    batch = 8 if size == "nano" else 1  # a small step keeps copies of its weights above all
    full, half = (footprint(*_module(Case(size, "lora", batch, p))).kept for p in ("fp32", "bf16"))
    assert half < 0.8 * full


def test_the_recorded_cases_cover_what_is_claimed():
    assert {c.size for c in CASES} == {"nano", "vit_b"} and len({c.method for c in CASES}) > 5
    assert any(c.checkpointing for c in CASES) and any(not c.fused for c in CASES)


def test_knobs_take_less():
    how = {"batch": 1, "calibration": UNIT}
    asked = plan("sam_nano", LoRA(rank=2), **how)
    sparing = plan("sam_nano", LoRA(rank=2), checkpointing=True, **how)
    late = plan("sam_nano", LoRA(rank=2), blocks="late-1", **how)
    assert max(sparing.peak, late.peak) < asked.peak and "GB" in str(asked)
    assert late.seconds < asked.seconds < sparing.seconds


def invented(model, method, batch, precision="fp32", checkpointing=False, calibration=None):
    """A plan of which the need is known: 80 MB an image, each knob halves it; 10 MB of weights."""
    late = method.blocks == "late-4"
    each = 80e6 / 2 ** (checkpointing + late + (precision == "bf16"))
    need = Footprint(10**7, 0, 0, 0, int(batch * each), 0, 0, 0)
    return Plan(model, method, batch, precision, checkpointing, need)


@pytest.mark.parametrize(
    "megabytes, found",
    [
        (340, "batch 4, fp32: 0.33 GB"),
        (180, "batch 2 x 2, fp32: 0.17 GB"),
        (95, "batch 1 x 4, fp32: 0.09 GB"),
        (60, "batch 1 x 4, fp32, checkpointing: 0.05 GB"),
        (31, "batch 1 x 4, bf16, checkpointing: 0.03 GB"),
        (21, "batch 1 x 4, bf16, checkpointing, blocks='late-4': 0.02 GB"),
    ],
)
def test_a_card_is_filled_by_the_first_knob_that_is_enough(monkeypatch, megabytes, found):
    monkeypatch.setattr(planner, "plan", invented)
    asked = invented("sam_nano", LoRA(rank=2), 4)
    assert str(propose(asked, card=megabytes / 1e3 / ROOM)) == found
    with pytest.raises(UserError, match="Nothing fits into 0.01 GB: the least is batch 1.*late-4"):
        propose(asked, card=0.01)


def test_a_proposal_is_timed_by_the_rates_of_its_own_precision():
    rates = {"fp32": UNIT, "bf16": replace(UNIT, encoder=0.1, decoder=0.1)}
    asked = plan("sam_nano", LoRA(rank=2), 1, calibration=rates["fp32"])
    half = plan("sam_nano", LoRA(rank=2), 1, "bf16", True, calibration=rates["bf16"])
    found = propose(asked, half.peak / 1e9 / ROOM * 1.001, rates.get)
    assert (found.precision, found.seconds) == ("bf16", half.seconds)


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(UserError, match="depend on values.*dispatch='fast'"):
        plan("sam_nano", ConvLoRA(dispatch="released"), batch=1)
    with pytest.raises(UserError, match="DecoderOnly chooses no blocks"):
        plan("sam_nano", DecoderOnly(), blocks="late-4")
    with pytest.raises(UserError, match="no model 'vit_x'"):
        plan("vit_x", DecoderOnly())
    with pytest.raises(UserError, match="'int8'; choose one of fp32"):
        plan("sam_nano", DecoderOnly(), precision="int8")


def test_a_plan_leaves_no_empty_tensors_behind():
    """Conv-LoRA's matrices are made once and kept: those of a plan have no values."""
    plan("sam_nano", ConvLoRA(), batch=1)
    from naslora_core.adapters.conv_lora import upsampling

    assert upsampling(2, 3, torch.device("cpu"), torch.float32).sum() > 0


def test_a_calibration_gives_seconds():
    rates = calibrate("sam_nano")
    assert 0 < rates.flop < 1e-6 and 0 < rates.byte < 1e-6 and rates.operation > 0
    assert 0.1 < rates.encoder < 10 and 0.1 < rates.decoder < 10


def test_the_command_prints_parts_and_a_proposal(capsys, monkeypatch):
    monkeypatch.setattr(planning, "calibrate", lambda *_, **__: UNIT)
    words = "plan sam_nano --method lora --batch 1 --card 1 --set blocks='late-1'".split()
    arguments = build_parser().parse_args(words)
    arguments.run(arguments)
    said = capsys.readouterr().out
    assert "kept for backward" in said and "Into 1 GB (90% of them used) fits: batch 1" in said
    with pytest.raises(UserError, match="batch of 0"):
        arguments = build_parser().parse_args(["plan", "sam_nano", "--batch", "0"])
        arguments.run(arguments)


@pytest.mark.gpu
def test_peaks_on_a_gpu_are_as_measured():
    from naslora_core.adapters import METHODS, adapt
    from naslora_core.sam import build_nano
    from naslora_workbook.research.footprint import size_of
    from naslora_workbook.research.planned_step import training_loss

    planned = plan("sam_nano", METHODS["lora"], batch=8)
    model = adapt(build_nano().cuda().eval().requires_grad_(False), METHODS["lora"]).train()
    own = size_of([*model.parameters(), *model.buffers()])
    training_loss(model, 8, device="cuda").backward()  # the libraries take their workspaces
    model.zero_grad(set_to_none=True)
    peak = own + allocated_peak(lambda: training_loss(model, 8, device="cuda").backward(), "cuda")
    assert planned.peak - planned.need.states == pytest.approx(peak, rel=BAR)
