"""NAS-LoRA is W0 x + b + s Wd sum_i softmax(alpha)_i O_i(We x), and its result can be read."""

import pytest
import torch
from adapting import METHODS, random_images, register_max_pool, shaken, small_sam, trained_step
from hypothesis import given, settings
from hypothesis import strategies as st

from naslora_core.adapters import FixedConv, NASLoRA, adapt, cells, read_genotype
from naslora_core.adapters.fixed_conv import SkipConv
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.nas_lora import decoders
from naslora_core.search import OPERATOR_SETS, Cell, Genotype
from naslora_core.search.cell import STARTS

LINEAR = OPERATOR_SETS["linear"]


@pytest.fixture(scope="module")
def sam():
    return small_sam()


SIZE = st.integers(1, 7)


@settings(max_examples=40, deadline=None)
@given(rank=st.integers(1, 16), batch=SIZE, h=SIZE, w=SIZE, start=st.sampled_from(STARTS))
def test_the_equation_token_by_token(rank, batch, h, w, start):
    """Written out over the sum of feature maps, channels first, from the readable reference."""
    torch.manual_seed(0)
    linear, cell = torch.nn.Linear(10, 6).double(), Cell(rank, "linear", start).double()
    layer = LoRALinear(linear, rank, 0.6, cell).double()
    x = torch.randn(batch, h, w, 10).double()
    assert torch.equal(layer(x), linear(x))
    with torch.no_grad():
        for p in (layer.Wd, cell.arch_alpha):
            p.normal_()
    z = torch.einsum("rd,bhwd->brhw", layer.We, x)
    wanted = linear(x) + 0.6 * torch.einsum("or,brhw->bhwo", layer.Wd, cell.mix_maps(z))
    assert torch.allclose(layer(x), wanted, atol=1e-10)


def test_the_first_step_cannot_move_alpha_and_the_second_can(sam):
    """With Wd = 0 only Wd has gradient; that is why a search begins with a warm-up."""
    model, images = adapt(sam, NASLoRA(blocks="global")), random_images()
    alphas = [c.arch_alpha for c in cells(model).values()]
    for moved in (False, True):
        model.zero_grad()
        model(images).low_res.square().mean().backward()
        assert all((a.grad.abs().sum() > 0) == moved for a in alphas)
        trained_step(model, images, steps=1)


def test_fixed_conv_is_a_skip_and_one_convolution():
    torch.manual_seed(0)
    conv, z = SkipConv(4, 3).double(), torch.randn(2, 4, 5, 6).double()
    conv.weight.data.normal_()
    wanted = z + torch.nn.functional.conv2d(z, conv.weight, padding=1)
    assert torch.equal(conv(z), wanted)
    whole = torch.nn.functional.conv2d(z, conv.kernel(), padding=1)
    assert torch.allclose(whole, wanted, atol=1e-12)
    assert torch.equal(SkipConv(4, 5).double()(z), z)


def test_an_operator_does_not_see_across_a_window(sam):
    """In a windowed block the field ends at the window's border, in a global one it does not."""
    for blocks, reaches in ((1,), 4 * 4), ((2,), 5 * 5):  # windows are 4 tokens wide
        model = shaken(adapt(sam, NASLoRA(rank=2, blocks=blocks, start="plain")))
        cell, seen = next(iter(cells(model).values())), {}
        hook = cell.register_forward_pre_hook(lambda m, z, seen=seen: seen.update(z=z[0]))
        with torch.no_grad():
            model(random_images(1))
        hook.remove()
        z = seen["z"].clone().requires_grad_()
        assert tuple(z.shape) == ((4, 2, 4, 4) if reaches == 16 else (1, 2, 8, 8))
        row, column = (2, 2) if reaches == 16 else (4, 4)
        cell(z)[0, :, row, column].sum().backward()
        assert int((z.grad.abs().sum(1) > 0).sum()) == reaches


def test_the_genotype_names_the_blocks_both_readings_and_the_circumstances(sam, tmp_path):
    model = shaken(adapt(sam, NASLoRA(rank=3, blocks="late-4")))
    found = read_genotype(model, random_images(), schedule="stage-wise", data="polyp", seed=2)
    assert [b.block for b in found.blocks] == [f"block {i}" for i in (2, 3, 4, 5)]
    assert (found.operators, found.start, found.seed) == (list(LINEAR), "beside", 2)
    for block, cell in zip(found.blocks, cells(model).values(), strict=True):
        p = torch.tensor(block.probability)
        assert block.argmax == LINEAR[int(p.argmax())] and set(block.residual) == set(LINEAR)
        assert torch.allclose(p, cell.probabilities(), atol=1e-6)
        assert block.margin == pytest.approx(float(p.sort().values[-1] - p.sort().values[-2]))
        assert 0 < block.entropy < 1
    apart = read_genotype(model, random_images(), 1, schedule="stage-wise", data="polyp", seed=2)
    assert [b.projection for b in apart.blocks] == [b.projection for b in found.blocks]
    for one, other in zip(apart.blocks, found.blocks, strict=True):
        assert one.residual == pytest.approx(other.residual, abs=1e-5)
    found.save(tmp_path / "g.json")
    assert Genotype.load(tmp_path / "g.json") == found


def test_a_genotype_of_certain_cells_and_of_models_without_cells(sam):
    model = adapt(sam, NASLoRA(rank=2, blocks=(0,)))
    cell = cells(model)["block 0"]
    facts = {"schedule": "joint", "data": "leaf", "seed": 0}
    assert read_genotype(model, random_images(1), **facts).blocks[0].entropy == pytest.approx(1)
    with torch.no_grad():
        cell.arch_alpha[LINEAR.index("skip")] = 1e4
        decoders(model)["block 0"].normal_()  # while Wd is zero there is nothing to explain
    block = read_genotype(model, random_images(1), **facts).blocks[0]
    assert (block.argmax, block.projection) == ("skip", "skip")
    assert (block.entropy, block.margin) == (0, 1)
    assert read_genotype(adapt(sam, FixedConv()), random_images(1), **facts) is None


def test_a_non_linear_operator_searches_beside_the_others(sam, monkeypatch):
    register_max_pool(monkeypatch)
    model = adapt(sam, NASLoRA(rank=2, operators=("skip", "max_of_3x3"), blocks="global"))
    trained_step(model, random_images(1), steps=2)
    assert all(c.arch_alpha.abs().sum() > 0 for c in cells(model).values())


@pytest.mark.parametrize("name", METHODS)
def test_bf16_autocast_and_batches_of_one_and_seven(sam, name):
    model, images = shaken(adapt(sam, METHODS[name])), random_images(7)
    with torch.no_grad():
        whole = model(images).low_res
        assert (model(images[:1]).low_res - whole[:1]).abs().max() < 1e-4
        with torch.autocast("cpu", torch.bfloat16):
            rough = model(images[:2]).low_res
    assert (rough.float() - whole[:2]).abs().mean() < 0.05 * whole.abs().mean() + 0.05


def test_training_twice_with_one_seed_is_the_same_bit_for_bit(sam):
    images = random_images()
    one, two = (trained_step(adapt(sam, NASLoRA(blocks="late-2"), seed=3), images) for _ in "ab")
    assert all(torch.equal(p, two.trainable()[n]) for n, p in one.trainable().items())
