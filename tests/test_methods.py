"""What every method of the comparison keeps: one file, an exact fold or a reason, any precision."""

import json

import pytest
import torch
from adapting import random_images, shaken, small_sam
from tiny import WIDTH
from torch.utils.checkpoint import checkpoint

from naslora_core.adapters import ConvLoRA, adapt, fold, load_adapter, save_adapter
from naslora_core.errors import UserError
from naslora_workbook.research.methods import METHODS

VANILLA = {"decoder_only", "full", "bitfit", "ssf", "lora"}  # fold into the official layout
BRANCH = {"fixed_conv", "nas_lora", "nas_pc_lora"}  # keep a small convolution beside qkv
REASON = {
    "bottleneck": "ReLU",
    "sam_adapter": "depends on the image",
    "vpt": "softmax",
    "lst": "beside the encoder",
    "conv_lora": "GELU",
}
every = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def answer(model, images=None):
    with torch.no_grad():
        return model(random_images() if images is None else images).low_res


def test_every_method_stands_in_one_of_three_groups():
    ours = "naslora_core.", "naslora_workbook."
    found = [n for n, m in METHODS.items() if type(m).__module__.startswith(ours)]
    assert sorted(found) == sorted([*VANILLA, *BRANCH, *REASON])


@every
def test_a_saved_adapter_comes_back_bit_by_bit(sam, tmp_path, name):
    model = shaken(adapt(sam, METHODS[name], seed=3))
    again = load_adapter(sam, save_adapter(model, tmp_path / "a.safetensors"))
    assert again.method == METHODS[name]
    assert torch.equal(answer(again), answer(model))


@every
def test_a_fold_is_the_model_or_says_why_not(sam, tmp_path, name):
    model = shaken(adapt(sam, METHODS[name]))
    folded = fold(model)
    assert (answer(folded.model) - answer(model)).abs().max() < 1e-4
    assert folded.vanilla == (name in VANILLA)
    if name in VANILLA:
        state = torch.load(folded.save(tmp_path / "f.pth"), weights_only=True)
        assert state.keys() == sam.state_dict().keys()
    elif name in REASON:
        with pytest.raises(UserError, match=REASON[name]):
            folded.save(tmp_path / "f.safetensors")
    assert len(list(tmp_path.iterdir())) == (name in VANILLA)


@every
def test_bf16_autocast_reaches_every_trained_tensor(sam, name):
    model = shaken(adapt(sam, METHODS[name])).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(random_images()).low_res.float().square().mean() + model.auxiliary_loss()
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.trainable().values())


@every
def test_gradient_checkpointing_gives_the_same_gradients(sam, name):
    model, images = shaken(adapt(sam, METHODS[name])), random_images()
    gradients = []
    for recompute in (False, True):
        model.zero_grad(set_to_none=True)
        x = model.preprocess(images)
        e = checkpoint(model.encode, x, use_reentrant=False) if recompute else model.encode(x)
        model.decode(e)[0].square().mean().backward()
        gradients.append({n: p.grad for n, p in model.trainable().items() if p.grad is not None})
    first, second = gradients
    assert first.keys() == second.keys() and len(first) > 0
    assert all(torch.allclose(first[n], second[n], rtol=1e-4, atol=1e-6) for n in first)


@pytest.mark.parametrize("name", [n for n in METHODS if n not in ("decoder_only", "lst")])
def test_one_block_compiles(sam, name):
    fewer = {"conv_lora": ConvLoRA(experts=2)}  # eight are four times the operations
    encoder = shaken(adapt(sam, fewer.get(name, METHODS[name]))).sam.image_encoder
    block, x = encoder.blocks[0], torch.randn(1, 8, 8, WIDTH)
    torch._dynamo.reset()
    compiled = torch.compile(block, backend="aot_eager")
    with torch.no_grad():
        assert (compiled(x) - block(x)).abs().max() < 1e-4


@every
def test_batches_of_one_and_seven_agree(sam, name):
    model, images = shaken(adapt(sam, METHODS[name])), random_images(7)
    together = answer(model, images)
    alone = torch.cat([answer(model, image[None]) for image in images])
    assert (together - alone).abs().max() < 1e-3 * together.abs().max()


def test_one_base_carries_attached_and_swapped_adapters(sam):
    models = {n: shaken(adapt(sam, METHODS[n])) for n in ("lora", "ssf", "lst")}
    first = {n: answer(m) for n, m in models.items()}
    for name in ("lst", "lora", "ssf", "lora"):
        assert torch.equal(answer(models[name]), first[name])
    base = {p.data_ptr() for p in sam.parameters()}
    for model in models.values():
        frozen = [p for n, p in model.named_parameters() if n not in model.trainable()]
        assert all(p.data_ptr() in base for p in frozen)


def test_settings_of_a_file_are_the_methods(sam, tmp_path):
    from safetensors import safe_open

    path = save_adapter(adapt(sam, METHODS["conv_lora"]), tmp_path / "a.safetensors")
    with safe_open(path, "pt") as file:
        settings = json.loads(file.metadata()["settings"])
    assert settings["experts"] == 8 and settings["linears"] == ["qkv"]
