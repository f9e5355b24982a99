"""A plan says what a step then takes, from shapes alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from naslora_core.adapters import ConvLoRA, DecoderOnly, LoRA, NASLoRA, adapt
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_workbook.cli import build_parser
from naslora_workbook.research import memory_planner as planner
from naslora_workbook.research.memory_planner import (
    ROOM,
    Footprint,
    Plan,
    footprint,
    plan,
    propose,
    size_of,
    training_loss,
)
from naslora_workbook.research.methods import METHODS

BAR = 0.15  # a plan may be off by so much


def allocated_peak(step, device="cpu") -> int:
    """Most bytes alive at once during `step` beyond those alive before it.

    On a CPU from the profiler's memory events, which are every allocation and release of PyTorch's
    allocator, inside kernels too; on CUDA from the allocator's own peak.
    """
    if device != "cpu":
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        step()
    events = seen.profiler.kineto_results.events()
    changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    return max(0, *np.cumsum([change for _, change in changes], dtype=int).tolist())


def whole_peak(module, optimiser, step) -> int:
    """The same with what is always there: the module's tensors and the optimiser's states."""
    states = [t for s in optimiser.state.values() for t in s.values() if torch.is_tensor(t)]
    return size_of((*module.parameters(), *module.buffers(), *states)) + allocated_peak(step)


def test_a_layer_whose_need_is_known():
    layer = torch.nn.Linear(256, 512, bias=False)
    need = footprint(layer, lambda m: m(torch.empty(64, 256)).sum())
    x, y, w = 64 * 256 * 4, 64 * 512 * 4, 256 * 512 * 4
    assert (need.weights, need.states, need.gradients) == (w, 2 * w, w)
    # kept: the input, and the sum's result; at the worst moment, the gradients of y and of w
    assert need.kept == x + 4 and need.working in (x + y + 4, x + w + 4, x + w + 8)


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
        ("lora", 2, "fp32", False, "all"),
        ("nas_lora", 2, "bf16", True, "late-3"),
        ("conv_lora", 1, "fp32", False, "all"),
    ],
    ids=lambda case: case[0],
)
def test_peaks_are_as_measured(case):
    """A step of the setting on this processor takes what was planned."""
    method, batch, precision, checkpointing, blocks = case
    chosen = METHODS[method] if blocks == "all" else replace(METHODS[method], blocks=blocks)
    model = adapt(build_nano().eval().requires_grad_(False), chosen).train()
    optimiser = torch.optim.AdamW(model.trainable().values())

    def step():
        training_loss(model, batch, precision, checkpointing).backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    step()  # the optimiser's states are there from now on
    planned = plan("sam_nano", chosen, batch, precision, checkpointing).need.peak
    assert planned == pytest.approx(whole_peak(model, optimiser, step), rel=BAR)


def test_knobs_take_less():
    asked = plan("sam_nano", LoRA(rank=2), batch=8)
    half = plan("sam_nano", LoRA(rank=2), batch=8, precision="bf16")
    sparing = plan("sam_nano", LoRA(rank=2), batch=8, checkpointing=True)
    late = plan("sam_nano", LoRA(rank=2, blocks="late-1"), batch=8)
    assert max(p.need.peak for p in (half, sparing, late)) < asked.need.peak and "GB" in str(asked)
    assert half.need.kept < 0.8 * asked.need.kept


def invented(model, method, batch, precision="fp32", checkpointing=False):
    """A plan of which the need is known: 80 MB an image, each knob halves it; 10 MB of weights."""
    late = method.blocks == "late-4"
    each = 80e6 / 2 ** (checkpointing + late + (precision == "bf16"))
    need = Footprint(10**7, 0, 0, 0, int(batch * each))
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


def test_what_cannot_be_planned_is_refused():
    with pytest.raises(UserError, match="depend on values.*dispatch='fast'"):
        plan("sam_nano", ConvLoRA(dispatch="released"), batch=1)
    with pytest.raises(UserError, match="no model 'vit_x'"):
        plan("vit_x", DecoderOnly())
    with pytest.raises(UserError, match="'int8'; choose one of fp32"):
        plan("sam_nano", DecoderOnly(), precision="int8")


@pytest.mark.parametrize("method", [ConvLoRA(), NASLoRA(rank=2)], ids=["conv", "nas"])
def test_a_plan_leaves_no_empty_tensors_behind(method):
    """Matrices that are made once and kept would, after a plan, have no values."""
    plan("sam_nano", method, batch=1)
    model = adapt(build_nano().eval().requires_grad_(False), method).train()
    loss = model(torch.zeros(1, 3, 128, 128)).masks.square().mean()
    assert type(loss) is torch.Tensor and loss.item() >= 0  # a fake tensor has no item


def test_the_command_prints_parts_and_a_proposal(capsys):
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
    planned = plan("sam_nano", METHODS["lora"], batch=8)
    model = adapt(build_nano().cuda().eval().requires_grad_(False), METHODS["lora"]).train()
    own = size_of([*model.parameters(), *model.buffers()])
    training_loss(model, 8, device="cuda").backward()  # the libraries take their workspaces
    model.zero_grad(set_to_none=True)
    peak = own + allocated_peak(lambda: training_loss(model, 8, device="cuda").backward(), "cuda")
    assert planned.need.peak - planned.need.states == pytest.approx(peak, rel=BAR)
