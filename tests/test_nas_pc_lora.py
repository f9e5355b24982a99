"""NAS-PC-LoRA searches the first r / K channels of z and copies the others."""

import pytest
import torch
from adapting import random_images, shaken, small_sam

from naslora_core.adapters import LoRA, adapt, cells, fold, read_genotype
from naslora_core.adapters.nas_lora import NASPCLoRA, PartialCell
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter
from naslora_core.search import OPERATOR_SETS, Cell
from naslora_core.search.cell import STARTS


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def answer(model, images):
    with torch.no_grad():
        return model(images).low_res


def partial_cell(rank=8, partial=4, start="beside"):
    torch.manual_seed(0)
    cell = PartialCell(Cell(rank // partial, "linear", start), rank).double()
    cell.cell.arch_alpha.data.normal_()
    return cell


def test_settings_that_cannot_be_are_refused_with_those_that_can():
    for rank, partial, remedy in (
        (4, 4, "take 1 or 2"),
        (6, 4, "take 1 or 2 or 3"),
        (8, 0, "take 1 or 2 or 4"),
        (3, 2, "take 1"),
        (1, 1, "raise the rank to 2"),
    ):
        with pytest.raises(UserError, match=f"partial={partial} .* rank={rank} .*{remedy}"):
            NASPCLoRA(rank=rank, partial=partial)
    for rank, partial in ((2, 1), (4, 2), (8, 4), (6, 3)):
        assert NASPCLoRA(rank=rank, partial=partial).partial == partial


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (9, 8)])
def test_the_kernel_is_the_whole_forward(size, start):
    cell, z = partial_cell(start=start), torch.randn(3, 8, *size).double()
    kernel = cell.kernel()
    assert kernel.shape == (8, 8, 5, 5)
    assert torch.allclose(torch.conv2d(z, kernel, padding=2), cell(z), atol=1e-12)


def test_the_first_channels_are_searched_and_the_others_copied():
    cell, z = partial_cell(), torch.randn(3, 8, 5, 6).double()
    assert torch.allclose(cell(z)[:, :2], cell.cell.mix_maps(z[:, :2]), atol=1e-12)
    assert torch.equal(cell(z)[:, 2:], z[:, 2:])
    assert torch.equal(PartialCell(cell.cell, 2)(z[:, :2]), cell.cell(z[:, :2]))


def test_it_begins_as_the_base_and_folds_exactly(sam):
    images, model = random_images(), adapt(sam, NASPCLoRA(rank=4))
    assert (answer(model, images) - answer(Segmenter(sam), images)).abs().max() == 0
    before = answer(shaken(model), images)
    folded = fold(model)
    assert (answer(folded.model, images) - before).abs().max() < 1e-4
    assert {r.folded for r in folded.report.rows} == {"centre tap"}


def test_pointwise_operators_fold_to_vanilla(sam):
    pointwise = ("none", "skip", "conv_1x1")
    model = shaken(adapt(sam, NASPCLoRA(rank=6, partial=3, operators=pointwise)))
    folded = fold(model)
    assert folded.vanilla
    assert (answer(folded.model, random_images()) - answer(model, random_images())).max() < 1e-4


def test_its_cells_are_found_and_read(sam):
    model = shaken(adapt(sam, NASPCLoRA(rank=4, blocks="global")))
    found = cells(model)
    assert list(found) == ["block 2", "block 5"] and {c.rank for c in found.values()} == {2}
    genotype = read_genotype(model, random_images(1), schedule="joint", data="polyp", seed=0)
    assert [b.block for b in genotype.blocks] == list(found)
    assert genotype.operators == list(OPERATOR_SETS["linear"])


@pytest.mark.parametrize("rank, partial", [(4, 2), (8, 4), (6, 1)])
def test_parameters_are_lora_and_a_small_cell_a_block(sam, rank, partial):
    def count(method):
        return sum(p.numel() for p in adapt(sam, method).trainable().values())

    c = rank // partial
    cell = 9 + (1 + 9 + 25 + 9) * c**2 + (9 * c + c**2) + (25 * c + c**2)
    blocks = len(sam.image_encoder.blocks)
    assert count(NASPCLoRA(rank=rank, partial=partial)) == count(LoRA(rank=rank)) + blocks * cell
