"""One convolution with a mixed kernel is the sum over feature maps: values, gradients, borders."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.errors import UserError
from naslora_core.search import operator_registry as registry
from naslora_core.search.cell import STARTS, Cell
from naslora_core.search.operator_registry import OPERATOR_SETS, REGISTRY, Operator, operator

LINEAR = OPERATOR_SETS["linear"]


def made(rank=4, names="linear", start="plain", dtype=torch.float64, seed=0):
    """A cell in the middle of a search: alpha is not uniform, every kernel is random."""
    torch.manual_seed(seed)
    cell = Cell(rank, names, start).to(dtype)
    with torch.no_grad():
        for p in cell.parameters():
            p.copy_(torch.randn_like(p))
    return cell


def both_ways(cell, z):
    """((output, gradients) by kernel mixing, the same by the sum over maps)."""
    answers = []
    for way in (cell, cell.mix_maps):
        wanted = [z, *cell.parameters()]
        out = way(z)
        weight = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out).to(out.dtype)
        found = torch.autograd.grad((weight * out * out).sum(), wanted, allow_unused=True)
        answers.append(
            [
                out,
                *(
                    torch.zeros_like(p) if g is None else g
                    for p, g in zip(wanted, found, strict=True)
                ),
            ]
        )
    return answers


def assert_same(cell, z, tolerance):
    for ours, theirs in zip(*both_ways(cell, z), strict=True):
        assert (ours - theirs).abs().max() <= tolerance * (1 + theirs.abs().max())


SHAPES = st.tuples(*[st.integers(1, 9)] * 2)


@settings(max_examples=60, deadline=None)
@given(rank=st.integers(1, 16), size=SHAPES, batch=st.integers(1, 7), start=st.sampled_from(STARTS))
def test_mixed_kernel_equals_mixed_maps_in_float64(rank, size, batch, start):
    z = torch.randn(batch, rank, *size, dtype=torch.float64, requires_grad=True)
    assert_same(made(rank, start=start), z, 1e-10)


@pytest.mark.parametrize("rank, size", [(1, (1, 1)), (3, (14, 14)), (4, (8, 8)), (16, (5, 2))])
def test_mixed_kernel_equals_mixed_maps_in_float32(rank, size):
    z = torch.randn(3, rank, *size, requires_grad=True)
    assert_same(made(rank, dtype=torch.float32), z, 1e-5)


@settings(max_examples=25, deadline=None)
@given(names=st.lists(st.sampled_from(LINEAR), min_size=1, max_size=5, unique=True))
def test_any_subset_of_operators_mixes(names):
    z = torch.randn(2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    assert_same(made(3, tuple(names)), z, 1e-10)


def test_no_larger_kernel_than_the_operators_need():
    assert Cell(4, ("none", "skip", "conv_1x1")).kernel().shape[-1] == 1
    assert Cell(4, ("skip", "conv_3x3", "avg_pool_3x3")).kernel().shape[-1] == 3
    assert Cell(4).kernel().shape[-1] == 5


def test_one_convolution_whatever_the_number_of_operators():
    calls = []

    class Count(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            calls.append(getattr(function, "__name__", ""))
            return function(*args, **(kwargs or {}))

    with Count():
        Cell(4)(torch.randn(1, 4, 8, 8))
    assert calls.count("conv2d") == 1


def test_autocast_to_bfloat16():
    cell, z = made(dtype=torch.float32), torch.randn(2, 4, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = cell(z), cell.mix_maps(z)
    exact = cell(z)
    assert ours.dtype == torch.bfloat16
    for out in (ours, theirs):
        assert (out.float() - exact).abs().max() < 0.02 * exact.abs().max()
    ours.float().pow(2).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in cell.parameters())


def test_alpha_gradient_is_the_closed_form():
    """d loss / d alpha_i = a_i (<g, O_i> - sum_j a_j <g, O_j>)."""
    cell, z = made(), torch.randn(2, 4, 6, 7, dtype=torch.float64)
    g = torch.randn_like(z)
    (g * cell(z)).sum().backward()
    a = cell.probabilities().detach()
    inner = torch.stack([(g * op(z)).sum() for op in cell.operators]).detach()
    assert torch.allclose(cell.arch_alpha.grad, a * (inner - a @ inner), rtol=1e-10)


@pytest.mark.parametrize("i", range(len(LINEAR)))
def test_one_hot_alpha_is_the_single_operator(i):
    cell, z = made(), torch.randn(1, 4, 5, 5, dtype=torch.float64)
    with torch.no_grad():
        cell.arch_alpha.copy_(1e4 * F.one_hot(torch.tensor(i), len(LINEAR)))
    assert (cell(z) - cell.operators[i](z)).abs().max() < 1e-12


def test_permuting_operators_permutes_and_a_constant_on_alpha_changes_nothing():
    cell, z = made(), torch.randn(1, 4, 5, 5, dtype=torch.float64)
    order = torch.randperm(len(LINEAR), generator=torch.Generator().manual_seed(1))
    other = Cell(4, tuple(LINEAR[i] for i in order), "plain").double()
    with torch.no_grad():
        other.arch_alpha.copy_(cell.arch_alpha[order])
    for place, i in enumerate(order):
        other.operators[place].load_state_dict(cell.operators[i].state_dict())
    assert (cell(z) - other(z)).abs().max() < 1e-12
    assert torch.allclose(other.probabilities(), cell.probabilities()[order])
    before = cell(z).detach()
    cell.arch_alpha.data += 3.7
    assert (cell(z) - before).abs().max() < 1e-12


def test_starts():
    z, n = torch.randn(1, 4, 5, 5, dtype=torch.float64), len(LINEAR)
    pool = F.avg_pool2d(z, 3, 1, 1)
    same = Cell(4, "linear", "identity").double()(z)
    assert (same - ((n - 2) * z + pool) / n).abs().max() < 1e-12  # all but none and avg_pool
    torch.manual_seed(0)
    plain = Cell(4, "linear", "plain").double()
    torch.manual_seed(0)
    beside = Cell(4, "linear", "beside").double()
    assert (beside(z) - (z + math.sqrt(n) * plain(z))).abs().max() < 1e-12
    with pytest.raises(UserError, match=r"'cold'.*beside"):
        Cell(4, "linear", "cold")


def test_an_operator_without_a_kernel_runs_beside_the_mixed_kernel(monkeypatch):
    monkeypatch.setattr(registry, "REGISTRY", dict(REGISTRY))

    @operator("max_of_3x3")
    class MaxPool(Operator):
        side = 3

        def forward(self, z):
            return F.max_pool2d(z, 3, 1, 1)

    names = ("skip", "max_of_3x3", "conv_3x3")
    for start in STARTS:
        z = torch.randn(2, 4, 5, 6, dtype=torch.float64, requires_grad=True)
        cell = made(4, names, start)
        assert_same(cell, z, 1e-10)
        linear = sum(
            p * cell.gain * op(z)
            for p, op in zip(cell.probabilities(), cell.operators, strict=True)
            if op.linear
        )
        missing = cell.gain * cell.probabilities()[1] * F.max_pool2d(z, 3, 1, 1)
        assert (cell(z) - missing - linear - (z if start == "beside" else 0)).abs().max() < 1e-12


def test_the_same_seed_draws_the_same_cell():
    cells = []
    for _ in range(2):
        torch.manual_seed(7)
        cells.append(Cell(4))
    for p, q in zip(cells[0].parameters(), cells[1].parameters(), strict=True):
        assert torch.equal(p, q)
