"""A checkpoint that is wrong in any way is refused in one sentence, and nothing is written."""

import json
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, build_nano, load_sam, model_hash
from naslora_core.sam import checkpoints as registry
from naslora_core.sam.fused_attention import FusedAttention


@pytest.fixture(scope="module")
def state():
    return build_nano().state_dict()


def test_the_packaged_model_loads_frozen_and_matches_its_manifest():
    sam = load_sam()
    assert sam.model_name == "sam_nano" and not sam.training
    assert not any(p.requires_grad for p in sam.parameters())
    assert model_hash(sam) == model_hash(load_sam())
    assert sum(f.stat().st_size for f in registry.WEIGHTS.glob("*.safetensors")) < 8e6


@pytest.mark.parametrize("ending", ["pth", "safetensors"])
def test_a_checkpoint_of_yours_loads_by_path(tmp_path, state, ending):
    path = tmp_path / f"mine.{ending}"
    torch.save(state, path) if ending == "pth" else save_file(state, path)
    loaded = load_sam("sam_nano", path)
    assert all(torch.equal(v, state[k]) for k, v in loaded.state_dict().items())


def damage(path, state, how):
    if how == "truncated":
        torch.save(state, path)
        path.write_bytes(path.read_bytes()[:50_000])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "text":
        path.write_text("not a checkpoint")
    elif how == "code":
        torch.save({"x": pytest.raises}, path)
    elif how == "list":
        torch.save([1, 2], path)
    elif how == "other model":
        torch.save({k: v for k, v in state.items() if "blocks.5" not in k}, path)
    elif how == "other shape":
        torch.save(state | {"image_encoder.pos_embed": torch.zeros(1, 8, 8, 160)}, path)


KINDS = ["missing", "truncated", "empty", "text", "code", "list", "other model", "other shape"]


@pytest.mark.parametrize("how", KINDS)
def test_a_wrong_checkpoint_is_refused_in_one_sentence(tmp_path, state, how):
    path = tmp_path / "mine.pth"
    damage(path, state, how)
    before = path.read_bytes() if path.exists() else None
    with pytest.raises(UserError, match="mine.pth") as caught:
        load_sam("sam_nano", path)
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)
    assert before == (path.read_bytes() if path.exists() else None)


@pytest.mark.parametrize("how", ["altered", "truncated", "missing"])
def test_a_damaged_packaged_checkpoint_names_both_hashes(tmp_path, monkeypatch, how):
    data = (registry.WEIGHTS / "sam_nano.safetensors").read_bytes()
    (tmp_path / "sam_nano.json").write_text((registry.WEIGHTS / "sam_nano.json").read_text())
    changed = data[:-1] + bytes([data[-1] ^ 1]) if how == "altered" else data[:1000]
    if how != "missing":
        (tmp_path / "sam_nano.safetensors").write_bytes(changed)
    monkeypatch.setattr(registry, "WEIGHTS", tmp_path)
    wanted = "no checkpoint" if how == "missing" else "truncated or altered"
    with pytest.raises(UserError, match=wanted):
        load_sam()


def test_unknown_models_name_the_choices():
    with pytest.raises(UserError, match="vit_x.*sam_nano, vit_b, vit_l, vit_h"):
        load_sam("vit_x")


