"""A new method is one decorated class, a new operator is one: everything else follows."""

from dataclasses import dataclass

import pytest
import test_methods
import torch
from adapting import small_sam
from torch import nn

from naslora_core.adapters import NASLoRA, adapt, adaptation, cells, fold
from naslora_core.adapters.lora import LoRALinear
from naslora_core.cli.method_settings import method_of, told
from naslora_core.errors import UserError
from naslora_core.search import operator_registry
from naslora_core.search.operator_registry import Operator, operator, set_hash
from naslora_workbook.research.benchmarks.method_costs import COLUMNS, measure
from naslora_workbook.research.methods import LABELS, METHODS
from naslora_workbook.results.labels import numbers


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.fixture
def registries():
    """Whatever is registered in a test is gone after it."""
    all_of_them = METHODS, LABELS, adaptation.CLASSES, operator_registry.REGISTRY
    before = [dict(registry) for registry in all_of_them]
    yield
    for registry, content in zip(all_of_them, before, strict=True):
        registry.clear()
        registry.update(content)


@pytest.fixture
def toy(registries):
    @adaptation.method("toy", label="a toy")
    @dataclass(frozen=True)
    class Toy:
        """LoRA on the first block alone."""

        rank: int = 2

        def inject(self, encoder: nn.Module) -> None:
            attention = encoder.blocks[0].attn
            attention.qkv = LoRALinear(attention.qkv, self.rank, 1.0)

    return Toy


@pytest.fixture
def shift(registries):
    @operator("toy_shift")
    class Shift(Operator):
        """z moved by a learned share to the left."""

        side = 3

        def __init__(self, rank: int):
            super().__init__(rank)
            self.share = nn.Parameter(torch.ones(rank))

        def kernel(self):
            taps = torch.zeros(3, 3)
            taps[1, 0] = 1
            return torch.diag_embed(self.share)[..., None, None] * taps.to(self.share)

    return Shift


def test_a_toy_method_is_in_the_command_line_the_contract_and_the_tables(sam, toy, tmp_path):
    assert method_of("toy", ["rank=3"]) == toy(rank=3)
    assert "toy" in told() and LABELS["toy"] == "a toy"
    contract = [m for m in vars(test_methods).values() if _parametrised(m)]
    assert len(contract) > 4 and all(_parametrised(m).args[1] is METHODS for m in contract)
    test_methods.test_a_saved_adapter_comes_back_bit_by_bit(sam, tmp_path, "toy")
    test_methods.test_gradient_checkpointing_gives_the_same_gradients(sam, "toy")
    rows = measure("nano", ["lora", "toy"], rounds=1, batch=1)
    assert "toy" in numbers("nano", rows, COLUMNS) and rows["toy"]["parameters"] == 2 * (160 + 480)
    assert fold(adapt(sam, toy())).vanilla


def _parametrised(test):
    marks = [m for m in getattr(test, "pytestmark", []) if m.name == "parametrize"]
    return marks[0] if marks and marks[0].args[1] is METHODS else None


def test_a_toy_operator_is_searched_filed_and_folded(sam, shift):
    method = method_of("nas_lora", ["operators=('skip', 'toy_shift')", "rank=2"])
    model = adapt(sam, method)
    assert [c.names for c in cells(model).values()][0] == ("skip", "toy_shift")
    cell, z = next(iter(cells(model).values())), torch.randn(1, 2, 5, 6)
    assert torch.allclose(cell(z), cell.mix_maps(z), atol=1e-5)
    row = fold(model).report.rows[0]
    assert (row.folded, row.kernel_side) == ("centre tap", 3)
    METHODS["nas_toy"] = NASLoRA(operators=("skip", "toy_shift"))
    rows = measure("nano", ["lora", "nas_toy"], rounds=1, batch=1)
    assert "nas_toy" in numbers("nano", rows, COLUMNS)


def test_a_taken_name_is_refused_and_a_definition_has_its_hash(toy, shift):
    with pytest.raises(UserError, match="lora"):

        @adaptation.method("lora", label="another")
        @dataclass(frozen=True)
        class Another:
            def inject(self, encoder):
                pass

    with pytest.raises(UserError, match="conv_3x3"):

        @operator("conv_3x3")
        class Mine(Operator):
            pass

    before = set_hash(["skip", "toy_shift"])
    operator("toy_shift")(shift)  # the same class again, as when a notebook's cell runs twice
    assert set_hash(["skip", "toy_shift"]) == before != set_hash(["toy_shift", "skip"])
    assert "lora" in METHODS and type(METHODS["lora"]).__name__ == "LoRA"
