"""The `darts` set is DARTS' own code, and its statistics are kept where its weights are."""

import pytest
import torch
from adapting import random_images, shaken, small_sam
from tiny import tiny_data
from torch import nn

from naslora_core.adapters import NASLoRA, NASPCLoRA, adapt, cells, fold, load_adapter, save_adapter
from naslora_core.errors import UserError
from naslora_core.search import Cell
from naslora_core.search.operator_registry import build
from naslora_core.training.fitting import fit
from naslora_workbook.research.methods import OPERATOR_SETS

DARTS, RANK = OPERATOR_SETS["darts"], 3
OWN = [n for n in DARTS if n.startswith("darts_")]
every = pytest.mark.parametrize("name", OWN)


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def made(name):
    torch.manual_seed(0)
    return build((name,), RANK)[0].double()


def theirs(name, C=RANK):
    """`operations.py` and `MixedOp` of DARTS at stride 1, affine=False, written out."""

    def bn():
        return nn.BatchNorm2d(C, affine=False)

    def conv(k, pad, dilation=1):
        depthwise = nn.Conv2d(C, C, k, 1, pad, dilation, groups=C, bias=False)
        return [nn.ReLU(inplace=False), depthwise, nn.Conv2d(C, C, 1, bias=False), bn()]

    return {
        "darts_max_pool_3x3": lambda: [nn.MaxPool2d(3, stride=1, padding=1), bn()],
        "darts_avg_pool_3x3": lambda: [
            nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False),
            bn(),
        ],
        "darts_sep_conv_3x3": lambda: [*conv(3, 1), *conv(3, 1)],
        "darts_sep_conv_5x5": lambda: [*conv(5, 2), *conv(5, 2)],
        "darts_dil_conv_3x3": lambda: conv(3, 2, 2),
        "darts_dil_conv_5x5": lambda: conv(5, 4, 2),
    }[name]()


@every
@pytest.mark.parametrize("size", [(1, 3), (6, 7), (8, 8)])
def test_each_operator_is_darts_own_in_training_and_in_eval(name, size):
    op, z = made(name), torch.randn(4, RANK, *size).double()
    torch.manual_seed(0)
    reference = nn.Sequential(*theirs(name)).double()
    for _ in range(2):
        assert torch.allclose(op(z), reference(z), atol=1e-12)
    assert torch.allclose(op.eval()(z), reference.eval()(z), atol=1e-12)
    assert op(z).shape == z.shape


def test_the_set_and_its_costs():
    r = RANK
    wanted = {  # name: (MACs a token, parameters, side)
        "darts_max_pool_3x3": (9 * r, 0, 3),
        "darts_avg_pool_3x3": (9 * r, 0, 3),
        "darts_sep_conv_3x3": (2 * (9 * r + r * r), 2 * (9 * r + r * r), 5),
        "darts_sep_conv_5x5": (2 * (25 * r + r * r), 2 * (25 * r + r * r), 9),
        "darts_dil_conv_3x3": (9 * r + r * r, 9 * r + r * r, 5),
        "darts_dil_conv_5x5": (25 * r + r * r, 25 * r + r * r, 9),
    }
    for name, cost in wanted.items():
        op = made(name)
        assert (op.macs(), sum(p.numel() for p in op.parameters()), op.side) == cost, name
        assert not op.linear and op.folds_to == "nothing" and op.why_unfoldable
    assert set(OWN) == set(wanted) and not set(OWN) & set(OPERATOR_SETS["linear"])
    assert DARTS[:2] == ("none", "skip")


@every
def test_none_is_a_convolution_and_why(name):
    """In eval too: a maximum and a ReLU do not add up, an uncounted border is no kernel."""
    op, z = made(name), torch.randn(8, RANK, 7, 7).double()
    op(3 * z + 1)
    op.eval()
    zero = op(torch.zeros_like(z))
    left = op(z) + op(-z) - 2 * zero
    if name != "darts_avg_pool_3x3":
        assert left.abs().max() > 1e-3
        return
    assert left.abs().max() < 1e-12  # affine where statistics stand still, ...
    scale = (op.norm.running_var + op.norm.eps).rsqrt()[:, None, None]
    counted = nn.functional.avg_pool2d(z, 3, 1, 1) * scale
    apart = ((op(z) - zero) - counted).abs().amax((0, 1))
    assert apart[1:-1, 1:-1].max() < 1e-12 < 1e-3 < apart[0].min()  # ... but not at the border


@every
def test_a_batch_is_normalised_in_training_and_each_image_alone_in_eval(name):
    op, z = made(name), torch.randn(2, RANK, 6, 6).double()
    out = op(z)
    assert out.mean((0, 2, 3)).abs().max() < 1e-9
    assert (op(z[:1]) - out[:1]).abs().max() > 1e-3
    op.eval()
    assert torch.equal(op(z[:1]), op(z)[:1])


def test_a_cell_mixes_them_beside_its_kernel():
    torch.manual_seed(0)
    cell, z = Cell(RANK, "darts").double().eval(), torch.randn(2, RANK, 6, 5).double()
    cell.arch_alpha.data.normal_()
    assert not cell.linear and cell.side == 1
    assert torch.allclose(cell(z), cell.mix_maps(z), atol=1e-12)


def test_it_searches_and_says_what_cannot_be_read(sam):
    model = adapt(sam, NASLoRA(rank=2, operators="darts", blocks="global"))
    result = fit(model, tiny_data(), schedule="joint", steps=4, batch=2, progress=False)
    assert all(c.arch_alpha.abs().sum() > 0 for c in cells(model).values())
    for block in result.genotype.blocks:
        assert block.argmax in DARTS and (block.projection, block.residual) == (None, {})


@pytest.mark.parametrize("method", [NASLoRA, NASPCLoRA])
@pytest.mark.parametrize("place", ["window", "map"])
def test_statistics_are_saved_restored_and_stay_out_of_a_fold(sam, tmp_path, method, place):
    model = shaken(adapt(sam, method(rank=4, operators="darts", blocks=(1, 2), place=place)))
    with torch.no_grad():
        model.train()(random_images())
    model.eval()
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    kept = model.adapter_state_dict()
    assert any(n.endswith("running_var") for n in kept)
    assert all(torch.equal(t, again.adapter_state_dict()[n]) for n, t in kept.items())
    with torch.no_grad():
        wanted = model(random_images()).low_res
        assert torch.equal(again(random_images()).low_res, wanted)
        folded = fold(model)
        assert (folded.model(random_images()).low_res - wanted).abs().max() < 1e-5
    with pytest.raises(UserError, match="max_pool_3x3 takes a maximum; .*avg.*border.*ReLU"):
        folded.save(tmp_path / "f.safetensors")


def test_what_the_base_keeps_is_not_in_the_file(sam):
    model = adapt(sam, NASLoRA(rank=2))
    assert model.adapter_state_dict().keys() == model.trainable().keys()
    model = adapt(sam, NASLoRA(rank=2, operators="darts"))
    statistics = model.adapter_state_dict().keys() - model.trainable().keys()
    assert statistics and all(".attn.qkv.cell." in n for n in statistics)


def test_rank_one_and_bf16(sam):
    model = adapt(sam, NASLoRA(rank=1, operators="darts", blocks=(0,))).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(random_images()).low_res.float().square().mean()
    loss.backward()
    grads = [p.grad for p in cells(model)["block 0"].parameters()]
    assert loss.isfinite() and all(g.isfinite().all() for g in grads)
