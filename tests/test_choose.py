"""Projection names the cheapest operator that explains the learned kernel; alpha need not."""

import itertools

import pytest
import torch

from naslora_core.search import operator_registry as registry
from naslora_core.search.cell import Cell
from naslora_core.search.operator_registry import OPERATOR_SETS, Operator, build, identity
from naslora_core.search.projection import argmax, patch_covariance, project

LINEAR = OPERATOR_SETS["linear"]
RANK = 3


def coloured(seed=0, rank=RANK, size=(9, 10)):
    """Features as in a network: channels correlate, neighbours correlate."""
    g = torch.Generator().manual_seed(seed)
    z = torch.randn(4, rank, *size, generator=g, dtype=torch.float64)
    z = torch.nn.functional.avg_pool2d(z, 3, 1, 1) + 0.5 * z
    return torch.einsum(
        "oi,bihw->bohw", torch.randn(rank, rank, generator=g, dtype=torch.float64), z
    )


def holding(kernel, rank=RANK):
    """A cell whose effective kernel is `kernel` and whose alpha says conv_5x5."""
    cell = Cell(rank, "linear", "plain").double()
    five = LINEAR.index("conv_5x5")
    margin = (5 - kernel.shape[-1]) // 2
    with torch.no_grad():
        cell.arch_alpha.copy_(1e4 * torch.nn.functional.one_hot(torch.tensor(five), len(LINEAR)))
        cell.operators[five].weight.copy_(torch.nn.functional.pad(kernel, (margin,) * 4))
    return cell


def planted(name, seed=0, rank=RANK):
    torch.manual_seed(seed)
    op = build((name,), rank)[0].double()
    return 1.7 * op.kernel().detach()


@pytest.mark.parametrize("name, seed", list(itertools.product(LINEAR, range(2))))
def test_projection_names_the_operator_that_made_the_kernel(name, seed):
    choice = project(holding(planted(name, seed)), coloured(seed))
    assert choice.projection == name
    assert choice.residual[name] < 1e-6
    assert choice.argmax == "conv_5x5"


def test_argmax_is_the_largest_alpha():
    cell = Cell(RANK)
    cell.arch_alpha.data[4] = 1
    assert argmax(cell) == LINEAR[4]


def test_the_covariance_gives_the_energy_of_the_output():
    z, kernel = coloured(), torch.randn(RANK, RANK, 5, 5, dtype=torch.float64)
    out = torch.nn.functional.conv2d(z, kernel, padding=2)
    rows = kernel.flatten(1)
    energy = torch.einsum("oi,ij,oj->", rows, patch_covariance(z, 5), rows)
    assert torch.allclose(energy, out.square().sum(1).mean())


