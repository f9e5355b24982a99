"""`adapt` promises the base's answer before training, and trains only what was said."""

import copy

import pytest
import torch
from adapting import METHODS, random_images, shaken, small_sam, trained_step

from naslora_core.adapters import DecoderOnly, FixedConv, LoRA, NASLoRA, adapt, fold, save_adapter
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter, model_hash
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.search import Cell


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.fixture(scope="module")
def images():
    return random_images()


def answer(model, images):
    with torch.no_grad():
        return model(images).low_res


@pytest.mark.parametrize("name", METHODS)
def test_before_the_first_step_the_answer_is_the_base_exactly(sam, images, name):
    difference = answer(adapt(sam, METHODS[name]), images) - answer(Segmenter(sam), images)
    assert difference.abs().max() == 0


@pytest.mark.parametrize("name", METHODS)
def test_only_the_promised_parameters_get_gradient(sam, images, name):
    model = shaken(adapt(sam, METHODS[name]))
    model(images).low_res.square().mean().backward()
    promised = model.trainable()
    for key, p in model.named_parameters():
        assert (p.grad is not None and p.grad.abs().sum() > 0) == (key in promised), key
    assert all("iou_prediction_head" not in k and "prompt_encoder" not in k for k in promised)
    assert all(p.grad is None for p in sam.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_training_leaves_the_base_bit_identical(sam, images, name):
    before = model_hash(sam)
    model = adapt(sam, METHODS[name])
    assert model.base_hash == before
    start = answer(model, images)
    trained_step(model, images)
    assert (answer(model, images) - start).abs().max() > 1e-4
    assert model_hash(sam) == before


def test_frozen_tensors_are_shared_and_trained_ones_are_not(sam):
    model = adapt(sam, NASLoRA())
    base = {p.data_ptr() for p in sam.parameters()}
    trained = model.trainable()
    for name, p in model.named_parameters():
        assert p.requires_grad == (name in trained) == (p.data_ptr() not in base), name


def test_two_adapted_models_over_one_base_do_not_meet(sam, images):
    one, two = adapt(sam, LoRA()), adapt(sam, NASLoRA())
    untouched = answer(two, images)
    trained_step(one, images)
    assert torch.equal(answer(two, images), untouched)
    assert torch.equal(answer(Segmenter(sam), images), untouched)
    assert not torch.equal(answer(one, images), untouched)


def test_an_adapted_model_survives_a_deep_copy(sam):
    model = shaken(adapt(sam, LoRA()))
    twin = copy.deepcopy(model)
    assert twin.trainable().keys() == model.trainable().keys()
    assert all(torch.equal(p, twin.trainable()[n]) for n, p in model.trainable().items())


def test_a_seed_decides_every_new_tensor_and_no_global_state_moves(sam):
    torch.manual_seed(11)
    first = adapt(sam, NASLoRA(), seed=5).trainable()
    here = torch.get_rng_state()
    second, other = (
        adapt(sam, NASLoRA(), seed=5).trainable(),
        adapt(sam, NASLoRA(), seed=6).trainable(),
    )
    assert torch.equal(torch.get_rng_state(), here)
    assert all(torch.equal(p, second[n]) for n, p in first.items())
    assert any(not torch.equal(p, other[n]) for n, p in first.items())


@pytest.mark.parametrize(
    "blocks, wanted",
    [
        ("all", [0, 1, 2, 3, 4, 5]),
        ("global", [2, 5]),
        ("windowed", [0, 1, 3, 4]),
        ("late-2", [4, 5]),
        ("late-99", [0, 1, 2, 3, 4, 5]),
        ((0, 3), [0, 3]),
        ([1], [1]),
    ],
)
@pytest.mark.parametrize("method", [LoRA, FixedConv, NASLoRA])
def test_blocks_choose_where(sam, method, blocks, wanted):
    encoder = adapt(sam, method(blocks=blocks)).sam.image_encoder
    found = [i for i, b in enumerate(encoder.blocks) if type(b.attn.qkv) is not torch.nn.Linear]
    assert found == wanted


def test_what_is_no_method_no_base_and_no_adapter_is_told(sam, tmp_path):
    for method in ("lora", LoRA, None):
        with pytest.raises(UserError, match=r"The method is .*expected an object such as LoRA"):
            adapt(sam, method)
    for base in (adapt(sam, LoRA()), Segmenter(sam), torch.nn.Linear(2, 2)):
        with pytest.raises(UserError, match=rf"class {type(base).__name__}; expected SAM itself"):
            adapt(base, LoRA())
    with pytest.raises(UserError, match="A Sam has no adapter to fold"):
        fold(sam)
    with pytest.raises(UserError, match="A Segmenter has no adapter to save"):
        save_adapter(Segmenter(sam), tmp_path / "a.safetensors")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("blocks", ["late-0", "some", (7,), (-1,), (), 3])
def test_blocks_that_are_none_are_refused_with_the_choices(sam, blocks):
    with pytest.raises(UserError, match=r"blocks=.*windowed.*0 to 5"):
        adapt(sam, LoRA(blocks=blocks))


def test_settings_that_cannot_be_are_refused(sam):
    with pytest.raises(UserError, match="rank=0"):
        LoRA(rank=0)
    with pytest.raises(UserError, match="side=4"):
        FixedConv(side=4)
    with pytest.raises(UserError, match="side=-1"):
        FixedConv(side=-1)
    with pytest.raises(UserError, match=r"No operator is given; choose from none, skip"):
        adapt(sam, NASLoRA(operators=()))
    with pytest.raises(UserError, match=r"Unknown operator 'conv_9x9'"):
        adapt(sam, NASLoRA(operators=("skip", "conv_9x9")))
    with pytest.raises(UserError, match="already carries an adapter"):
        adapt(adapt(sam, LoRA()).sam, LoRA())


@pytest.mark.parametrize("classes", [1, 3])
def test_classes_have_a_mask_each(sam, images, classes):
    model = adapt(sam, LoRA(), classes=classes)
    assert model.classes == classes
    assert answer(model, images).shape == (2, classes, 32, 32)


def test_another_precision_of_the_base_is_kept(sam):
    model = adapt(small_sam().double(), NASLoRA())
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.encode(model.preprocess(random_images().double())).dtype == torch.float64


@pytest.mark.parametrize(
    "name, width", [("vit_b", 110_592), ("vit_l", 294_912), ("vit_h", 491_520)]
)
def test_parameter_counts_of_the_real_models_without_allocating_them(name, width):
    with torch.device("meta"):
        real = BUILDERS[name]()

    def count(method):
        return sum(p.numel() for p in adapt(real, method).trainable().values())

    decoder = count(DecoderOnly())
    assert decoder == 3_505_536
    assert count(LoRA(rank=3)) - decoder == width
    blocks = len(real.image_encoder.blocks)
    assert count(FixedConv(rank=3)) - decoder == width + blocks * 9 * 3**2
    cell = sum(p.numel() for p in Cell(3).parameters())
    assert cell == 9 + (1 + 9 + 25 + 9) * 3**2 + (9 * 3 + 3**2) + (25 * 3 + 3**2)
    assert count(NASLoRA(rank=3)) - decoder == width + blocks * cell
