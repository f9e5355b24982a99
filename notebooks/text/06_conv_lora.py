# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: tags,-all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 06 · Put convolutions between We and Wd
#
# > Let the tokens of the low-rank path talk to their neighbours: through one 3x3, then through
# > eight experts and a router. See how far each looks, and who tells the router what to do.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/06_conv_lora.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/06_conv_lora.ipynb)
#
# **Cost** 22 s · 1.0 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [05](05_lora.ipynb).

# %% [markdown]
# **The question:** what do we gain from letting neighbours talk inside the low-rank path, and who
# decides at which scale?
#
# **You will build** a fixed 3x3 path and all of Conv-LoRA by hand: experts, noisy gate, balance
# loss; each shown equal to that of `naslora_core`.
#
# **You will be able to**
# - count what a 3x3 between $W_e$ and $W_d$ costs;
# - measure how far an expert of scale i looks, instead of believing its name;
# - write a noisy top-k gate and its balance loss;
# - find out which routers the task teaches;
# - say what can be merged, what cannot, and what each path costs in time.
#
# | you need | where | minutes |
# |---|---|---|
# | $W_e$, $W_d$, the start at zero, merging | [05](05_lora.ipynb) | 30 |
# | windows of a SAM encoder | [01](01_see_sam.ipynb) | 30 |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import copy
import math
from statistics import median

import torch
import torch.nn.functional as F
from naslora_workbook import checks, figures, profile
from torch import nn

from naslora_core import LoRA, adapt, evaluate, fit, fold, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/
RANK = 3

# %%

from naslora_workbook.lessons.exercises.lesson_06 import suspects
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import chosen_experts, one_expert, qkv_inputs
from naslora_workbook.research.benchmarks.measurement import interleaved
from naslora_workbook.research.compare import paired, recorded
from naslora_workbook.results.labels import LABELS

from naslora_core.adapters import ConvLoRA, FixedConv
from naslora_core.adapters.conv_lora import expert
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter
from naslora_core.training.losses import cross_entropy_dice

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and how much of everything is used; `SEED` draws images, starts and
# noise; `DATA` is what is learned. `RANK` is the r of every path here, 3 as in the Conv-LoRA paper.

# %%
setting = profile(PROFILE)
torch.manual_seed(SEED)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
classes, blocks = len(data.classes), sam.image_encoder.blocks
images, masks = to_batch(data.train[: setting.batch], setting.image_size)
setting

# %% [markdown]
# What does the fused qkv of each block receive? `B' H W d`: windowed blocks have cut the map
# already, so there B' counts windows.

# %%
xs = qkv_inputs(Segmenter(sam), images)
[tuple(x.shape) for x in xs]

# %% [markdown]
# ## What could a neighbour add?
# A convolution is worth its numbers only if a token does not know already what its neighbours
# would say. Take random $W_e$, $z = W_e x$, and let the best linear map of the *whole* token x guess
# the z of the token to its right.
#
# > **Predict first.** What share of the neighbour's variance will stay unexplained, on windows that
# > the map was not fitted to? If it is near 0, a convolution here would be idle.


# %%
def unexplained(x):
    """Share of the right neighbour's z that no linear map of a token explains."""
    draw = torch.Generator().manual_seed(SEED)
    We = torch.randn(RANK, x.shape[-1], generator=draw).to(x)
    here = F.pad(x[:, :, :-1], (0, 1), value=1.0)  # a constant, for the intercept
    fit_to, held_out = (half.flatten(0, 2).double() for half in here.chunk(2))
    goal, truth = ((h[:, :, 1:] @ We.T).flatten(0, 2).double() for h in x.chunk(2))
    guess = held_out @ torch.linalg.lstsq(fit_to, goal).solution
    return float(
        (truth - guess).square().sum() / (truth - truth.mean(0)).square().sum()
    )


# %% tags=["nbval-ignore-output"]
more, _ = to_batch(data.train[: 4 * setting.batch], setting.image_size)
alone = [unexplained(x) for x in qkv_inputs(Segmenter(sam), more)]
[f"{share:.0%}" for share in alone]

