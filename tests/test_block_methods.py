"""The methods beside LoRA: what they promise of the base, of gradients, of sizes and of shapes."""

import copy

import pytest
import torch
from adapting import random_images, shaken, small_sam, trained_step
from segment_anything.modeling.image_encoder import Attention, window_partition
from tiny import SIDE, WIDTH, build_tiny
from torch.nn.functional import layer_norm, linear

from naslora_core.adapters import fold
from naslora_core.adapters.adaptation import adapt
from naslora_core.adapters.baselines import DecoderOnly, Full
from naslora_core.adapters.lora import LoRA
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, model_hash
from naslora_core.sam.checkpoints import BUILDERS
from naslora_workbook.research.methods.bitfit import BitFit
from naslora_workbook.research.methods.bottleneck import BottleneckAdapter
from naslora_workbook.research.methods.lst import LST
from naslora_workbook.research.methods.sam_adapter import SAMAdapter, high_frequencies
from naslora_workbook.research.methods.ssf import SSF, ScaleShift
from naslora_workbook.research.methods.vpt import VPT, PromptedAttention

METHODS = {
    "full": Full(),
    "bitfit": BitFit(),
    "bottleneck": BottleneckAdapter(),
    "ssf": SSF(),
    "vpt": VPT(),
    "lst": LST(),
    "sam_adapter": SAMAdapter(),
}
PLACED = METHODS | {
    "full_late": Full(blocks="late-2"),
    "bitfit_global": BitFit(blocks="global"),
    "bottleneck_late": BottleneckAdapter(width=5, scale=2.0, blocks="late-2"),
    "ssf_windowed": SSF(blocks="windowed"),
    "vpt_late": VPT(tokens=3, blocks="late-2"),
    "lst_wide": LST(reduction=4, blocks=(0, 5)),
    "sam_adapter_late": SAMAdapter(reduction=16, blocks="late-2"),
}
# Softmax shares its weight with VPT's tokens from the start, whatever they are: not the base.
AS_THE_BASE = [name for name in PLACED if not name.startswith("vpt")]
# d, blocks, global blocks, heads, window, patch, tokens a side, channels of the neck
SIZES = {
    "sam_nano": (160, 6, 2, 5, 8, 8, 16, 128),
    "vit_b": (768, 12, 4, 12, 14, 16, 64, 256),
    "vit_l": (1024, 24, 4, 16, 14, 16, 64, 256),
    "vit_h": (1280, 32, 4, 16, 14, 16, 64, 256),
}


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.fixture(scope="module")
def images():
    return random_images(1)


def answer(model, images):
    with torch.no_grad():
        return model(images).low_res


@pytest.mark.parametrize("name", PLACED)
def test_before_the_first_step_the_answer_is_the_base_exactly_but_of_vpt(sam, images, name):
    difference = answer(adapt(sam, PLACED[name]), images) - answer(Segmenter(sam), images)
    assert (difference.abs().max() == 0) == (name in AS_THE_BASE)


@pytest.mark.parametrize("name", PLACED)
def test_only_the_promised_parameters_get_gradient(sam, images, name):
    model = shaken(adapt(sam, PLACED[name]))
    model(images).low_res.square().mean().backward()
    promised = model.trainable()
    for key, p in model.named_parameters():
        assert (p.grad is not None and p.grad.abs().sum() > 0) == (key in promised), key
        assert key in promised or p.grad is None, key
    assert all(p.grad is None for p in sam.parameters())


@pytest.mark.parametrize("name", PLACED)
def test_training_leaves_the_base_bit_identical(sam, images, name):
    before = model_hash(sam)
    model = adapt(sam, PLACED[name])
    shared = {p.data_ptr() for p in sam.parameters()}
    for key, p in model.named_parameters():
        assert p.requires_grad == (p.data_ptr() not in shared), key
    start = answer(model, images)
    trained_step(model, images)
    assert (answer(model, images) - start).abs().max() > 1e-4
    assert model_hash(sam) == before == model.base_hash