@pytest.mark.parametrize("name", ["skip", "avg_pool_3x3", "conv_1x1", "conv_3x3", "dil_conv_3x3"])
def test_the_residual_is_the_minimum_that_least_squares_finds(name):
    """Against a plain regression of the output on the features each class can use."""
    z, kernel = coloured(1), torch.randn(RANK, RANK, 5, 5, dtype=torch.float64)
    target = torch.nn.functional.conv2d(z, kernel, padding=2)
    torch.manual_seed(3)
    op = build((name,), RANK)[0].double()
    if name in ("skip", "avg_pool_3x3"):
        columns = op(z).flatten()[:, None]
        goal = target.flatten()[:, None]
    else:
        d = 2 if name == "dil_conv_3x3" else 1
        side = op.weight.shape[-1]
        columns = torch.nn.functional.unfold(z, side, dilation=d, padding=d * (side // 2))
        columns, goal = columns.transpose(1, 2).flatten(0, 1), target.movedim(1, -1).flatten(0, 2)
    left = goal - columns @ torch.linalg.lstsq(columns, goal).solution
    wanted = left.square().sum() / target.square().sum()
    assert abs(project(holding(kernel), z).residual[name] - float(wanted)) < 1e-8


def test_no_gradient_step_improves_the_separable_fit():
    """Alternating least squares stands at least as low as 400 steps of Adam from elsewhere."""
    z, kernel = coloured(2), torch.randn(RANK, RANK, 5, 5, dtype=torch.float64)
    found = project(holding(kernel), z).residual["sep_conv_3x3"]
    target = torch.nn.functional.conv2d(z, kernel, padding=2)
    torch.manual_seed(5)
    op = build(("sep_conv_3x3",), RANK)[0].double()
    optimiser = torch.optim.Adam(op.parameters(), 0.05)
    for _ in range(400):
        loss = (op(z) - target).square().sum() / target.square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert found <= loss.item() + 2e-3


def test_nested_classes_leave_nested_residuals():
    for seed in range(5):
        torch.manual_seed(seed)
        kernel = torch.randn(RANK, RANK, 5, 5, dtype=torch.float64)
        left = project(holding(kernel), coloured(seed)).residual
        assert left["conv_5x5"] < 1e-9
        for larger, smaller in [
            ("conv_3x3", "sep_conv_3x3"),
            ("conv_3x3", "conv_1x1"),
            ("conv_1x1", "skip"),
            ("conv_3x3", "avg_pool_3x3"),
            ("conv_5x5", "sep_conv_5x5"),
            ("conv_5x5", "dil_conv_3x3"),
        ]:
            assert left[larger] <= left[smaller] + 1e-9, (larger, smaller)
        assert left["none"] == pytest.approx(1)


def test_a_loose_tolerance_chooses_cheaper_and_a_silent_cell_chooses_none():
    z = coloured()
    kernel = torch.nn.functional.pad(identity(RANK).double(), (1,) * 4)
    kernel = kernel + 0.05 * torch.randn(RANK, RANK, 3, 3, dtype=torch.float64)
    assert project(holding(kernel), z, tolerance=0.5).projection == "skip"
    assert project(holding(kernel), z, tolerance=1e-9).projection == "conv_3x3"
    assert project(holding(0 * kernel), z).projection == "none"


def test_a_skip_beside_the_mixture_counts_as_part_of_the_kernel():
    cell = Cell(RANK, "linear", "beside").double()
    cell.arch_alpha.data[LINEAR.index("none")] = 1e4
    assert project(cell, coloured()).projection == "skip"


def test_an_operator_of_an_unknown_class_is_searched_but_never_named(monkeypatch):
    """A learnable kernel that is neither dense nor separable, e.g. depthwise alone."""
    monkeypatch.setattr(registry, "REGISTRY", dict(registry.REGISTRY))

    @registry.operator("depthwise")
    class Depthwise(Operator):
        side = 3

        def __init__(self, rank):
            super().__init__(rank)
            self.weight = torch.nn.Parameter(torch.ones(rank, 3, 3))

        def kernel(self):
            return torch.diag_embed(self.weight.permute(1, 2, 0)).permute(2, 3, 0, 1)

    cell, z = Cell(3, ("depthwise", "conv_3x3"), "plain"), torch.randn(2, 3, 6, 6)
    cell.arch_alpha.data[0] = 9.0
    read = project(cell, z)
    assert (read.argmax, read.projection) == ("depthwise", "conv_3x3")
    assert read.residual.keys() == {"conv_3x3"}
    assert project(cell, z, decoder=torch.randn(7, 3)).projection == "conv_3x3"


def test_nothing_fits_is_said():
    cell = Cell(RANK, ("none", "skip", "avg_pool_3x3"), "plain").double()
    cell.arch_alpha.data.copy_(torch.tensor([0.0, 1.0, 1.0]))
    assert project(cell, coloured()).projection is None


def test_a_degenerate_input_does_not_break_the_fit():
    """Constant features: the patch covariance has rank one."""
    z = torch.ones(1, RANK, 6, 6, dtype=torch.float64)
    choice = project(holding(planted("conv_3x3")), z)
    assert all(0 <= v <= 1 + 1e-9 for v in choice.residual.values())


def in_another_basis(name, seed, noise=0.0):
    """A planted kernel as it looks when We and Wd have turned z, and the Wd `20 4` behind it.

    Of rank 4: with three channels a sum of three products explains many a full 3 x 3.
    """
    kernel, g = planted(name, seed, 4), torch.Generator().manual_seed(seed)
    into, out = torch.randn(2, 4, 4, generator=g, dtype=torch.float64)
    turned = torch.einsum("oa,abyx,bi->oiyx", out, kernel, into)
    turned = torch.nn.functional.pad(turned, ((5 - turned.shape[-1]) // 2,) * 4)
    turned = turned + noise * turned.std() * torch.randn(turned.shape, generator=g).double()
    return turned, torch.randn(20, 4, generator=g, dtype=torch.float64)


@pytest.mark.parametrize("noise, seed", [(0.0, 0), (0.03, 1)])
@pytest.mark.parametrize("name", LINEAR[1:])
def test_a_change_of_basis_by_We_and_Wd_hides_no_operator(name, seed, noise):
    kernel, Wd = in_another_basis(name, seed, noise)
    choice = project(holding(kernel, 4), coloured(seed, 4), decoder=Wd)
    assert choice.projection == {"conv_1x1": "skip"}.get(name, name)  # pointwise is pointwise
    assert choice.residual[name] < (1e-6 if noise == 0 else 5e-3)


def test_a_member_computes_what_the_cell_and_its_decoder_did():
    kernel, Wd = in_another_basis("sep_conv_5x5", 1)
    member = project(holding(kernel, 4), coloured(1, 4), decoder=Wd).members["sep_conv_5x5"]
    assert torch.allclose(member.flat(5), Wd @ kernel.flatten(1), atol=1e-6)


def test_energy_counts_behind_the_decoder():
    """What Wd does not read needs no explanation."""
    kernel = torch.nn.functional.pad(identity(RANK).double(), (2,) * 4)
    kernel[0] = torch.randn(RANK, 5, 5, dtype=torch.float64)
    Wd = torch.randn(20, RANK, dtype=torch.float64)
    assert project(holding(kernel), coloured(), decoder=Wd).projection != "skip"
    Wd[:, 0] = 0
    assert project(holding(kernel), coloured(), decoder=Wd).projection == "skip"