# %% [markdown]
# A large share in every block is out of reach for *any* linear map of the token, LoRA of full rank
# included. Not yet a gain: attention brings neighbours together, too, and the task may not need it.

# %% [markdown]
# ## One neighbourhood
# The simplest spatial path: $y = W_0 x + b + W_d\,(z + K * z)$, K a 3x3 kernel from r to r
# channels.


# %%
class Neighbours(nn.Module):
    """A frozen Linear, and a low-rank path in which tokens hear those around them."""

    def __init__(self, base, rank):
        super().__init__()
        self.base = base
        self.We = nn.Parameter(torch.empty(rank, base.in_features))
        self.Wd = nn.Parameter(torch.zeros(base.out_features, rank))
        self.K = nn.Parameter(torch.zeros(rank, rank, 3, 3))
        nn.init.kaiming_uniform_(self.We, a=math.sqrt(5))

    def forward(self, x):
        z = (x @ self.We.T).permute(0, 3, 1, 2)  # B' H W d -> B' r H W
        z = z + F.conv2d(z, self.K, padding=1)  # z + K * z
        return self.base(x) + z.permute(0, 2, 3, 1) @ self.Wd.T


# %% [markdown]
# It must start as the base, exactly, and with any other numbers equal `FixedConv`.

# %%
qkv = blocks[0].attn.qkv
both = Neighbours(qkv, RANK), FixedConv(RANK, scale=1).wrap(qkv)
ours, core = (layer.to(sam.device) for layer in both)
assert torch.equal(ours(xs[0]), qkv(xs[0]))

# %%
pairs = (ours.We, core.We), (ours.Wd, core.Wd), (ours.K, core.cell.weight)
for mine, theirs in pairs:
    nn.init.normal_(mine)
    theirs.data = mine.data
equal = torch.allclose(ours(xs[0]), core(xs[0]), atol=1e-3)
assert equal
equal

# %% [markdown]
# The price: $9 r^2$ numbers a layer. LoRA's own grow with the layer's width d, these do not.


# %%
def in_encoder(method):
    """How many numbers a method trains in the encoder."""
    trained = adapt(sam, method, classes, SEED).trainable().items()
    return sum(p.numel() for name, p in trained if "encoder" in name)


sizes = {"LoRA": in_encoder(LoRA(RANK)), "fixed 3x3": in_encoder(FixedConv(RANK))}
assert sizes["fixed 3x3"] - sizes["LoRA"] == len(blocks) * 9 * RANK**2
sizes

# %% [markdown]
# A 3x3 inside a window stops at its border, which
# [lesson 04](04_missing_spatial_priors.ipynb#A-window-is-a-wall) measured; only the few global
# blocks carry news from window to window.

# %% [markdown]
# ## Many scales
# Objects come in all sizes, so Conv-LoRA has eight experts. Expert i resizes z to i times its side,
# convolves, applies GELU, and resizes back:


# %%
def by_scale(z, i, weight, bias):
    """Expert i on z `B r H W`."""
    up = F.interpolate(z, scale_factor=i, mode="bicubic") if i > 1 else z
    up = F.gelu(F.conv2d(up, weight, bias, padding=1))
    return F.interpolate(up, size=z.shape[2:], mode="bicubic") if i > 1 else up


# %%
z, scales = torch.randn(2, RANK, 8, 8), range(1, 9)
kernel, bias = torch.randn(RANK, RANK, 3, 3), torch.randn(RANK)
for i in scales:
    assert torch.equal(by_scale(z, i, kernel, bias), expert(z, i, kernel, bias))
[tuple(F.interpolate(z, scale_factor=i).shape[2:]) for i in scales]

# %% [markdown]
# Those are the sides at which they convolve.
#
# > **Predict first.** Which expert looks farther across the tokens: the first or the eighth?


