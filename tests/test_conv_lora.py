"""Conv-LoRA is y = W0 x + b + (alpha / r) Wd (z + E_j(z)), j chosen by a noisy, balanced gate."""

import copy

import pytest
import torch
import torch.nn.functional as F
from adapting import random_images, shaken, small_sam

from naslora_core.adapters import DecoderOnly, LoRA, adapt, fold
from naslora_core.adapters.conv_lora import DISPATCHES, ConvExperts, ConvLoRA, fast, released
from naslora_core.adapters.lora import LoRALinear
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter
from naslora_core.sam.checkpoints import BUILDERS

RANK, EXPERTS = 3, 8
SIZES = [(1, 1), (1, 5), (2, 3), (8, 8), (14, 13)]


def cell_and_maps(k=1, dispatch="fast", maps=12, size=(7, 6), seed=0):
    """Experts in float64, far from their start, with noise that is the same in every forward."""
    torch.manual_seed(seed)
    cell = ConvExperts(RANK, EXPERTS, k, dispatch).double().train()
    with torch.no_grad():
        for p in cell.parameters():
            p.normal_()
    drawn = torch.randn(maps, EXPERTS).double()
    cell.gate.noise = lambda like: drawn
    return cell, torch.randn(maps, RANK, *size).double(), drawn


def one_expert(z, i, weight, bias):
    up = F.interpolate(z, scale_factor=i, mode="bicubic") if i > 1 else z
    up = F.gelu(F.conv2d(up, weight, bias, padding=1))
    return F.interpolate(up, size=z.shape[2:], mode="bicubic") if i > 1 else up


def logits(cell, z, noise):
    """Clean and noisy logits and the spread of one map."""
    g = z.mean((1, 2))
    spread = F.softplus(g @ cell.gate.w_noise) + 0.01
    return g @ cell.gate.w_gate, g @ cell.gate.w_gate + noise * spread, spread


def slow(cell, maps, noise, k):
    """Map by map and expert by expert, from the formulas."""
    answers = []
    for z, drawn in zip(maps, noise, strict=True):
        kept = logits(cell, z, drawn)[1].sort(descending=True)
        total = 0
        for gate, j in zip(kept.values[:k].softmax(0), kept.indices[:k].tolist(), strict=True):
            total = total + gate * one_expert(z[None], j + 1, cell.weight[j], cell.bias[j]).exp()
        answers.append(z + total[0].log())
    return torch.stack(answers)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("run", DISPATCHES.values())
def test_every_expert_on_any_map(run, size):
    cell, z, _ = cell_and_maps(size=size)
    for i in range(1, EXPERTS + 1):
        index, log_gates = torch.full((12, 1), i - 1), torch.zeros(12, 1).double()
        found = run(z, index, log_gates, cell.weight, cell.bias)
        wanted = one_expert(z, i, cell.weight[i - 1], cell.bias[i - 1])
        assert torch.allclose(found, wanted, atol=1e-11)


@pytest.mark.parametrize("k", [1, 2, EXPERTS])
@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_the_layer_equals_a_slow_loop_in_eval_and_with_replayed_noise(dispatch, k):
    cell, z, drawn = cell_and_maps(k, dispatch)
    assert torch.allclose(cell(z), slow(cell, z, drawn, k), atol=1e-10)
    assert (cell(z) - cell.eval()(z)).abs().max() > 1e-2  # the noise moved some map
    assert torch.allclose(cell(z), slow(cell, z, 0 * drawn, k), atol=1e-10)


def test_the_linear_around_it_is_the_equation():
    torch.manual_seed(0)
    cell, _, _ = cell_and_maps()
    layer = LoRALinear(torch.nn.Linear(10, 6), RANK, 32 / RANK, cell.eval()).double()
    layer.Wd.data.normal_()
    x = torch.randn(4, 5, 6, 10).double()
    z = cell(torch.einsum("rd,bhwd->brhw", layer.We, x))
    path = torch.einsum("or,brhw->bhwo", layer.Wd, z)
    assert torch.allclose(layer(x), layer.base(x) + 32 / RANK * path, atol=1e-10)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("maps", [1, 7])
def test_both_dispatches_have_the_same_values_and_gradients(k, maps):
    found = []
    for dispatch in DISPATCHES:
        cell, z, _ = cell_and_maps(k, dispatch, maps)
        z.requires_grad_()
        out = cell(z)
        penalty = cell.gate.auxiliary_loss if maps > 1 else 0
        (out.sin().sum() + penalty).backward()
        found.append([out, z.grad, *(p.grad for p in cell.parameters())])
    for one, two in zip(*found, strict=True):
        assert (one is None and two is None) or torch.allclose(one, two, atol=1e-9)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_balance_loss_is_its_definition(k):
    cell, maps, drawn = cell_and_maps(k)
    cell(maps)
    importance, load = (torch.zeros(EXPERTS).double() for _ in range(2))
    for z, noise in zip(maps, drawn, strict=True):
        clean, noisy, spread = logits(cell, z, noise)
        kept = noisy.topk(k)
        importance[kept.indices] += kept.values.softmax(0).detach()
        for e in range(EXPERTS):
            bar = torch.cat([noisy[:e], noisy[e + 1 :]]).sort().values[-k]
            load[e] += torch.distributions.Normal(0, 1).cdf((clean[e] - bar) / spread[e])

    def squared(x):
        return ((x - x.mean()) ** 2).sum() / (EXPERTS - 1) / x.mean() ** 2

    wanted = 0.01 * (squared(importance) + squared(load))
    assert torch.allclose(cell.gate.auxiliary_loss, wanted, atol=1e-10)
    cell.eval()(maps)
    assert cell.gate.auxiliary_loss == 0.0


