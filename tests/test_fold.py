"""A fold is the adapted model, exactly; vanilla segment_anything runs it where algebra allows."""

import copy
import io
from functools import partial

import numpy as np
import pytest
import torch
from adapting import METHODS, POINTWISE, random_images, register_max_pool, shaken, small_sam
from tiny import WIDTH, build_tiny

from naslora_core.adapters import FixedConv, LoRA, NASLoRA, adapt, cells, fold, load_folded
from naslora_core.adapters.discretisation import ChosenLoRA
from naslora_core.adapters.lora import trimmed
from naslora_core.errors import UserError
from naslora_core.sam import SamPredictor, build_nano, model_hash
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.sam.fused_attention import FusedAttention
from naslora_core.search import OPERATOR_SETS

VANILLA = ("decoder_only", "lora", "nas_lora_pointwise")


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def logits(model, images=None, **prompt):
    with torch.no_grad():
        return model(random_images() if images is None else images, **prompt).low_res


def same(one, two, **prompt):
    return (logits(one, **prompt) - logits(two, **prompt)).abs().max() < 1e-5


@pytest.mark.parametrize("name", METHODS)
def test_a_fold_equals_the_model_in_windows_and_at_borders(sam, name):
    model = shaken(adapt(sam, METHODS[name]))
    before = logits(model)
    folded = fold(model)
    assert (before - logits(adapt(sam, METHODS[name]))).abs().max() > 1e-2  # it was shaken
    assert same(model, folded.model)
    assert same(model, folded.model, multimask=True)
    assert torch.equal(logits(model), before)  # and it is left as it was
    assert folded.vanilla == (name in VANILLA)


@pytest.mark.parametrize("side", [1, 3, 5])
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (8, 8), (14, 13)])
def test_one_layer_on_any_map(sam, side, size):
    operators = OPERATOR_SETS["linear"] if side == 5 else ("skip", f"conv_{side}x{side}")
    model = shaken(adapt(sam, NASLoRA(rank=3, operators=operators)))
    x = torch.randn(3, *size, WIDTH)
    folded = fold(model).model.sam.image_encoder.blocks[0].attn.qkv
    with torch.no_grad():
        y = model.sam.image_encoder.blocks[0].attn.qkv(x)
        assert (y - folded(x)).abs().max() < 2e-6 * y.abs().max()


@pytest.mark.parametrize("name", VANILLA)
def test_vanilla_segment_anything_runs_the_pth(sam, tmp_path, name):
    model = shaken(adapt(sam, METHODS[name]))
    path = fold(model).save(tmp_path / "mine.pth")
    plain = build_tiny(depth=6).eval()
    plain.load_state_dict(torch.load(path, weights_only=True))
    image = random_images(1)
    predictor = SamPredictor(plain)
    predictor.set_image(image[0].permute(1, 2, 0).byte().numpy())
    click, label, box = np.array([[30.0, 20.0]]), np.array([1]), np.array([5.0, 4.0, 50.0, 45.0])
    masks, _, _ = predictor.predict(click, label, box, multimask_output=False, return_logits=True)
    points = torch.tensor(click).float()[None], torch.tensor(label)[None]
    with torch.no_grad():
        ours = model(image, points=points, boxes=torch.tensor(box).float()[None])
    assert np.abs(ours.masks[0].numpy() - masks).max() < 1e-4
    assert np.array_equal(ours.masks[0].numpy() > 0, masks > 0)
    rows = sam.mask_decoder.mask_tokens.weight
    assert torch.equal(plain.mask_decoder.mask_tokens.weight[1:], rows[1:])
    assert not torch.equal(plain.mask_decoder.mask_tokens.weight[0], rows[0])
    assert plain.mask_decoder.mask_tokens.weight.shape == rows.shape


@pytest.mark.parametrize("name", ["lora", "fixed_3x3", "nas_lora"])
@pytest.mark.parametrize("classes", [1, 2])
def test_safetensors_hold_every_fold(sam, small_base, tmp_path, name, classes):
    folded = fold(shaken(adapt(sam, METHODS[name], classes=classes)))
    path = folded.save(tmp_path / "mine.safetensors")
    assert torch.equal(logits(load_folded(path)), logits(folded.model))


def test_a_large_model_is_read_with_fast_attention_as_its_base_is(sam, tmp_path, monkeypatch):
    monkeypatch.setitem(BUILDERS, "vit_b", partial(build_tiny, 6))  # one that is quickly built
    twin = copy.deepcopy(sam)
    twin.model_name = "vit_b"
    folded = fold(shaken(adapt(twin, METHODS["nas_lora"])))
    again = load_folded(folded.save(tmp_path / "mine.safetensors"))
    blocks = again.sam.image_encoder.blocks
    assert all(isinstance(block.attn, FusedAttention) for block in blocks)
    assert (logits(again) - logits(folded.model)).abs().max() < 1e-4


def test_folding_changes_neither_model_nor_base(sam):
    model = shaken(adapt(sam, NASLoRA()))
    before = model_hash(sam), model_hash(model)
    folded = fold(model).model
    folded.sam.image_encoder.blocks[0].attn.qkv.linear.weight.data.zero_()
    assert (model_hash(sam), model_hash(model)) == before


