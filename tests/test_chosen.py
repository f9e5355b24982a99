"""After choosing, every mixture is one operator; what that loses is what the reading says."""

import copy

import pytest
import torch
from adapting import random_images, small_sam, trained_step
from tiny import tiny_data

from naslora_core.adapters import (
    ChosenLoRA,
    LoRA,
    NASLoRA,
    NASPCLoRA,
    adapt,
    cells,
    choose_operators,
    discretise,
    fold,
    load_adapter,
    save_adapter,
)
from naslora_core.adapters.discretisation import layers_of, read_genotype
from naslora_core.errors import UserError
from naslora_core.sam import build_nano
from naslora_core.search import OPERATOR_SETS
from naslora_core.training.fitting import fit

LINEAR = OPERATOR_SETS["linear"]
BLOCKS = (0, 2)


@pytest.fixture(scope="module")
def sam():
    return small_sam()


def operators_of(model):
    """The one operator of every cell of a discretised model."""
    return {label: cell.names[0] for label, cell in cells(model).items()}


def holding(sam, names, place="window", blocks=BLOCKS, linears=("qkv",)):
    """A searched model whose mixed kernels are those of `names`, in a basis of their own."""
    method = NASLoRA(4, blocks=blocks, start="plain", place=place, linears=linears)
    model = adapt(sam, method, seed=3)
    torch.manual_seed(5)
    for layer, name in zip(layers_of(model), names, strict=True):
        with torch.no_grad():
            layer.Wd.normal_(0, 0.05)
            layer.cell.arch_alpha[LINEAR.index(name)] = 40
            layer.cell.arch_alpha[LINEAR.index("conv_5x5")] -= 40 * (name != "conv_5x5")
    return model


def test_q_and_v_keep_their_own_operators(sam):
    """v's path stands around q's: what is chosen for one must not reach the other."""
    names = "conv_3x3", "dil_conv_3x3"
    model, images = holding(sam, names, blocks=(0,), linears=("q", "v")), random_images()
    assert list(cells(model)) == ["block 0 q", "block 0 v"]
    chosen = discretise(sam, model, images)
    assert operators_of(chosen) == dict(zip(cells(model), names, strict=True))
    with torch.no_grad():
        assert torch.allclose(chosen(images).low_res, model(images).low_res, atol=1e-4)


def test_a_chosen_model_settles_by_fit_and_has_no_genotype(sam):
    images = random_images()
    chosen = discretise(sam, holding(sam, ("skip", "conv_3x3")), images)
    assert read_genotype(chosen, images) is None
    assert fit(chosen, tiny_data(), steps=1, batch=2, progress=False).genotype is None


def test_an_operator_without_a_class_is_refused(sam):
    model = adapt(sam, NASLoRA(4, blocks=BLOCKS, operators=("none", "conv_3x3")), seed=3)
    with pytest.raises(UserError, match="block 0 chose 'skip', which is not searched.*'linear'"):
        discretise(sam, model, random_images())
    model = adapt(sam, NASLoRA(4, blocks=BLOCKS, operators="darts"), seed=3)
    with pytest.raises(UserError, match="has no known class of kernels"):
        discretise(sam, model, random_images(), "argmax")


@pytest.mark.parametrize("place", ["window", "map"])
@pytest.mark.parametrize(
    "names", [("skip", "sep_conv_5x5"), ("dil_conv_3x3", "avg_pool_3x3"), ("conv_3x3", "conv_5x5")]
)
def test_a_mixture_that_is_one_operator_loses_nothing(sam, names, place):
    model, images = holding(sam, names, place), random_images()
    chosen = discretise(sam, model, images)
    assert tuple(operators_of(chosen).values()) == names
    with torch.no_grad():
        assert torch.allclose(chosen(images).low_res, model(images).low_res, atol=1e-4)