def test_an_official_model_is_fetched_by_its_manifest(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr(registry, "fetch", lambda name: asked.append(name) or tmp_path / "no.pth")
    with pytest.raises(UserError, match="no.pth"):
        load_sam("vit_b")
    assert asked == ["vit_b"]


def test_the_big_ones_attend_fused_under_the_official_names(monkeypatch):
    monkeypatch.setitem(registry.BUILDERS, "vit_b", build_nano)
    big = load_sam("vit_b", registry.WEIGHTS / "sam_nano.safetensors")
    small = load_sam()
    assert all(type(b.attn) is FusedAttention for b in big.image_encoder.blocks)
    assert not any(type(b.attn) is FusedAttention for b in small.image_encoder.blocks)
    assert big.state_dict().keys() == small.state_dict().keys()
    assert model_hash(big) == model_hash(small)


def test_a_base_in_bfloat16_has_a_hash():
    sam = build_nano()
    assert model_hash(sam) != model_hash(sam.bfloat16()) == model_hash(sam)


def test_the_hash_sees_one_bit():
    sam = build_nano()
    first = model_hash(sam)
    sam.image_encoder.pos_embed.data[0, 0, 0, 0] += 1e-3
    assert model_hash(sam) != first
    assert json.loads((registry.WEIGHTS / "sam_nano.json").read_text())["sha256"]


def test_the_weights_in_use_meet_the_bars_that_were_set_for_them():
    """By box .20 above the ellipse in it, by click .30 above the best disc."""
    table = registry.manifest()["table"]
    assert table["box"] >= table["ellipse"] + 0.20 and table["click"] >= table["disc"] + 0.30
    assert table["ellipse"] <= 0.66 and table["disc"] <= 0.48  # scenes no easier than asked


WRAPPED = {
    "model": lambda s: {"model": s, "optimizer": {}, "epoch": 3},
    "state_dict": lambda s: {"state_dict": s},
    "module": lambda s: {f"module.{k}": v for k, v in s.items()},
    "lightning": lambda s: {"epoch": 1, "state_dict": {f"model.{k}": v for k, v in s.items()}},
    "compiled in half": lambda s: {f"_orig_mod.{k}": v.half() for k, v in s.items()},
    "bfloat16": lambda s: {"model": {f"module.sam.{k}": v.bfloat16() for k, v in s.items()}},
}


@pytest.mark.parametrize("how", WRAPPED)
def test_a_wrapped_checkpoint_is_unwrapped(tmp_path, state, how):
    torch.save(WRAPPED[how](state), tmp_path / "mine.pth")
    loaded = load_sam("sam_nano", tmp_path / "mine.pth").state_dict()
    close = {"compiled in half": 1e-3, "bfloat16": 1e-2}.get(how, 0)
    assert all(torch.allclose(v, state[k], rtol=close, atol=1e-6) for k, v in loaded.items())


@pytest.mark.parametrize("names, model", [
    (["image_encoder.trunk.pos_embed"], "SAM 2"),
    (["sam_mask_decoder.iou_token.weight", "memory_encoder.x"], "SAM 2"),
    (["vision_encoder.backbone.pos_embed"], "SAM 2"),
    (["image_encoder.patch_embed.seq.0.c.weight", "mask_decoder.x"], "MobileSAM"),
    (["image_encoder.pos_embed", "mask_decoder.hf_token.weight"], "HQ-SAM"),
    (["base_model.q.lora_A.weight"], "LoRA"),
    (["head.token", "sam.image_encoder.blocks.0.attn.qkv.We"], "adapter"),
    (["backbone.conv1.weight"], "backbone.conv1.weight"),
])  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"model": s}])
def test_weights_of_another_model_are_named(tmp_path, names, model, wrap):
    torch.save(wrap({name: torch.zeros(1) for name in names}), tmp_path / "mine.pt")
    with pytest.raises(UserError, match=rf"mine\.pt .*{model}"):
        load_sam("sam_nano", tmp_path / "mine.pt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["image_encoder.pos_embed", "mask_decoder.iou_token.weight"])
def test_a_tensor_that_is_not_finite_is_named(tmp_path, state, name, value):
    bad = state[name].clone()
    bad.view(-1)[3] = value
    save_file(state | {name: bad}, tmp_path / "mine.safetensors")
    with pytest.raises(UserError, match=rf"mine\.safetensors .*{name}"):
        load_sam("sam_nano", tmp_path / "mine.safetensors")


def test_objects_beside_the_tensors_are_named_without_the_terminal_codes(tmp_path, state):
    torch.save({"model": state, "args": SimpleNamespace()}, tmp_path / "mine.pth")
    with pytest.raises(UserError, match=r"mine\.pth .*SimpleNamespace") as told:
        load_sam("sam_nano", tmp_path / "mine.pth")
    assert "\x1b" not in str(told.value)


@pytest.mark.parametrize("wrapped", [False, True])
def test_hugging_faces_weights_give_the_same_embeddings_and_masks(tmp_path, wrapped):
    """transformers' own SamModel at the size of sam_nano, random, is the oracle."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    model = transformers.SamModel(small_config(transformers)).eval()
    for name, p in model.named_parameters():  # transformers' own start draws nearly nothing
        p.data.normal_(float("norm" in name and name.endswith("weight")), 0.1)
    save_file({k: v.clone() for k, v in model.state_dict().items()}, tmp_path / "hf.safetensors")
    if wrapped:
        torch.save({"state_dict": model.state_dict()}, tmp_path / "hf.safetensors.pth")
    ending = "safetensors.pth" if wrapped else "safetensors"
    ours = Segmenter(load_sam("sam_nano", tmp_path / f"hf.{ending}"))
    x = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    points = torch.tensor([[[40.0, 60.0], [90.0, 30.0]]])
    with torch.no_grad():
        wanted = model(
            pixel_values=x, input_points=points[None], input_labels=torch.tensor([[[1, 0]]])
        )
        embedding = ours.encode(x)
        masks, iou = ours.decode(embedding, (points, torch.tensor([[1, 0]])), multimask=True)
        theirs = model.get_image_embeddings(x)
    assert (embedding - theirs).abs().max() <= 1e-4 < embedding.abs().max()
    assert (masks - wanted.pred_masks[0]).abs().max() <= 1e-4 < masks.abs().max()
    assert (iou - wanted.iou_scores[0]).abs().max() <= 1e-4


def small_config(transformers):
    """sam_nano's sizes in transformers' words."""
    vision = transformers.SamVisionConfig(
        hidden_size=160, output_channels=128, num_hidden_layers=6, num_attention_heads=5,
        image_size=128, patch_size=8, window_size=8, global_attn_indexes=[2, 5], mlp_dim=640,
        num_pos_feats=64,
    )  # fmt: skip
    prompt = transformers.SamPromptEncoderConfig(hidden_size=128, image_size=128, patch_size=8)
    decoder = transformers.SamMaskDecoderConfig(
        hidden_size=128, num_attention_heads=4, mlp_dim=512, iou_head_hidden_dim=128
    )
    return transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder
    )