def block_weights(d, heads, side):
    """qkv, proj, lin1, lin2 with biases, two norms, two tables of relative positions."""
    return 12 * d * d + 13 * d + 2 * (2 * side - 1) * (d // heads)


def formulas(d, depth, whole, heads, window, patch, side, out):
    """Parameters that each method adds to the decoder's, from the sizes of the encoder."""
    windowed, wide = block_weights(d, heads, window), block_weights(d, heads, side)
    blocks = (depth - whole) * windowed + whole * wide
    w, r = d // 8, d // 32
    rung = 12 * w * w + 13 * w + 1
    return {
        Full(): 3 * patch**2 * d + d + side**2 * d + blocks + out * d + 9 * out**2 + 4 * out,
        Full(blocks="global"): whole * wide,
        BitFit(): depth * 11 * d + d + 2 * out,
        BitFit(blocks="global"): whole * 11 * d,
        BottleneckAdapter(): depth * (2 * d * 64 + 64 + d),
        BottleneckAdapter(width=8, blocks="global"): whole * (2 * d * 8 + 8 + d),
        SSF(): depth * 2 * 11 * d,
        SSF(blocks="windowed"): (depth - whole) * 2 * 11 * d,
        VPT(): depth * 10 * d,
        VPT(tokens=50, blocks="global"): whole * 50 * d,
        LST(): (depth + 1) * (d * w + w) + depth * rung + 2 * w + (w * out + out),
        SAMAdapter(): (d * r + r) + (3 * patch**2 * r + r) + depth * (r * r + r) + (d * r + d),
    }


@pytest.mark.parametrize("name", SIZES)
def test_parameter_counts_are_the_formulas_without_allocating_a_model(name):
    with torch.device("meta"):
        real = BUILDERS[name]()

    def count(method):
        return sum(p.numel() for p in adapt(real, method).trainable().values())

    decoder = count(DecoderOnly())
    for method, wanted in formulas(*SIZES[name]).items():
        assert count(method) - decoder == wanted, method


@pytest.mark.parametrize("name", METHODS)
def test_an_image_has_the_same_answer_in_a_batch_of_one_and_of_seven(sam, name):
    model, images = shaken(adapt(sam, METHODS[name])), random_images(7)
    together = answer(model, images)
    assert together.shape == (7, 1, 32, 32)
    assert (answer(model, images[3:4]) - together[3:4]).abs().max() < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_autocast_runs_forward_and_backward(sam, images, name):
    model = shaken(adapt(sam, METHODS[name]))
    with torch.autocast("cpu", torch.bfloat16):
        low_res = model(images).low_res
    low_res.float().square().mean().backward()
    assert low_res.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.trainable().values())


@pytest.mark.parametrize("name", METHODS)
def test_a_deep_copy_is_the_same_and_apart(sam, images, name):
    model = shaken(adapt(sam, METHODS[name]))
    twin, before = copy.deepcopy(model), answer(model, images)
    assert twin.trainable().keys() == model.trainable().keys()
    assert torch.equal(answer(twin, images), before)
    trained_step(twin, images, steps=1)
    assert torch.equal(answer(model, images), before)


@pytest.mark.parametrize("name", METHODS)
def test_a_seed_decides_every_new_tensor_and_no_global_state_moves(sam, name):
    torch.manual_seed(11)
    first, here = adapt(sam, METHODS[name], seed=5).trainable(), torch.get_rng_state()
    second = adapt(sam, METHODS[name], seed=5).trainable()
    other = adapt(sam, METHODS[name], seed=6).trainable()
    assert torch.equal(torch.get_rng_state(), here)
    assert all(torch.equal(p, second[n]) for n, p in first.items())
    drawn = name in ("bottleneck", "vpt", "lst", "sam_adapter")
    assert any(not torch.equal(p, other[n]) for n, p in first.items()) == drawn


@pytest.mark.parametrize("name", METHODS)
def test_another_precision_of_the_base_is_kept(name):
    model = adapt(small_sam().double(), METHODS[name])
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.encode(model.preprocess(random_images(1).double())).dtype == torch.float64


@pytest.mark.parametrize("name", METHODS)
def test_the_official_names_of_frozen_tensors_are_kept_where_nothing_is_wrapped(sam, name):
    encoder = adapt(sam, METHODS[name]).sam.image_encoder
    official, here = set(sam.image_encoder.state_dict()), set(encoder.state_dict())
    assert encoder.img_size == SIDE and len(encoder.blocks) == 6
    assert official <= here or name.startswith(("ssf", "bottleneck"))


def test_settings_that_cannot_be_are_refused(sam):
    for method, value in ((BottleneckAdapter, {"width": 0}), (VPT, {"tokens": 0})):
        with pytest.raises(UserError, match="=0 .*at least 1"):
            method(**value)
    for method in (LST, SAMAdapter):
        with pytest.raises(UserError, match="reduction=0"):
            adapt(sam, method(reduction=0))
    with pytest.raises(UserError, match="masked=1"):
        SAMAdapter(masked=1)
    for name in METHODS:
        with pytest.raises(UserError, match=r"blocks='some'.*windowed"):
            adapt(sam, type(METHODS[name])(blocks="some"))


@pytest.mark.parametrize("method", [BottleneckAdapter(), SSF(), VPT(), LST(), SAMAdapter()])
def test_an_encoder_that_carries_the_adapter_is_refused(sam, method):
    with pytest.raises(UserError, match="adapt the base instead"):
        adapt(adapt(sam, method).sam, method)


