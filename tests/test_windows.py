"""On the map a cell sees across windows, and padding neither writes nor is read."""

import pytest
import torch
from adapting import random_images, shaken, small_sam
from segment_anything.modeling.image_encoder import Block, window_partition
from tiny import WIDTH

from naslora_core.adapters import (
    FixedConv,
    NASLoRA,
    NASPCLoRA,
    adapt,
    fold,
    load_adapter,
    load_folded,
    save_adapter,
)
from naslora_core.adapters.lora import LoRALinear
from naslora_core.adapters.target_layers import Windows, windows_of
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.search import Cell

MAPPED = {
    "fixed": FixedConv(rank=4, place="map"),
    "nas": NASLoRA(rank=3, place="map"),
    "nas_pc": NASPCLoRA(rank=4, place="map"),
    "nas_q_v_proj": NASLoRA(rank=2, place="map", linears=("q", "v", "proj", "lin1")),
}
every = pytest.mark.parametrize("name", MAPPED)
SIZES = [((16, 16), 8), ((10, 10), 8), ((9, 12), 4), ((5, 7), 14)]


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def answer(model, images=None):
    with torch.no_grad():
        return model(random_images() if images is None else images).low_res


def layer_on(size, side, rank=3):
    """A float64 layer of random weights, once in windows and once on the map they came from."""
    torch.manual_seed(0)
    layer = LoRALinear(torch.nn.Linear(10, 6), rank, 0.7, Cell(rank)).double()
    layer.Wd.data.normal_()
    layer.cell.arch_alpha.data.normal_()
    layer.windows = Windows(side, *size)
    return layer


def slowly(layer, x):
    """The path on an unpartitioned map `B H W d`, token by token over a zero frame."""
    kernel, z = layer.cell.kernel(), torch.einsum("rd,bhwd->brhw", layer.We, x)
    half, out = kernel.shape[-1] // 2, torch.zeros_like(z)
    for y in range(z.shape[2]):
        for x_ in range(z.shape[3]):
            for dy in range(-half, half + 1):
                for dx in range(-half, half + 1):
                    inside = 0 <= y + dy < z.shape[2] and 0 <= x_ + dx < z.shape[3]
                    if inside:
                        tap = kernel[..., half + dy, half + dx]
                        out[:, :, y, x_] += z[:, :, y + dy, x_ + dx] @ tap.T
    return 0.7 * torch.einsum("or,brhw->bhwo", layer.Wd, out)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size, side", SIZES)
def test_the_path_on_the_map_is_the_slow_reference(size, side, batch):
    layer, x = layer_on(size, side), torch.randn(batch, *size, 10).double()
    windows, _ = window_partition(x, side)
    with torch.no_grad():
        path = layer(windows) - layer.base(windows)
        wanted = slowly(layer, x)
        assert torch.allclose(layer.windows.join(path), wanted, atol=1e-12)
        assert torch.equal(layer.windows.split(layer.windows.join(path)), path)  # 0 on padding


@pytest.mark.parametrize("size, side", SIZES[1:])
def test_what_stands_on_padding_is_not_read(size, side):
    layer, x = layer_on(size, side), torch.randn(2, *size, 10).double()
    windows, _ = window_partition(x, side)
    padding, _ = window_partition(torch.ones_like(x), side)
    noise = torch.where(padding == 0, torch.randn_like(windows), windows)
    with torch.no_grad():
        one, two = (layer(x) - layer.base(x) for x in (windows, noise))
    assert (noise != windows).any() and torch.equal(one, two)


def test_a_global_block_is_the_same_in_either_place(sam):
    for method in (FixedConv, NASLoRA):
        one, two = (
            shaken(adapt(sam, method(rank=3, blocks="global", place=place)))
            for place in ("window", "map")
        )
        assert torch.equal(answer(one), answer(two))
    one, two = (shaken(adapt(sam, FixedConv(rank=3, place=p))) for p in ("window", "map"))
    assert (answer(one) - answer(two)).abs().max() > 1e-2


def test_only_linears_that_see_windows_join_them(sam):
    encoder = adapt(sam, MAPPED["nas_q_v_proj"]).sam.image_encoder
    layers = {n: m for n, m in encoder.named_modules() if isinstance(m, LoRALinear)}
    joined = {n for n, m in layers.items() if m.windows}
    assert len(layers) == 24 and len(joined) == 4 * 3
    assert all(".attn." in n for n in joined)
    assert not any(n.startswith(("blocks.2.", "blocks.5.")) for n in joined)
    assert {m.windows for m in layers.values()} == {None, Windows(4, 8, 8)}


def test_the_windows_of_an_encoder_whose_map_needs_padding():
    encoder = build_nano(image_size=80).image_encoder  # 10 x 10 tokens, windows of 8
    assert windows_of(encoder, encoder.blocks[0]) == Windows(8, 10, 10)
    assert windows_of(encoder, encoder.blocks[2]) is None


@every
def test_it_begins_as_the_base_and_folds_exactly_even_with_padding(name):
    torch.manual_seed(0)
    sam = build_nano(image_size=80).eval().requires_grad_(False)
    images = (torch.rand(3, 3, 80, 80) * 255).round()
    model = adapt(sam, MAPPED[name])
    with torch.no_grad():
        x = model.preprocess(images)
        assert (model.encode(x) - sam.image_encoder(x)).abs().max() == 0
        wanted = shaken(model).encode(x)
        folded = fold(model)
        assert (folded.model.encode(x) - wanted).abs().max() < 1e-4
        assert (model.encode(x[:1]) - wanted[:1]).abs().max() < 1e-4
    assert "centre tap" in {r.folded for r in folded.report.rows}


@every
def test_files_carry_the_place(sam, small_base, tmp_path, name):
    model = shaken(adapt(sam, MAPPED[name]))
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    assert torch.equal(answer(again), answer(model))
    folded = fold(model)
    loaded = load_folded(folded.save(tmp_path / "f.safetensors"))
    assert torch.equal(answer(loaded), answer(folded.model))


def test_an_unknown_place_is_refused():
    for method in (FixedConv, NASLoRA, NASPCLoRA):
        with pytest.raises(UserError, match="'globe'.*window, map"):
            method(rank=4, place="globe")


def test_a_windowed_block_on_the_map_compiles(sam):
    encoder = shaken(adapt(sam, MAPPED["nas"])).sam.image_encoder
    block, x = encoder.blocks[0], torch.randn(1, 8, 8, WIDTH)
    assert isinstance(block, Block)
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager", fullgraph=True)
    with torch.no_grad():
        assert (compiled(x) - block(x)).abs().max() < 1e-4