def test_a_discretised_block_folds_as_its_operator(sam):
    names = OPERATOR_SETS["linear"]
    model = shaken(adapt(sam, NASLoRA(rank=4, start="plain")))
    wanted = ["skip", "none", "conv_1x1", "conv_3x3", "dil_conv_3x3", "avg_pool_3x3"]
    with torch.no_grad():
        for cell, name in zip(cells(model).values(), wanted, strict=True):
            cell.arch_alpha.copy_(1e4 * (torch.arange(len(names)) == names.index(name)))
    folded = fold(model)
    assert [r.kernel_side for r in folded.report.rows] == [1, 1, 1, 3, 5, 3]
    assert [r.side_macs == 0 for r in folded.report.rows] == [True] * 3 + [False] * 3
    assert same(model, folded.model)


def test_the_report_names_what_folded_what_stayed_and_its_cost(sam):
    report = fold(shaken(adapt(sam, FixedConv(rank=4, blocks="global")))).report
    assert [r.block for r in report.rows] == [2, 5]
    row, d = report.rows[0], WIDTH
    assert (row.folded, row.kernel_side) == ("centre tap", 3)
    assert row.side_macs == 4 * (d + 3 * d) + 8 * 4**2
    assert f"{row.side_macs / (3 * d * d):.2%}" in row.why
    assert report.beside and str(row.side_macs) in str(report)
    html = report._repr_html_()
    assert html.count("<tr>") == 3 and "centre tap" in html
    whole = fold(shaken(adapt(sam, LoRA()))).report
    assert not whole.beside and {r.folded for r in whole.rows} == {"everything"}


def test_side_branch_of_vit_b_costs_what_the_arithmetic_says():
    """12,432 multiply-adds a token with the centre tap, 12,416 without: 0.70 % of the qkv."""
    side = 4 * (768 + 3 * 768) + 8 * 4**2
    assert side == 12_432 - 16 and round(100 * side / (3 * 768**2), 2) == 0.70


def test_what_no_kernel_expresses_stays_and_is_named(sam, monkeypatch, tmp_path):
    register_max_pool(monkeypatch)
    operators = ("skip", "max_of_3x3")
    model = shaken(adapt(sam, NASLoRA(rank=2, operators=operators, blocks=(2,))))
    folded = fold(model)
    assert same(model, folded.model) and not folded.vanilla
    assert folded.report.rows[0].folded == "nothing"
    for ending in ("pth", "safetensors"):
        with pytest.raises(UserError, match="max_of_3x3"):
            folded.save(tmp_path / f"mine.{ending}")
    assert not list(tmp_path.iterdir())


def test_what_stays_inside_does_not_keep_what_is_around_it(sam):
    """q's max pool cannot fold; v's path stands around it and does."""
    method = ChosenLoRA(4, blocks=(0,), linears=("q", "v"), chosen=("darts_max_pool_3x3", "skip"))
    model, images = shaken(adapt(sam, method)), random_images(1)
    folded = fold(model)
    assert [row.folded for row in folded.report.rows] == ["nothing", "everything"]
    with torch.no_grad():
        assert torch.allclose(folded.model(images).low_res, model(images).low_res, atol=1e-4)


def test_a_base_that_cannot_be_built_again_is_refused(sam, tmp_path):
    folded = fold(adapt(build_nano(256, 16).eval(), LoRA()))
    folded.save(tmp_path / "large.safetensors")
    with pytest.raises(UserError, match="tensors of another shape.*sam_nano"):
        load_folded(tmp_path / "large.safetensors")
    del folded.model.sam.model_name
    with pytest.raises(UserError, match=r"model_name=None.*set sam\.model_name"):
        folded.save(tmp_path / "unnamed.safetensors")


def test_files_that_cannot_be_are_refused(sam, tmp_path):
    spatial = fold(shaken(adapt(sam, FixedConv())))
    blocks = r"block 0, 1, 2, 3, 4, 5 \(a 3 x 3 field.*\.safetensors"
    with pytest.raises(UserError, match=blocks):
        spatial.save(tmp_path / "mine.pth")
    with pytest.raises(UserError, match="several classes"):
        fold(adapt(sam, LoRA(), classes=2)).save(tmp_path / "mine.pth")
    with pytest.raises(UserError, match=r"mine\.bin.*\.pth, \.safetensors or \.onnx"):
        spatial.save(tmp_path / "mine.bin")
    assert not list(tmp_path.iterdir())


def test_broken_files_are_refused(sam, tmp_path):
    path = fold(shaken(adapt(sam, FixedConv()))).save(tmp_path / "mine.safetensors")
    whole = path.read_bytes()
    for broken in (whole[:-100], flip(whole)):
        path.write_bytes(broken)
        with pytest.raises(UserError, match="mine.safetensors"):
            load_folded(path)
    with pytest.raises(UserError, match="There is no file"):
        load_folded(tmp_path / "none.safetensors")


def flip(data: bytes) -> bytes:
    """One bit of the last tensor."""
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def test_trimming_takes_only_rings_that_are_exactly_zero():
    kernel = torch.zeros(2, 2, 5, 5)
    assert trimmed(kernel).shape[-1] == 1
    kernel[0, 1, 2, 3] = 1e-30
    assert trimmed(kernel).shape[-1] == 3
    kernel[1, 0, 4, 4] = 1
    assert trimmed(kernel).shape[-1] == 5


def test_a_pth_is_a_plain_state_dict_of_the_official_layout(sam, tmp_path):
    path = fold(shaken(adapt(sam, METHODS["nas_lora_pointwise"]))).save(tmp_path / "mine.pth")
    state = torch.load(io.BytesIO(path.read_bytes()), weights_only=True)
    assert state.keys() == sam.state_dict().keys()
    assert all(state[k].shape == v.shape for k, v in sam.state_dict().items())
    assert POINTWISE == METHODS["nas_lora_pointwise"].operators