def test_scales_and_shifts_merge_exactly_into_plain_layers(sam, images):
    model = shaken(adapt(sam, SSF()))
    plain = fold(model).model.sam
    assert plain.state_dict().keys() == sam.state_dict().keys()
    assert not any(isinstance(m, ScaleShift) for m in plain.modules())
    official = build_tiny(depth=6).eval()
    official.image_encoder.load_state_dict(plain.image_encoder.state_dict())
    x, encoder = model.preprocess(images), model.sam.image_encoder
    with torch.no_grad():
        assert (official.image_encoder(x) - encoder(x)).abs().max() <= 1e-5
        assert (encoder(x) - sam.image_encoder(x)).abs().max() > 0.1


@pytest.mark.parametrize("layer", [torch.nn.Linear(6, 4), torch.nn.LayerNorm(6)])
@pytest.mark.parametrize("bias", [True, False])
def test_one_layer_merges_with_and_without_a_bias(layer, bias):
    layer = copy.deepcopy(layer)
    layer.bias = layer.bias if bias else None
    scaled = ScaleShift(layer)
    with torch.no_grad():
        scaled.gamma.normal_(), scaled.beta.normal_()
    before, x = copy.deepcopy(layer.state_dict()), torch.randn(2, 3, 6)
    plain, _ = scaled.fold(0, "norm1")
    assert type(plain) is type(layer)
    assert torch.allclose(plain(x), scaled(x), atol=1e-6)
    assert all(torch.equal(t, before[n]) for n, t in layer.state_dict().items())


@pytest.mark.parametrize("method", [BitFit(), Full()])
def test_what_adds_nothing_loads_into_the_official_encoder(sam, images, method):
    model, official = shaken(adapt(sam, method)), build_tiny(depth=6).eval().image_encoder
    official.load_state_dict(model.sam.image_encoder.state_dict())
    x = model.preprocess(images)
    assert torch.equal(official(x), model.encode(x))


def test_the_bottleneck_is_its_formula(sam):
    block = shaken(adapt(sam, BottleneckAdapter(scale=0.3))).sam.image_encoder.blocks[1]
    x, m = torch.randn(3, 4, 5, WIDTH), block.mlp
    beside = linear(torch.clamp(linear(x, m.down.weight, m.down.bias), min=0), m.up.weight)
    wanted = sam.image_encoder.blocks[1].mlp(x) + 0.3 * (beside + m.up.bias)
    assert torch.allclose(m(x), wanted, atol=1e-5)


def random_attention(size, dim=24, heads=3, rel_pos=True):
    torch.manual_seed(3)
    attention = Attention(dim, heads, use_rel_pos=rel_pos, input_size=(size, size)).eval()
    if rel_pos:
        attention.rel_pos_h.data.normal_(), attention.rel_pos_w.data.normal_()
    return attention


@pytest.mark.parametrize("rel_pos", [True, False])
@pytest.mark.parametrize("side, window", [(8, 0), (16, 8), (10, 8)])
def test_without_tokens_the_attention_is_the_official_one_exactly(side, window, rel_pos):
    attention = random_attention(window or side, rel_pos=rel_pos)
    x = torch.randn(2, side, side, 24)
    x = window_partition(x, window)[0] if window else x
    prompted = PromptedAttention(attention, torch.zeros(0, 24))
    assert torch.equal(prompted(x), attention(x))
    assert set(attention.state_dict()) == set(prompted.state_dict()) - {"tokens"}


@pytest.mark.parametrize("index", [0, 2])
@pytest.mark.parametrize("side", [8, 6])
def test_a_whole_block_with_padded_windows_is_the_official_one(sam, index, side):
    block, x = sam.image_encoder.blocks[index], torch.randn(2, side, side, WIDTH)
    twin = copy.deepcopy(block)
    twin.attn = PromptedAttention(twin.attn, torch.zeros(0, WIDTH))
    assert torch.equal(twin(x), block(x))