# %%
def field(i, balanced, size=7):
    """How strongly each token of `size size` moves the middle one's answer, squared."""
    drawn, moved = torch.Generator().manual_seed(SEED), torch.zeros(size, size)
    for _ in range(24):
        kernel = torch.randn(RANK, RANK, 3, 3, generator=drawn) / 9
        if balanced:  # taps cancel: blind to what is the same everywhere
            kernel -= kernel.mean((2, 3), keepdim=True)
        z = torch.randn(8, RANK, size, size, generator=drawn).requires_grad_()
        middle = by_scale(z, i, kernel, torch.zeros(RANK))[..., size // 2, size // 2]
        middle.sum().backward()
        moved += z.grad.square().sum((0, 1))
    return moved


# %%
kinds = ("any", "taps cancel")
found = {kind: [field(i, kind == "taps cancel") for i in scales] for kind in kinds}
figures.fields(found)

# %% [markdown]
# Upper row: random kernels. On a finer grid three taps span *less*, 3/i of a token, so the larger
# the scale the closer the look, until hardly more than a per-token map with a GELU is left. The
# lower row could refute that: kernels whose taps sum to zero see only differences, and those lie
# between neighbours at every scale. How loud are they?

# %%
strength = [
    math.sqrt(f.sum() / found["taps cancel"][0].sum()) for f in found["taps cancel"]
]
[f"scale {i}: {s:.2f}" for i, s in zip(scales, strength, strict=True)]

# %% [markdown]
# About 1/i: the difference across a shorter step. Beyond the direct neighbours lies only what
# resizing spills; "multi-scale" here means finer, not wider.

# %% [markdown]
# ## A gate that chooses
# Each map z (a window, in windowed blocks) goes to one expert. The gate sees its average $g$, an
# r-vector, and makes of it a logit for each of the M experts, in training with noise
# $\varepsilon \sim N(0, 1)$: $H = g W_g + \varepsilon \cdot (\mathrm{softplus}(g W_n) + 0.01)$.


# %%
def gate_logits(z, w_gate, w_noise, noise):
    """Clean and noisy logits and the spread of the noise, `B' M`; z `B' r H W`."""
    g = z.mean((2, 3))  # B' r
    clean, spread = g @ w_gate, F.softplus(g @ w_noise) + 0.01
    return clean, clean + noise * spread, spread


# %% [markdown]
# The k largest logits are kept, and a softmax over these gives their gates. Conv-LoRA takes k = 1.
#
# > **Predict first.** What is the softmax of one number?

# %%
logits = torch.tensor([0.3, -1.2, 2.0, 1.1])
gates = {k: logits.topk(k).values.softmax(0) for k in (1, 2, 4)}
{f"k = {k}": [round(g, 2) for g in kept.tolist()] for k, kept in gates.items()}

# %% [markdown]
# With k = 1 the gate is 1, whatever the logits are. Now the whole path, window by window, beside
# `layer.cell` of `ConvLoRA`, its gate and experts: in eval, and in training with the same noise.


# %%
def by_hand(z, cell, noise):
    """z + E_j(z), j the best expert of each window."""
    _, noisy, _ = gate_logits(z, cell.gate.w_gate, cell.gate.w_noise, noise)
    answers = []
    for window, j in zip(z.split(1), noisy.argmax(1).tolist(), strict=True):
        answers.append(window + by_scale(window, j + 1, cell.weight[j], cell.bias[j]))
    return torch.cat(answers)


# %%
layer = ConvLoRA(RANK).wrap(qkv).to(sam.device)
cell, z = layer.cell, (xs[0] @ layer.We.T).permute(0, 3, 1, 2).detach()
noise = torch.randn(len(z), 8).to(z)
cell.gate.noise = lambda like: noise
for p in cell.gate.parameters():
    nn.init.normal_(p, std=0.1)
tuple(z.shape)

# %%
with torch.no_grad():
    gaps = {
        "eval": (cell.eval()(z) - by_hand(z, cell, 0 * noise)).abs().max(),
        "training": (cell.train()(z) - by_hand(z, cell, noise)).abs().max(),
    }
assert max(gaps.values()) < 1e-3
{name: bool(gap < 1e-3) for name, gap in gaps.items()}

# %% [markdown]
# ## Train it for a while
# At the start $W_d = 0$ holds every gradient of the task but its own at zero; the router hears the
# balance loss (below) already. A quarter of the profile's steps moves $W_d$.

# %% tags=["nbval-ignore-output"]
model = adapt(sam, ConvLoRA(RANK), classes=classes, seed=SEED)
same = {"batch": setting.batch, "seed": SEED, "progress": figures.is_live()}
history = fit(model, data, steps=setting.steps // 4, **same).history
{"first loss": history[0]["loss"], "last loss": history[-1]["loss"]}

# %% [markdown]
# ## Who teaches the router
# Three routers on the same weights: top-1, top-2, and one that mixes *all* experts, weighted
# by the softmax of the same logits.


# %%
class Mixture(nn.Module):
    """Every expert, weighted by the softmax of the gate's logits."""

    def __init__(self, cell):
        super().__init__()
        self.gate, self.weight, self.bias = cell.gate, cell.weight, cell.bias

    def forward(self, z):
        gates = (z.mean((2, 3)) @ self.gate.w_gate).softmax(1)  # B' M
        pairs = enumerate(zip(self.weight, self.bias, strict=True), 1)
        answers = torch.stack([by_scale(z, i, w, b) for i, (w, b) in pairs], 1)
        return z + torch.einsum("bm,bmrhw->brhw", gates, answers)


# %%
def rerouted(model, k):
    """A copy whose gates keep k experts, or with k = "softmax" mix them all."""
    twin = copy.deepcopy(model)
    for layer in (block.attn.qkv for block in twin.sam.image_encoder.blocks):
        layer.cell.gate.k = 1 if k == "softmax" else k
        layer.cell = Mixture(layer.cell) if k == "softmax" else layer.cell
    return twin


# %% [markdown]
# > **Predict first.** Which of the three routers get a gradient from the task's loss? And from
# > the balance loss, which asks that experts be used evenly?


# %%
def task_loss(model):
    """How far the predicted masks are from the true ones."""
    return cross_entropy_dice(model(images).masks, masks)


def balance_loss(model):
    """The gates' penalty, which that forward pass leaves behind."""
    return task_loss(model) * 0 + model.auxiliary_loss()


# %%
def router_gradient(model, loss):
    """Norm of d loss / d w_gate over all blocks, None where there is no gradient."""
    loss(model.train()).backward()
    found = [p.grad for n, p in model.named_parameters() if n.endswith("w_gate")]
    missing = all(grad is None for grad in found)
    return None if missing else float(torch.stack([g.norm() for g in found]).norm())


# %% tags=["nbval-ignore-output"]
routers = {"top-1": 1, "top-2": 2, "softmax": "softmax"}
copies = {name: rerouted(model, k) for name, k in routers.items()}
task = {name: router_gradient(twin, task_loss) for name, twin in copies.items()}
balance = router_gradient(rerouted(model, 1), balance_loss)
assert task["top-1"] is None and min(task["top-2"], task["softmax"], balance) > 0
{"task": task, "balance, top-1": balance}

# %% [markdown]
# `None`: not small, absent. In top-1 the logits choose and then leave the formula; the other two
# weigh answers with them. Is that only autograd's bookkeeping? Ask the loss itself: walk the
# `w_gate` of one block around a circle, and compute the task's loss on the way.


# %%
@torch.no_grad()
def walk(k, angles):
    """The task's loss of one image along the circle, in eval (no noise)."""
    twin, losses = rerouted(model, k).eval(), []
    w_gate = twin.sam.image_encoder.blocks[0].attn.qkv.cell.gate.w_gate
    a, b = torch.randn(2, *w_gate.shape, generator=torch.Generator().manual_seed(SEED))
    for t in angles:
        w_gate.copy_(a * math.cos(t) + b * math.sin(t))
        losses.append(float(cross_entropy_dice(twin(images[:1]).masks, masks[:1])))
    return losses


# %% tags=["nbval-ignore-output"]
angles = torch.linspace(0, 2 * math.pi, 49).tolist()
figures.stairs(
    angles, {name: walk(routers[name], angles) for name in ("top-1", "softmax")}
)

# %% [markdown]
# A staircase against a slope (each on its own axis). On a stair nothing tells the router which way
# is down; what it learns, it learns from the balance loss, which has never seen a mask.

# %% [markdown]
# ### Exercise 6.1 - the router that gets no task gradient
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `topk`, `softmax`, `scatter`, `torch.autograd.grad`
#
# Given the answers of all experts, let E be their sum weighted by the gates. Return the gradient of
# `F.mse_loss(z + E, target)` with respect to `w_gate`, for top-1, then for the softmax mixture, and
# zeros where there is no gradient. The logits are the clean ones.


# %%
def router_gradients(z, w_gate, answers, target):
    """[top-1, softmax], each `r M`; z, target `B r H W`, answers `B M r H W`."""
    raise NotImplementedError("Exercise 6.1")


# %%
checks.ex_6_1(router_gradients)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One function of k serves both: with k = M, top-k keeps everybody. Set the gates into a `B M`
# tensor of zeros with `scatter`, so that they stay in the graph.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def router_gradients(z, w_gate, answers, target):
#     found = []
#     for k in (1, w_gate.shape[1]):
#         w = w_gate.clone().requires_grad_()
#         top = (z.mean((2, 3)) @ w).topk(k)
#         gates = torch.zeros(answers.shape[:2]).scatter(1, top.indices, top.values.softmax(1))
#         E = torch.einsum("bm,bmrhw->brhw", gates, answers)
#         found += torch.autograd.grad(F.mse_loss(z + E, target), w)
#     return found
# ```
# The derivative of a softmax with one entry is zero. Multiply the winner by its share among *all*
# experts instead, and the router hears the task; that is what Switch Transformers do. With
# logits l, gates a and $\delta = \partial L / \partial E$ the full mixture has $\partial L / \partial l_i =
# a_i (\langle \delta, E_i \rangle - \sum_j a_j \langle \delta, E_j \rangle)$: who is better than
# the average rises.
# </details>

# %% [markdown]
# ## Where the windows go
# The gate stands inside qkv, so it chooses once a *window*: one image need not have one scale. In
# eval, without noise:

# %% tags=["nbval-ignore-output"]
chosen = chosen_experts(model.eval(), images)
apart = sum((c.flatten(1).amax(1) != c.flatten(1).amin(1)).int() for c in chosen)
n = int(apart.argmax())  # the image whose windows disagree in most blocks
kinds = ["windowed" if block.window_size else "global" for block in blocks]
names = [f"block {i}, {kind}" for i, kind in enumerate(kinds)]
photo = images[n].permute(1, 2, 0).byte().numpy()
window = blocks[0].window_size * sam.image_encoder.patch_embed.proj.kernel_size[0]
figures.routes(photo, dict(zip(names, (c[n] for c in chosen), strict=True)), window)

# %% [markdown]
# The image whose windows disagree most. In training noise is added; how often does it
# overrule the gate?

# %% tags=["nbval-ignore-output"]
noisy = chosen_experts(model.train(), images)
rates = [(a != b).float().mean() for a, b in zip(noisy, chosen, strict=True)]
overruled = float(torch.stack(rates).mean())
f"{overruled:.0%}"


# %% [markdown]
# Blind chance among eight would overrule in 7 of 8. And would the choice matter? Send *all* windows
# to one expert, for each in turn. (Whatever is tried, is tried on validation images.)


# %%
def val_dice():
    """Mean Dice of the validation images."""
    return evaluate(model.eval(), data.val, classes=classes).mean["dice"]


# %% tags=["nbval-ignore-output"]
routed, forced = val_dice(), {}
for i in scales:
    with one_expert(model, i):
        forced[i] = val_dice()
{
    "gate's Dice": round(routed, 3),
    "one expert's Dice": {i: round(dice, 3) for i, dice in forced.items()},
    "experts ahead of the gate": sum(dice > routed for dice in forced.values()),
}

# %% [markdown]
# Had the gate learned which window needs which scale, no single expert should do as well for
# everything. Several do. One short training shows who teaches the gate, not where it ends.

# %% [markdown]
# ## The balance loss
# It comes from routers that hear the task: there an expert that is chosen is trained, and chosen
# again. It is $0.01\,(CV^2(\text{importance}) + CV^2(\text{load}))$, CV² = var / mean² over
# experts. *Importance* sums the gates; *load* is how many windows an expert may
# *expect*: the sum of its chances to be best if its own noise is drawn anew.


# %%
def cv2(x):
    """var / mean^2, with the unbiased variance."""
    return x.var() / x.mean() ** 2


# %%
def importance_and_load(clean, noisy, spread):
    """Two vectors `M` for k = 1, by definition."""
    kept, load = noisy.topk(1), []
    gates = torch.zeros_like(noisy).scatter(1, kept.indices, kept.values.softmax(1))
    for e in range(noisy.shape[1]):
        others = noisy.index_fill(1, torch.tensor(e), -torch.inf)
        above = (clean[:, e] - others.amax(1)) / spread[:, e]
        load.append(torch.distributions.Normal(0, 1).cdf(above).sum())
    return gates.sum(0), torch.stack(load)


# %%
cell.train()(z)  # the cell from above, with the noise from above
terms = importance_and_load(*gate_logits(z, cell.gate.w_gate, cell.gate.w_noise, noise))
by_hand_loss = 0.01 * sum(cv2(term) for term in terms)
assert torch.isclose(by_hand_loss, cell.gate.auxiliary_loss, rtol=1e-3)
{"by hand / core": round((by_hand_loss / cell.gate.auxiliary_loss).item(), 3)}

# %%
gradient = torch.autograd.grad
pull = [gradient(cv2(t), cell.gate.w_gate, retain_graph=True)[0] for t in terms]
assert not pull[0].any() and pull[1].any()
{"importance pulls": bool(pull[0].any()), "load pulls": bool(pull[1].any())}

# %% [markdown]
# Equal. With gates of 1, importance is a plain count of windows and has no gradient; so only load
# moves the gate. Who decides? Noise, and the wish for evenness.

# %% [markdown]
# ## What it costs
# The dispatch hands windows to experts. The released one sorts them, asks how many each expert got,
# runs one expert after the other, and combines through exp and log. On a GPU that question makes
# the CPU wait. `fast` never asks: a batch of small products. First: are they the same function?


# %%
def outcome(dispatch):
    """The path's output and every gradient, on the same numbers."""
    twin, start = copy.deepcopy(cell), z.clone().requires_grad_()
    twin.dispatch = dispatch
    out = twin(start)
    (out.sin().mean() + twin.gate.auxiliary_loss).backward()
    return [out, start.grad, *(p.grad for p in twin.parameters())]


# %%
both = zip(outcome("released"), outcome("fast"), strict=True)
equal = [torch.allclose(a, b, rtol=1e-3, atol=1e-4) for a, b in both]
assert all(equal)
equal

# %% [markdown]
# Yes, gradients included. Then time, in turns: a training step of the whole encoder, and of one
# adapted layer alone, relative to LoRA's.


# %%
def work(method):
    """A step of the encoder, and of its first qkv alone."""
    model = adapt(sam, method, classes=classes, seed=SEED).train()
    layer = model.sam.image_encoder.blocks[0].attn.qkv
    pixels = model.preprocess(images[:4])
    return {
        "encoder": lambda: model.encode(pixels).square().mean().backward(),
        "layer": lambda: layer(xs[0]).square().mean().backward(),
    }


# %% tags=["nbval-ignore-output"]
methods = {"LoRA": LoRA(RANK), "fixed 3x3": FixedConv(RANK)}
for dispatch in ("fast", "released"):
    methods[f"Conv-LoRA, {dispatch}"] = ConvLoRA(RANK, dispatch=dispatch)
todo = {(name, part): f for name, m in methods.items() for part, f in work(m).items()}
times = interleaved(todo, rounds=5, device=setting.device)


# %% tags=["nbval-ignore-output"]
def slower(name, part):
    """Median of the ratios to LoRA, turn by turn."""
    turns = zip(times[name, part], times["LoRA", part], strict=True)
    return round(median(mine / lora for mine, lora in turns), 2)


{n: {part: slower(n, part) for part in ("encoder", "layer")} for n in methods}

# %% [markdown]
# What experts add to a layer, attention and MLP dilute in the encoder (under a tenth is noise
# here). The last two rows: one function at two prices.

# %% [markdown]
# ### Exercise 6.2 - a sum that does not overflow
# Difficulty 2 of 5 ·
# importance 3 of 5 ·
# 6 minutes ·
# use `amax`, or a function of torch that has it inside
#
# The released combination is $E = \log \sum_j g_j \exp(E_j)$. In float32 exp of an answer above
# about 88 is infinity, and the training is over. Write it so that it is not.


# %%
def combine(answers, log_gates):
    """`B r H W` from answers `B k r H W` and the logarithms of their gates `B k`."""
    raise NotImplementedError("Exercise 6.2: mend the line below")
    return (log_gates.exp()[..., None, None, None] * answers.exp()).sum(1).log()


# %%
checks.ex_6_2(combine)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\log \sum_j \exp(a_j) = m + \log \sum_j \exp(a_j - m)$ for any m. The largest $a_j$ is a good m,
# taken at each position by itself.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def combine(answers, log_gates):
#     return torch.logsumexp(answers + log_gates[..., None, None, None], 1)
# ```
# The gates go in as logarithms, so nothing is exponentiated before the largest has been drawn out.
# With k = 1 exp and log cancel altogether; the released code goes through them all the same.
# </details>

# %% [markdown]
# ## What it cannot do
# Lesson 05 merged LoRA. What of each path does `fold` merge, and why not more?

# %%
plain = {"LoRA": LoRA(RANK), "fixed 3x3": FixedConv(RANK)}
paths = {n: adapt(sam, m, classes=classes, seed=SEED) for n, m in plain.items()}
nn.init.normal_(paths["fixed 3x3"].sam.image_encoder.blocks[0].attn.qkv.cell.weight)
paths["Conv-LoRA"] = model
first_rows = {name: fold(path).report.rows[0] for name, path in paths.items()}
folded = [row.folded for row in first_rows.values()]
assert folded == ["everything", "centre tap", "nothing"]
{name: (row.folded, row.why) for name, row in first_rows.items()}

# %% [markdown]
# A per-token path merges whole. Of a 3x3 the centre merges; the other taps stay a side branch, with
# that share of qkv's work. Of an expert, nothing: GELU is not linear, and *which* expert is known
# only when the window is there.

# %% [markdown]
# ### Exercise 6.3 - a bug hunt: the adapter that adds up
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `naslora_core.sam.model_hash`, `torch.allclose`
#
# Some SAM adapters write `qkv += path`, in place. Below are four layers with a fixed 3x3 whose
# *first* answers agree. Some answer otherwise at the second call, or leave traces in `layer.base`.
# Write the alarm that finds them, without reading their source.

# %%
with torch.no_grad():
    x = torch.randn(2, 4, 4, 8)
    answers = {letter: layer(x) for letter, layer in suspects().items()}
{n: torch.allclose(y, answers["A"], atol=1e-4) for n, y in answers.items()}


# %%
def alarm(layer, x):
    """Two calls: {"base": "as it was" or "moved", "calls": "agree" or "disagree"}."""
    raise NotImplementedError("Exercise 6.3")


# %%
checks.ex_6_3(alarm)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `from naslora_core.sam import model_hash`: its value of `layer.base`, before and after. Compare
# bits, not closeness.
# </details>
#
# <details><summary>Hint 2</summary>
#
# If both calls return *the same tensor*, comparing them compares it with itself. `clone` the first.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# from naslora_core.sam import model_hash
#
#
# def alarm(layer, x):
#     before = model_hash(layer.base)
#     first = layer(x).clone()
#     same = torch.allclose(first, layer(x), atol=1e-4)
#     moved = model_hash(layer.base) != before
#     return {"base": "moved" if moved else "as it was", "calls": "agree" if same else "disagree"}
# ```
# A remembers the frozen answer of an input, as one does to save time, and adds to it in place: at
# the second call the path counts twice, and no hash tells. B is honest. C adds to the weights and
# subtracts again: calls agree, bits do not. D merges at every call. In place is harmless only as
# long as nobody else holds the tensor; `y = qkv + path` costs nothing and asks for no such promise.
# </details>

# %% [markdown]
# ## Is it better?
# Ours is too short a run to tell. These were recorded, at equal passes, each method at its own
# learning rate. First photographs, on the `sam_nano` in use; NAS-LoRA is lesson 07's.

# %%
paths = ("fixed_conv", "conv_lora", "nas_lora")
drawn = ("decoder_only", "lora", *paths)


def ordered(records):
    """The runs of these methods, in the order drawn."""
    return [r for m in drawn for r in records if r["method"] == m]


# %%
photographs = ordered(recorded("kvasir_polyp"))
gains = {LABELS[m]: paired(photographs, m, "lora") for m in paths}
told = [f"{n} {g.mean():+.3f} ({(g > 0).sum()} of {len(g)})" for n, g in gains.items()]
title = f"Dice minus LoRA's (seeds ahead): {', '.join(told)}"
figures.comparison(photographs, title=title)

# %% [markdown]
# Lines join runs of one seed. All paths are far above decoder-only. Conv-LoRA and NAS-LoRA are
# behind LoRA at every seed, by about .01. The fixed 3x3 is ahead at four of five, by less than its
# own seeds lie apart. The same question was asked once of eight domains, of an earlier `sam_nano`
# and earlier drawings ([lesson 12](12_compare_everything.ipynb#Asked-once)): on how many is a mean
# ahead of LoRA's?

# %%
asked = ordered(recorded("registered/runs"))
domains = {r["data"] for r in asked}
on = {d: [r for r in asked if r["data"] == d] for d in domains}
leads = {
    LABELS[m]: [float(paired(on[d], m, "lora").mean()) for d in domains] for m in paths
}
ahead = {name: sum(lead > 0 for lead in of) for name, of in leads.items()}
assert (ahead["Conv-LoRA"], ahead["fixed 3x3"], len(domains)) == (0, 6, 8)
{
    name: f"ahead on {ahead[name]} of 8, from {min(of):+.3f} to {max(of):+.3f}"
    for name, of in leads.items()
}

# %% [markdown]
# A path that equals LoRA should be ahead on about half. Conv-LoRA was on none, though behind by
# less than .001 on one. What the 3x3's six are worth, intervals must tell: lesson 12.

# %% tags=["nbval-ignore-output"]
record(
    unexplained_by_a_token=min(alone),
    router_gradient_softmax=task["softmax"],
    router_gradient_balance=balance,
    overruled_by_noise=overruled,
    dice_routed=routed,
    dice_best_expert=max(forced.values()),
)

# %% [markdown]
# ## Recap
# *What do we gain from letting neighbours talk inside the low-rank path, and who decides at which
# scale?* A path can say what no per-token map can. At this budget it hardly paid. On photographs of
# polyps Conv-LoRA is behind LoRA at every seed, the fixed 3x3 ahead in the mean by less than .01.
# Of eight domains, on an earlier base, Conv-LoRA was ahead of LoRA on none, the fixed 3x3 on six,
# by .02 at most. The scale is chosen by noise and the wish for evenness, not by the task.
# - A 3x3 costs $9 r^2$ numbers a layer, whatever its width.
# - Expert i looks at i times the resolution, which is closer, not farther.
# - With k = 1 the gate is the constant 1: the router has no gradient from the task, only from load.
# - Released and fast dispatch are one function at two prices; neither merges, while a 3x3 leaves a
#   narrow branch.

# %% [markdown]
# ## In practice
# - Before you trust a router, force each expert in turn. If one alone does as well, the
#   router's choices are worth nothing.
# - k = 2 gives the router a task gradient, at the price of a second expert.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`.
#
# ## Further reading
# - [Conv-LoRA](https://arxiv.org/abs/2401.17868): the method of this lesson.
# - [Sparsely-gated mixture of experts](https://arxiv.org/abs/1701.06538): noisy top-k, load and
#   importance; its authors ask for k above 1.
# - [Switch Transformers](https://arxiv.org/abs/2101.03961): k = 1 done so that the router does learn.
#
# Next: make the members of the softmax mixture *linear*, and all of them cost one convolution.
#
# [<- 05](05_lora.ipynb) | [index](README.md) | [07 ->](07_mix_operators.ipynb)