def test_what_is_lost_is_what_the_residual_says(sam):
    """A 5 x 5 forced into the class of alpha's winner misses that share of the path's energy."""
    model, images = holding(sam, ("conv_5x5", "conv_5x5")), random_images()
    for cell in cells(model).values():
        with torch.no_grad():
            cell.arch_alpha.zero_()
            cell.arch_alpha[LINEAR.index("conv_3x3")] = 0.1  # wins, and explains little
    read = choose_operators(model, images)["block 0"]
    chosen = discretise(sam, model, images, "argmax")
    old, new = layers_of(model)[0], layers_of(chosen)[0]
    seen = []
    hook = old.register_forward_pre_hook(lambda _, x: seen.append(x[0]))
    with torch.no_grad():
        model(images)
        hook.remove()
        path, left = old(seen[0]) - old.base(seen[0]), old(seen[0]) - new(seen[0])
    assert set(operators_of(chosen).values()) == {"conv_3x3"}
    share = float(left.square().sum() / path.square().sum())
    assert share == pytest.approx(read.residual["conv_3x3"], rel=1e-3) and share > 0.01


def test_the_chosen_model_settles_is_saved_and_folds(sam, tmp_path):
    images = random_images()
    chosen = discretise(sam, holding(sam, ("skip", "skip")), images)
    trained_step(chosen, images, steps=2)
    save_adapter(chosen, tmp_path / "chosen.safetensors")
    again = load_adapter(sam, tmp_path / "chosen.safetensors")
    with torch.no_grad():
        assert torch.equal(again(images).low_res, chosen(images).low_res)
    folded = fold(chosen)
    assert folded.vanilla  # pointwise survivors alone: an official checkpoint
    assert operators_of(again) == {"block 0": "skip", "block 2": "skip"}


def test_the_decoder_comes_along(sam):
    model, images = holding(sam, ("skip", "conv_3x3")), random_images()
    with torch.no_grad():
        model.head.token.add_(1)
    chosen = discretise(sam, model, images)
    assert torch.equal(chosen.head.token, model.head.token)


def test_what_cannot_be_chosen_is_refused(sam):
    images = random_images()
    for method in (LoRA(4), NASPCLoRA(4)):
        with pytest.raises(UserError, match="has no whole cell.*NASLoRA"):
            discretise(sam, adapt(sam, method), images)
    with pytest.raises(UserError, match="trained on the base .*; give the one that it was"):
        discretise(build_nano(), holding(sam, ("skip", "skip")), images)
    with pytest.raises(UserError, match="'best'.*projection, argmax"):
        discretise(sam, holding(sam, ("skip", "skip")), images, "best")
    with pytest.raises(UserError, match="1 operators are chosen for 2 Linears"):
        adapt(sam, ChosenLoRA(4, blocks=BLOCKS, chosen=("skip",)))
    narrow = adapt(sam, NASLoRA(4, operators=("skip", "avg_pool_3x3"), blocks=(0,), start="plain"))
    torch.nn.init.normal_(layers_of(narrow)[0].Wd)
    with pytest.raises(UserError, match="No operator explains the kernel of block 0.*conv_5x5"):
        discretise(sam, narrow, images)


def test_none_beside_a_skip_leaves_the_skip(sam):
    model, images = adapt(sam, NASLoRA(4, blocks=BLOCKS), seed=3), random_images()
    for layer in layers_of(model):
        layer.Wd.data.normal_(0, 0.05)
        layer.cell.arch_alpha.data[LINEAR.index("none")] = 40
    chosen = discretise(sam, model, images, "argmax")
    assert set(operators_of(chosen).values()) == {"skip"}
    with torch.no_grad():
        assert torch.allclose(chosen(images).low_res, model(images).low_res, atol=1e-4)


def test_a_reading_that_fails_leaves_nothing_behind(sam):
    model = adapt(sam, NASLoRA(4, blocks=BLOCKS))
    with pytest.raises(UserError):
        choose_operators(model, torch.zeros(1, 3, 7, 7))
    assert not any(cell._forward_pre_hooks for cell in cells(model).values())


@pytest.mark.gpu
def test_a_search_is_read_where_it_ran(sam):
    """Every tensor that a reading makes lies on the model's device."""
    names, images = ("sep_conv_3x3", "avg_pool_3x3"), random_images()
    model = holding(sam, names)
    there = adapt(copy.deepcopy(sam).cuda(), model.method, seed=3)
    for name, tensor in there.adapter_state_dict().items():
        tensor.data.copy_(model.adapter_state_dict()[name])
    found = choose_operators(there, images.cuda())
    assert tuple(choice.projection for choice in found.values()) == names