def slow_attention(attention, tokens, x):
    """One query of one head at a time: every image token with its bias, learned ones without."""
    (h, w), heads, d = x.shape[:2], attention.num_heads, x.shape[-1]
    c, out = d // heads, torch.zeros_like(x)
    every = torch.cat([x.reshape(-1, d), tokens])
    q, k, v = attention.qkv(every).view(-1, 3, heads, c).unbind(1)
    for head in range(heads):
        for i in range(h * w):
            logits = k[:, head] @ q[i, head] / c**0.5
            for j in range(h * w):
                down, right = i // w - j // w + h - 1, i % w - j % w + w - 1
                table = attention.rel_pos_h[down] + attention.rel_pos_w[right]
                logits[j] = logits[j] + table @ q[i, head]
            out[i // w, i % w, head * c : (head + 1) * c] = logits.softmax(0) @ v[:, head]
    return attention.proj(out)


@torch.no_grad()
def test_learned_tokens_are_more_keys_and_values_without_a_bias():
    attention, tokens, x = random_attention(4), torch.randn(3, 24), torch.randn(2, 4, 4, 24)
    found = PromptedAttention(attention, tokens)(x)
    wanted = torch.stack([slow_attention(attention, tokens, one) for one in x])
    assert torch.allclose(found, wanted, atol=1e-5)
    assert (found - attention(x)).abs().max() > 1e-2


def test_lora_on_the_qkv_goes_with_learned_tokens(sam, images):
    class Both:
        def inject(self, encoder):
            VPT().inject(encoder)
            LoRA().inject(encoder)

    model = shaken(adapt(sam, Both()))
    model(images).low_res.square().mean().backward()
    assert len(model.trainable()) - len(adapt(sam, DecoderOnly()).trainable()) == 6 * 3
    assert all(p.grad.abs().sum() > 0 for p in model.trainable().values())


def saved_bytes(model, images):
    """Bytes of distinct tensors that a forward pass of the encoder keeps for the backward pass."""
    kept, own = {}, {p.untyped_storage().data_ptr() for p in model.parameters()}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        embedding = model.encode(model.preprocess(images))
    assert embedding.requires_grad
    return sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)


def test_the_ladder_keeps_less_than_half_of_what_lora_keeps(sam, images):
    lora, ladder = (saved_bytes(adapt(sam, m), images) for m in (LoRA(), LST()))
    assert 0 < ladder < lora / 2


def test_no_backward_pass_enters_the_frozen_encoder(sam, images):
    model, entered = shaken(adapt(sam, LST())), []
    encoder = model.sam.image_encoder
    for part in (*encoder.blocks, encoder.neck, encoder.patch_embed):
        part.register_forward_hook(lambda m, i, o: entered.append(o.requires_grad))
    x = model.preprocess(images).requires_grad_()
    model.encode(x).square().mean().backward()
    assert entered == [False] * 8 and x.grad is None


@torch.no_grad()
def test_the_ladder_is_its_formula(sam, images):
    model = shaken(adapt(sam, LST()))
    encoder, x = model.sam.image_encoder, model.preprocess(images)
    f = sam.image_encoder.patch_embed(x) + sam.image_encoder.pos_embed
    h = encoder.first(f)
    for block, rung in zip(sam.image_encoder.blocks, encoder.rungs.values(), strict=True):
        f, g = block(f), 1 / (1 + torch.exp(-rung.gate))
        h = rung.side(g * rung.down(f) + (1 - g) * h)
    h = layer_norm(h, (WIDTH // 8,), encoder.norm.weight, encoder.norm.bias)
    wanted = sam.image_encoder(x) + encoder.last(h).permute(0, 3, 1, 2)
    assert torch.allclose(model.encode(x), wanted, atol=1e-5)
    assert [r.side.window_size for r in encoder.rungs.values()] == [4, 4, 0, 4, 4, 0]


def test_high_frequencies_lose_flat_and_slow_and_keep_fast():
    y = torch.arange(128.0)[:, None].expand(128, 128)
    slow, fast = torch.cos(2 * torch.pi * y * 5 / 128), torch.cos(2 * torch.pi * y * 50 / 128)
    image = torch.stack([torch.full((128, 128), 3.0), slow, fast])[None]
    flat, gone, kept = high_frequencies(image)[0]
    assert flat.abs().max() < 1e-5 and gone.abs().max() < 1e-5
    assert torch.allclose(kept, fast.abs(), atol=1e-5)
    assert torch.allclose(high_frequencies(image, 0)[0], image[0].abs(), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_high_frequencies_are_computed_in_float32_under_autocast(monkeypatch, images, dtype):
    wanted, seen, fft2 = high_frequencies(images), [], torch.fft.fft2
    monkeypatch.setattr(torch.fft, "fft2", lambda x: seen.append(x.dtype) or fft2(x))
    with torch.autocast("cpu", dtype):
        assert torch.equal(high_frequencies(images), wanted)
        assert high_frequencies(images.to(dtype)).dtype == dtype
    assert seen == [torch.float32] * 2


@torch.no_grad()
def test_every_block_input_gets_its_prompt(sam, images):
    model = shaken(adapt(sam, SAMAdapter()))
    encoder, base, x = model.sam.image_encoder, sam.image_encoder, model.preprocess(images)
    patches = base.patch_embed(x)
    features = encoder.from_patches(patches)
    features = features + encoder.from_detail(high_frequencies(x)).permute(0, 2, 3, 1)
    tokens = patches + base.pos_embed
    for block, tune in zip(base.blocks, encoder.tune.values(), strict=True):
        tokens = block(tokens + encoder.up(torch.nn.functional.gelu(tune(features))))
    wanted = base.neck(tokens.permute(0, 3, 1, 2))
    assert torch.allclose(model.encode(x), wanted, atol=1e-5)