def test_when_every_expert_is_kept_the_load_is_even_and_only_importance_counts():
    cell, maps, drawn = cell_and_maps(EXPERTS)
    cell(maps)
    gates = [logits(cell, z, noise)[1].softmax(0) for z, noise in zip(maps, drawn, strict=True)]
    importance = torch.stack(gates).sum(0)
    wanted = 0.01 * importance.var() / importance.mean() ** 2
    assert torch.allclose(cell.gate.auxiliary_loss, wanted, atol=1e-10)
    alone = ConvExperts(RANK, 1, 1, "fast").train()
    assert alone(torch.randn(2, RANK, 4, 4)).isfinite().all() and alone.gate.auxiliary_loss == 0


@pytest.mark.parametrize("dispatch", DISPATCHES)
@pytest.mark.parametrize("k", [1, 2])
def test_the_task_reaches_the_router_only_beyond_k_1(k, dispatch):
    cell, z, _ = cell_and_maps(k, dispatch)
    cell(z).sin().sum().backward()
    for p in (cell.gate.w_gate, cell.gate.w_noise):
        assert (p.grad is not None) == (k == 2)
    cell.zero_grad()
    cell(z)
    cell.gate.auxiliary_loss.backward()
    assert cell.gate.w_gate.grad.abs().sum() > 0 and cell.gate.w_noise.grad.abs().sum() > 0


def test_fast_never_asks_the_host():
    """On the meta device there are no values to wait for: what needs one cannot run there."""
    cell = ConvExperts(RANK, EXPERTS, 1, "fast").to("meta").train()
    z = torch.empty(5, RANK, 8, 8, device="meta", requires_grad=True)
    out = cell(z)
    (out.sum() + cell.gate.auxiliary_loss).backward()
    assert out.shape == z.shape == z.grad.shape
    cell.dispatch = "released"
    with pytest.raises(NotImplementedError, match="nonzero"):
        cell(z)


def test_released_overflows_where_fast_does_not():
    z, ones = torch.full((1, 1, 2, 2), 100.0), torch.zeros(1, 1, 1, 3, 3)
    ones[..., 1, 1] = 1
    rest = torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1), ones, torch.zeros(1, 1)
    assert released(z, *rest).isinf().all() and torch.equal(fast(z, *rest), z)
    assert torch.allclose(released(0.8 * z, *rest), fast(0.8 * z, *rest))


def test_matrices_made_in_inference_serve_training():
    cell, z = ConvExperts(RANK, 5, 1, "fast"), torch.randn(2, RANK, 11, 11)
    with torch.inference_mode():
        cell.eval()(z)
    cell.train()(z).sum().backward()
    assert cell.weight.grad.abs().sum() > 0


@pytest.fixture(scope="module")
def sam():
    return small_sam()


@pytest.mark.parametrize("dispatch", DISPATCHES)
def test_it_begins_as_the_base_and_trains_its_own(sam, dispatch):
    images, model = random_images(), adapt(sam, ConvLoRA(dispatch=dispatch))
    assert model.sam.image_encoder.blocks[0].attn.qkv.scale == 32 / 3
    with torch.no_grad():
        assert (model(images).low_res - Segmenter(sam)(images).low_res).abs().max() == 0
    assert model.auxiliary_loss() == 0
    shaken(model).train()(images).low_res.square().mean().add(model.auxiliary_loss()).backward()
    assert model.auxiliary_loss() > 0
    assert all(p.grad.abs().sum() > 0 for p in model.trainable().values())


def test_bf16_autocast_batches_and_copies(sam):
    images, model = random_images(7), shaken(adapt(sam, ConvLoRA(lora_alpha=1.0)))
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, ConvExperts):
            module.dispatch = "released"
    with torch.no_grad():
        whole = model(images).low_res
        assert (model(images[:1]).low_res - whole[:1]).abs().max() < 1e-4
        assert (other(images).low_res - whole).abs().max() < 1e-4
        with torch.autocast("cpu", torch.bfloat16):
            rough = [m(images[:2]).low_res.float() for m in (model, other)]
    assert all((r - whole[:2]).abs().mean() < 0.05 * whole.abs().mean() + 0.05 for r in rough)


def test_a_copy_in_the_middle_of_training(sam):
    model = adapt(sam, ConvLoRA(blocks="late-2")).train()
    model(random_images(2))
    twin = copy.deepcopy(model)
    assert model.auxiliary_loss() > 0 and twin.auxiliary_loss() == 0
    assert all(torch.equal(p, twin.trainable()[n]) for n, p in model.trainable().items())


def test_it_does_not_fold_and_says_so(sam):
    row = fold(adapt(sam, ConvLoRA(blocks=(2,)))).report.rows[0]
    assert row.folded == "nothing" and "is no convolution" in row.why


def test_settings_that_cannot_be_are_refused():
    for wrong in ({"k": 0}, {"k": 9}, {"experts": 0}, {"dispatch": "slow"}):
        with pytest.raises(UserError, match=r"k from 1 .*fast, released"):
            ConvLoRA(**wrong)


@pytest.mark.parametrize(
    "name, whole", [("vit_b", 3_624_768), ("vit_l", 3_817_728), ("vit_h", 4_020_096)]
)
def test_parameters_of_the_paper(name, whole):
    with torch.device("meta"):
        real = BUILDERS[name]()

    def count(method):
        return sum(p.numel() for p in adapt(real, method).trainable().values())

    decoder, blocks = 3_505_536, len(real.image_encoder.blocks)
    assert count(DecoderOnly()) == decoder
    assert count(ConvLoRA()) == whole
    experts, gate = 8 * (9 * 3**2 + 3), 2 * 3 * 8
    assert whole == count(LoRA(rank=3)) + blocks * (experts + gate)
