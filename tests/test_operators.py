"""Every operator is what its name says, in torch's own words; a new one is one decorated class."""

import pytest
import torch
import torch.nn.functional as F

from naslora_core.errors import UserError
from naslora_core.search import operator_registry as registry
from naslora_core.search import operators as ops
from naslora_core.search.operator_registry import OPERATOR_SETS, REGISTRY, Operator, build, operator

RANK = 4


def made(name, rank=RANK):
    torch.manual_seed(0)
    return build((name,), rank)[0].double()


def reference(op, z):
    """The operator by the library's own layers."""
    depthwise = {"sep_conv_3x3": 1, "sep_conv_5x5": 2}
    if op.name in depthwise:
        side = depthwise[op.name]
        inner = F.conv2d(z, op.depthwise, padding=side, groups=z.shape[1])
        return F.conv2d(inner, op.pointwise)
    return {
        "none": lambda: torch.zeros_like(z),
        "skip": lambda: z,
        "conv_1x1": lambda: F.conv2d(z, op.weight),
        "conv_3x3": lambda: F.conv2d(z, op.weight, padding=1),
        "conv_5x5": lambda: F.conv2d(z, op.weight, padding=2),
        "dil_conv_3x3": lambda: F.conv2d(z, op.weight, padding=2, dilation=2),
        "avg_pool_3x3": lambda: F.avg_pool2d(z, 3, 1, 1, count_include_pad=True),
    }[op.name]()


@pytest.mark.parametrize("name", OPERATOR_SETS["linear"])
@pytest.mark.parametrize("size", [(1, 1), (1, 6), (2, 3), (7, 8)])
def test_kernel_equals_the_layers_of_the_library(name, size):
    op, z = made(name), torch.randn(2, RANK, *size, dtype=torch.float64)
    assert (op(z) - reference(op, z)).abs().max() < 1e-12


@pytest.mark.parametrize("name", OPERATOR_SETS["linear"])
def test_a_linear_operator_is_linear_and_has_no_bias(name):
    op, z = made(name), torch.randn(2, RANK, 5, 6, dtype=torch.float64)
    assert op.linear and op.kernel().shape == (RANK, RANK, op.side, op.side)
    assert (op(3 * z) - 3 * op(z)).abs().max() < 1e-12
    assert op(torch.zeros_like(z)).abs().max() == 0


@pytest.mark.parametrize("name", OPERATOR_SETS["linear"])
def test_identity_start_copies_the_input_where_the_operator_can_learn(name):
    op, z = made(name), torch.randn(2, RANK, 5, 6, dtype=torch.float64)
    op.take(ops.identity(op.rank, op.side))
    if name not in ("none", "avg_pool_3x3"):
        assert torch.equal(op(z), z)


def test_costs_of_rank_4():
    r = RANK
    wanted = {  # name: (MACs a token, parameters)
        "none": (0, 0),
        "skip": (0, 0),
        "conv_1x1": (r * r, r * r),
        "conv_3x3": (9 * r * r, 9 * r * r),
        "conv_5x5": (25 * r * r, 25 * r * r),
        "dil_conv_3x3": (9 * r * r, 9 * r * r),
        "sep_conv_3x3": (9 * r + r * r, 9 * r + r * r),
        "sep_conv_5x5": (25 * r + r * r, 25 * r + r * r),
        "avg_pool_3x3": (9 * r, 0),
    }
    for name, cost in wanted.items():
        op = made(name)
        assert (op.macs(), sum(p.numel() for p in op.parameters())) == cost, name
        assert op.folds_to
    assert set(wanted) == set(OPERATOR_SETS["linear"])


def test_a_set_has_a_hash_that_changes_with_members_and_order():
    linear = OPERATOR_SETS["linear"]
    assert registry.set_hash(linear) == registry.set_hash(tuple(linear))
    assert (
        len(
            {
                registry.set_hash(linear),
                registry.set_hash(linear[1:]),
                registry.set_hash(linear[::-1]),
            }
        )
        == 3
    )


def test_unknown_names_are_told_what_there_is():
    with pytest.raises(UserError, match=r"'conv_9x9'.*conv_3x3"):
        build(("skip", "conv_9x9"), RANK)
    with pytest.raises(UserError, match=r"'nonlinear'.*linear"):
        registry.operator_names("nonlinear")


def test_a_new_operator_is_one_decorated_class(monkeypatch):
    monkeypatch.setattr(registry, "REGISTRY", dict(REGISTRY))

    @operator("shift_left")
    class ShiftLeft(ops.Fixed):
        side = 3

        def define(self, rank):
            return ops.identity(rank, 3).roll(1, -1)

    op, z = made("shift_left"), torch.randn(1, RANK, 4, 4, dtype=torch.float64)
    assert torch.equal(op(z)[..., :-1], z[..., 1:])
    assert "shift_left" not in REGISTRY


def test_an_operator_without_a_kernel_says_so():
    class Odd(Operator):
        name = "odd"

    assert not Odd(2).linear
    with pytest.raises(NotImplementedError, match="odd is not linear"):
        Odd(2).kernel()
