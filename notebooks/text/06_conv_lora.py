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
# > Let the tokens of the low-rank path use their neighbours: through one 3x3, then through
# > eight experts and a router. Measure the receptive field of each, and what trains the router.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/06_conv_lora.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/06_conv_lora.ipynb)
#
# **Cost** 22 s · 1.0 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [05](05_lora.ipynb).

# %% [markdown]
# **The question:** what do we gain if tokens use their neighbours inside the low-rank path?
# And what decides at which scale?
#
# **You will build** a fixed 3x3 path and Conv-LoRA by hand: experts, a noisy gate and its
# balance loss. Each is checked against `naslora_core`.
#
# **You will be able to**
# - count what a 3x3 between $W_e$ and $W_d$ costs;
# - measure the receptive field of an expert of scale i;
# - write a noisy top-k gate and its balance loss;
# - find out which routers receive a gradient from the task;
# - say what can be merged, what cannot, and what each path costs in time.
#
# | you need | where | minutes |
# |---|---|---|
# | $W_e$, $W_d$, the start at zero, merging | [05](05_lora.ipynb) | 80 |
# | windows of a SAM encoder | [01](01_see_sam.ipynb) | 65 |

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

import numpy as np
import torch
import torch.nn.functional as F
from naslora_workbook import checks, figures, profile
from torch import nn

from naslora_core import LoRA, adapt, evaluate, fit, fold, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or a folder with images/ and masks/
RANK = 3

# %%
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import chosen_experts, one_expert, qkv_inputs
from naslora_workbook.research import preregistration as judge
from naslora_workbook.research.benchmarks.measurement import interleaved
from naslora_workbook.research.bootstrap import nested, seeds_and_images
from naslora_workbook.results.labels import LABELS
from naslora_workbook.results.records import recorded

from naslora_core.adapters import ConvLoRA, FixedConv
from naslora_core.adapters.conv_lora import expert
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter
from naslora_core.training.losses import cross_entropy_dice

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and the amount of data. `SEED` fixes images, starts and noise.
# `DATA` is the data set. `RANK` is the r of every path here, 3 as in the Conv-LoRA paper. The
# first path that we shall build has one 3x3 convolution between $W_e$ and $W_d$:

# %%
figures.growing_diagram("fixed_conv")

# %%
setting = profile(PROFILE)
torch.manual_seed(SEED)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
classes, blocks = len(data.classes), sam.image_encoder.blocks
images, masks = to_batch(data.train[: setting.batch], setting.image_size)
xs = qkv_inputs(Segmenter(sam), images)
[tuple(x.shape) for x in xs]

# %% [markdown]
# These are the shapes of what the fused qkv of each block receives, `B' H W d`. In windowed
# blocks the map is already cut, so B' counts windows.
#
# ## What could a neighbour add?
# A convolution is useful only if a token does not already contain what its neighbours
# contain. We test this with random $W_e$ and $z = W_e x$. The best linear map of the *whole*
# token x predicts the z of the token to its right.
#
# > **Predict first.** What share of the neighbour's variance stays unexplained, on windows
# > that the map was not fitted to? If it is near 0, a convolution cannot add anything here.


# %%
def unexplained(x):
    """Share of the right neighbour's z that no linear map of a token explains."""
    generator = torch.Generator().manual_seed(SEED)
    We = torch.randn(RANK, x.shape[-1], generator=generator).to(x)
    here = F.pad(x[:, :, :-1], (0, 1), value=1.0)  # a constant, for the intercept
    right = x[:, :, 1:] @ We.T
    half = len(x) // 2  # windows to fit to, and others to test on
    inputs = [part.flatten(0, 2).double() for part in (here[:half], here[half:])]
    targets = [part.flatten(0, 2).double() for part in (right[:half], right[half:])]
    predicted = inputs[1] @ torch.linalg.lstsq(inputs[0], targets[0]).solution
    error = (targets[1] - predicted).square().sum()
    return float(error / (targets[1] - targets[1].mean(0)).square().sum())


# %% tags=["nbval-ignore-output"]
more, _ = to_batch(data.train[: 4 * setting.batch], setting.image_size)
alone = [unexplained(x) for x in qkv_inputs(Segmenter(sam), more)]
by_block = {f"block {i}": f"{share:.0%}" for i, share in enumerate(alone)}
Rows({"unexplained": by_block})

# %% [markdown]
# A large share stays unexplained in every block. This is not yet a gain: attention combines
# neighbours too, and the task may not need more.
#
# ## One neighbourhood
# The simplest spatial path is that of the diagram above: $y = W_0 x + b + W_d\,(z + K * z)$,
# where K is a 3x3 kernel from r to r channels.


# %%
class Neighbours(nn.Module):
    """A frozen Linear, and a low-rank path in which tokens use those around them."""

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
# It must start exactly at the base. With any other weights it must equal `FixedConv`.

# %%
qkv = blocks[0].attn.qkv
ours = Neighbours(qkv, RANK).to(sam.device)
core = FixedConv(RANK, scale=1).wrap(qkv).to(sam.device)
assert torch.equal(ours(xs[0]), qkv(xs[0]))

pairs = (ours.We, core.We), (ours.Wd, core.Wd), (ours.K, core.cell.weight)
for mine, theirs in pairs:
    nn.init.normal_(mine)
    theirs.data = mine.data
equal = torch.allclose(ours(xs[0]), core(xs[0]), atol=1e-3)
assert equal
{"equal to FixedConv": equal}

# %% [markdown]
# K has $9 r^2$ parameters a layer. LoRA's count grows with the layer's width d, this one does
# not:


# %%
def in_encoder(method):
    """How many parameters a method trains in the encoder."""
    trained = adapt(sam, method, classes, SEED).trainable().items()
    return sum(p.numel() for name, p in trained if "encoder" in name)


sizes = {"LoRA": in_encoder(LoRA(RANK)), "fixed 3x3": in_encoder(FixedConv(RANK))}
assert sizes["fixed 3x3"] - sizes["LoRA"] == len(blocks) * 9 * RANK**2
sizes

# %% [markdown]
# Inside a window the 3x3 stops at the border, as
# [lesson 04](04_missing_spatial_priors.ipynb#The-border-of-a-window) showed. Only the few
# global blocks connect windows.

# %% [markdown]
# ## Many scales
# Objects have many sizes, so Conv-LoRA has eight experts. Expert i resizes z to i times its
# side, convolves, applies GELU, and resizes back. All experts are trained. A router chooses one
# of them for each window, here expert 2:

# %%
figures.growing_diagram("conv_lora")


# %%
def by_scale(z, i, weight, bias):
    """Expert i on z `B r H W`."""
    up = F.interpolate(z, scale_factor=i, mode="bicubic") if i > 1 else z
    up = F.gelu(F.conv2d(up, weight, bias, padding=1))
    return F.interpolate(up, size=z.shape[2:], mode="bicubic") if i > 1 else up


z, scales = torch.randn(2, RANK, 8, 8), range(1, 9)
kernel, bias = torch.randn(RANK, RANK, 3, 3), torch.randn(RANK)
for i in scales:
    assert torch.equal(by_scale(z, i, kernel, bias), expert(z, i, kernel, bias))

# %% [markdown]
# > **Predict first.** Which expert has the larger receptive field, in tokens: the first or the
# > eighth?


# %%
def influence(i, balanced, size=7):
    """How much each of `size size` tokens changes the middle output, squared."""
    generator, total = torch.Generator().manual_seed(SEED), torch.zeros(size, size)
    for _ in range(24):
        kernel = torch.randn(RANK, RANK, 3, 3, generator=generator) / 9
        if balanced:  # taps that sum to zero: only differences between tokens count
            kernel -= kernel.mean((2, 3), keepdim=True)
        z = torch.randn(8, RANK, size, size, generator=generator).requires_grad_()
        middle = by_scale(z, i, kernel, torch.zeros(RANK))[..., size // 2, size // 2]
        middle.sum().backward()
        total += z.grad.square().sum((0, 1))
    return total


# %%
found = {
    "random": [influence(i, balanced=False) for i in scales],
    "sum to zero": [influence(i, balanced=True) for i in scales],
}
figures.fields(found)

# %% [markdown]
# Each picture shows how much each of 7 x 7 tokens influences the middle one's output
# (bright: much). Under it is the middle token's own share.
#
# Upper row: random kernels. On a finer grid three taps span *less*, 3/i of a token. So the
# larger the scale, the smaller the neighbourhood. At scale 8 the expert is almost a map of
# single tokens with a GELU. Lower row: kernels whose taps sum to zero. They react only to
# differences between tokens, so they could contradict the upper row. But their neighbourhood
# does not grow with the scale either. So in Conv-LoRA "multi-scale" means a finer grid, and
# not a larger receptive field.

# %% [markdown]
# ## A gate that chooses
# Each map z (a window, in windowed blocks) goes to one expert. The gate averages z over the
# map, $g$, and computes a logit for each of the M experts. In training it adds noise
# $\varepsilon \sim N(0, 1)$: $H = g W_g + \varepsilon \cdot (\mathrm{softplus}(g W_n) + 0.01)$.


# %%
def gate_logits(z, w_gate, w_noise, noise):
    """Clean and noisy logits and the spread of the noise, `B' M`; z `B' r H W`."""
    g = z.mean((2, 3))  # B' r
    clean, spread = g @ w_gate, F.softplus(g @ w_noise) + 0.01
    return clean, clean + noise * spread, spread


# %% [markdown]
# The k largest logits are kept, and a softmax over these k gives their gates. Conv-LoRA uses
# k = 1. The softmax of one number is 1, so with k = 1 the gate is 1, whatever the logits are.
#
# Now the whole path, window by window. It must equal `layer.cell` of `ConvLoRA`, in
# evaluation, and in training with the same noise.


# %%
def by_hand(z, cell, noise):
    """z + E_j(z), j the best expert of each window."""
    _, noisy, _ = gate_logits(z, cell.gate.w_gate, cell.gate.w_noise, noise)
    chosen = zip(z.split(1), noisy.argmax(1).tolist(), strict=True)
    parts = [w + by_scale(w, j + 1, cell.weight[j], cell.bias[j]) for w, j in chosen]
    return torch.cat(parts)


# %%
layer = ConvLoRA(RANK).wrap(qkv).to(sam.device)
cell, z = layer.cell, (xs[0] @ layer.We.T).permute(0, 3, 1, 2).detach()
noise = torch.randn(len(z), 8).to(z)
cell.gate.noise = lambda like: noise
for p in cell.gate.parameters():
    nn.init.normal_(p, std=0.1)

# %%
with torch.no_grad():
    in_eval = (cell.eval()(z) - by_hand(z, cell, 0 * noise)).abs().max()
    in_training = (cell.train()(z) - by_hand(z, cell, noise)).abs().max()
assert max(in_eval, in_training) < 1e-3
{"eval": bool(in_eval < 1e-3), "training": bool(in_training < 1e-3)}

# %% [markdown]
# ## Train it for a while
# At the start $W_d = 0$. So the task's gradient is zero for every part but $W_d$. The router
# already receives the gradient of the balance loss (below). A quarter of the profile's steps
# is enough to move $W_d$.

# %% tags=["nbval-ignore-output"]
model = adapt(sam, ConvLoRA(RANK), classes=classes, seed=SEED)
same = {"batch": setting.batch, "seed": SEED, "progress": figures.is_live()}
history = fit(model, data, steps=setting.steps // 4, **same).history
of_steps = [round(event["loss"], 2) for event in history]
{"first loss": of_steps[0], "last loss": of_steps[-1]}

# %% [markdown]
# ## What trains the router
# We compare three routers with the same weights: top-1, top-2, and one that mixes *all*
# experts, weighted by the softmax of the same logits.


# %%
class Mixture(nn.Module):
    """Every expert, weighted by the softmax of the gate's logits."""

    def __init__(self, cell):
        super().__init__()
        self.gate, self.weight, self.bias = cell.gate, cell.weight, cell.bias

    def forward(self, z):
        gates = (z.mean((2, 3)) @ self.gate.w_gate).softmax(1)  # B' M
        pairs = enumerate(zip(self.weight, self.bias, strict=True), 1)
        outputs = torch.stack([by_scale(z, i, w, b) for i, (w, b) in pairs], 1)
        return z + torch.einsum("bm,bmrhw->brhw", gates, outputs)


# %%
def rerouted(model, k):
    """A copy whose gates keep k experts, or with k = "softmax" mix them all."""
    twin = copy.deepcopy(model)
    for layer in (block.attn.qkv for block in twin.sam.image_encoder.blocks):
        layer.cell.gate.k = 1 if k == "softmax" else k
        layer.cell = Mixture(layer.cell) if k == "softmax" else layer.cell
    return twin


def task_loss(model):
    """How far the predicted masks are from the true ones."""
    return cross_entropy_dice(model(images).masks, masks)


# %% [markdown]
# > **Predict first.** Which of the three routers receive a gradient from the task's loss? And
# > from the balance loss, which is lowest if all experts are used evenly?


# %%
def router_gradient(model, balance=False):
    """Norm of the gradient for w_gate in all blocks; None where there is none."""
    loss = task_loss(model.train())
    if balance:
        loss = model.auxiliary_loss()
    loss.backward()
    found = [p.grad for n, p in model.named_parameters() if n.endswith("w_gate")]
    missing = all(grad is None for grad in found)
    if missing:
        return None
    return round(float(torch.stack([grad.norm() for grad in found]).norm()), 5)


# %% tags=["nbval-ignore-output"]
routers = {"top-1": 1, "top-2": 2, "softmax": "softmax"}
task = {name: router_gradient(rerouted(model, k)) for name, k in routers.items()}
balance = router_gradient(rerouted(model, 1), balance=True)
assert task["top-1"] is None and min(task["top-2"], task["softmax"], balance) > 0
{"task": task, "balance, top-1": balance}  # norms of the gradient

# %% [markdown]
# The numbers are norms of the gradient, and `None` means that there is no gradient at all. In
# top-1 the logits choose an expert and then leave the formula. The other two routers weight
# outputs with the logits. The loss itself shows the same. We move the `w_gate` of one block
# along a circle, and compute the task's loss of one image at every angle:


# %%
@torch.no_grad()
def walk(k, angles):
    """The task's loss along the circle without noise; the first window's shares."""
    twin, losses, shares = rerouted(model, k).eval(), [], []
    layer = twin.sam.image_encoder.blocks[0].attn.qkv
    g = (xs[0][0] @ layer.We.T).mean((0, 1))  # the first window's average z
    w_gate, generator = layer.cell.gate.w_gate, torch.Generator().manual_seed(SEED)
    a, b = torch.randn(2, *w_gate.shape, generator=generator)
    for t in angles:
        w_gate.copy_(a * math.cos(t) + b * math.sin(t))
        losses.append(float(cross_entropy_dice(twin(images[:1]).masks, masks[:1])))
        shares.append((g @ w_gate).softmax(0).tolist())
    return losses, shares


# %% tags=["nbval-ignore-output"]
angles = torch.linspace(0, 2 * math.pi, 33).tolist()
walks = {name: walk(routers[name], angles) for name in ("top-1", "softmax")}
shares = walks["softmax"][1]
losses = {name: of_losses for name, (of_losses, _) in walks.items()}
figures.router_walk(angles, shares, losses)

# %% [markdown]
# A slider moves the angle (in radians). Where nothing can move, you see two angles. The black
# ring marks the angle of the row. Left: the softmax shares of one window's experts, with top-1's
# choice in colour. Middle: with top-1 the loss is a staircase. Between two steps it does not
# change at all, so there is no direction in which to improve. Right: with the softmax it
# changes everywhere. But the two axes differ, and the titles name their ranges: the softmax
# curve spans much less than the staircase. A gradient can exist and be tiny.

# %% [markdown]
# ### Exercise 6.1 - the router that gets no task gradient
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `topk`, `softmax`, `scatter`, `torch.autograd.grad`
#
# Given the outputs of all experts, let E be their sum weighted by the gates. Return the
# gradient of `F.mse_loss(z + E, target)` with respect to `w_gate`: for top-1, then for the
# softmax mixture. Return zeros where there is no gradient. Use logits without noise.


# %%
def router_gradients(z, w_gate, answers, target):
    """[top-1, softmax], each `r M`; z, target `B r H W`, answers `B M r H W`."""
    raise NotImplementedError("Exercise 6.1")


# %%
checks.ex_6_1(router_gradients)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One function of k serves both: with k = M, top-k keeps every expert. Write the gates into a
# `B M` tensor of zeros with `scatter`, so that they stay in the graph.
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
# The derivative of a softmax with one entry is zero. Switch Transformers multiply the winner
# by its share among *all* experts instead, and their router does receive a task gradient. With
# logits l, gates a and $\delta = \partial L / \partial E$ the full mixture has $\partial L /
# \partial l_i = a_i (\langle \delta, E_i \rangle - \sum_j a_j \langle \delta, E_j \rangle)$:
# experts that are better than the average gain weight.
# </details>

# %% [markdown]
# ## Where the windows go
# The gate is inside qkv, so it chooses once for each *window*. Windows of one image can have
# different scales. The figure shows the first image, in evaluation, without noise:

# %% tags=["nbval-ignore-output"]
chosen = chosen_experts(model.eval(), images)
kinds = ["windowed" if block.window_size else "global" for block in blocks]
experts = {f"block {i}, {kinds[i]}": each[0] for i, each in enumerate(chosen)}
photo = images[0].permute(1, 2, 0).byte().numpy()
pixels = blocks[0].window_size * sam.image_encoder.patch_embed.proj.kernel_size[0]
figures.routes(photo, experts, pixels)

# %% [markdown]
# In training, noise is added to the logits. In what share of windows does it change the
# choice?

# %% tags=["nbval-ignore-output"]
noisy = chosen_experts(model.train(), images)
rates = [(a != b).float().mean() for a, b in zip(noisy, chosen, strict=True)]
overruled = float(torch.stack(rates).mean())
{"choices that the noise changes": f"{overruled:.0%}"}

# %% [markdown]
# A choice by pure chance among eight would differ in 7 of 8 cases, which is 88 %. So in
# training, after these 20 steps, the noise decides nearly all choices. In evaluation there is
# no noise.
#
# Does the choice matter? We send *all* windows to one expert, for each expert in turn. The
# scores are Dice on the validation images, minus the Dice with the gate's own choices on the
# same images. Eight differences are compared at once, so each interval has the level
# 1 - .05 / 8:


# %%
def val_dices():
    """Dice of every validation image."""
    return evaluate(model.eval(), data.val, classes=classes).dice


routed, gains = val_dices(), {}
for i in scales:
    with one_expert(model, i):
        gains[i] = seeds_and_images([val_dices() - routed], level=1 - 0.05 / 8)
Rows({f"expert {i}": {"Dice minus the router's": str(g)} for i, g in gains.items()})

# %% [markdown]
# An interval above zero would mean that this one expert is better than the router. If the
# router had learned which window needs which scale, every single expert should be worse. Here all eight intervals include zero, so these
# images cannot tell any single expert from the router. This is one seed and one short training.
# It does not show how good a router can become.

# %% [markdown]
# ## The balance loss
# Without a further term, an expert that is chosen often is trained more and chosen even more
# often. The balance loss counters this. It is
# $0.01\,(CV^2(\text{importance}) + CV^2(\text{load}))$, with CV² = var / mean² over experts.
# *Importance* is the sum of an expert's gates. *Load* is the number of windows that an expert
# can expect: the sum of its probabilities of winning if its noise is drawn anew.


# %%
def cv2(x):
    """var / mean^2, with the unbiased variance."""
    return x.var() / x.mean() ** 2


def importance_and_load(clean, noisy, spread):
    """Two vectors `M` for k = 1, by definition."""
    top, load = noisy.topk(1), []
    gates = torch.zeros_like(noisy).scatter(1, top.indices, top.values.softmax(1))
    for e in range(noisy.shape[1]):
        others = noisy.index_fill(1, torch.tensor(e), -torch.inf)
        above = (clean[:, e] - others.amax(1)) / spread[:, e]
        load.append(torch.distributions.Normal(0, 1).cdf(above).sum())
    return gates.sum(0), torch.stack(load)


# %%
cell.train()(z)  # the cell and the noise from above
logits = gate_logits(z, cell.gate.w_gate, cell.gate.w_noise, noise)
importance, load = map(cv2, importance_and_load(*logits))
loss = 0.01 * (importance + load)
assert torch.isclose(loss, cell.gate.auxiliary_loss, rtol=1e-3)
parts = {"importance": importance, "load": load}
moved = {
    name: torch.autograd.grad(part, cell.gate.w_gate, retain_graph=True)[0].any()
    for name, part in parts.items()
}
{f"{name} has a gradient": bool(any_at_all) for name, any_at_all in moved.items()}

# %% [markdown]
# The loss equals the core's. With gates of 1, importance just counts windows, so it has no
# gradient. Only load trains the router. Load is computed from the logits and the noise. The
# masks do not enter it.

# %% [markdown]
# ## What it costs
# A *dispatch* sends windows to experts. The released one sorts them, runs one expert after
# the other, and combines the results through exp and log. On a GPU the processor must wait
# until it knows how many windows each expert has. `fast` computes the same (a test of the
# core compares outputs and gradients) as a batch of small products. We time a training step
# of the whole encoder, and of one adapted layer. The unit is LoRA's step:


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


def slower(name, part):
    """Median of the ratios to LoRA, turn by turn."""
    turns = zip(times[name, part], times["LoRA", part], strict=True)
    return round(median(mine / lora for mine, lora in turns), 2)


# %% tags=["nbval-ignore-output"]
methods = {"LoRA": LoRA(RANK), "fixed 3x3": FixedConv(RANK)}
for dispatch in ("fast", "released"):
    methods[f"Conv-LoRA, {dispatch}"] = ConvLoRA(RANK, dispatch=dispatch)
todo = {(n, part): f for n, m in methods.items() for part, f in work(m).items()}
times = interleaved(todo, rounds=5, device=setting.device)
Rows({n: {part: slower(n, part) for part in ("encoder", "layer")} for n in methods})

# %% [markdown]
# For Conv-LoRA the extra cost is large in one layer and smaller in the whole encoder, because
# attention and MLP take most of the time. The last two rows compute the same function at
# different cost. Differences of one or two tenths are noise here, so the table cannot order LoRA
# and the fixed 3x3.

# %% [markdown]
# ### Exercise 6.2 - a sum that does not overflow
# Difficulty 2 of 5 ·
# importance 3 of 5 ·
# 6 minutes ·
# use `amax`, or a function of torch that contains it
#
# The released combination is $E = \log \sum_j g_j \exp(E_j)$. In float32, exp of an output
# above about 88 is infinite, and training fails. Write it so that this cannot happen.


# %%
def combine(answers, log_gates):
    """`B r H W` from answers `B k r H W` and the logarithms of their gates `B k`."""
    raise NotImplementedError("Exercise 6.2: correct the line below")
    return (log_gates.exp()[..., None, None, None] * answers.exp()).sum(1).log()


# %%
checks.ex_6_2(combine)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $\log \sum_j \exp(a_j) = m + \log \sum_j \exp(a_j - m)$ for any m. The largest $a_j$ is a
# good m, taken at each position separately.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def combine(answers, log_gates):
#     return torch.logsumexp(answers + log_gates[..., None, None, None], 1)
# ```
# The gates enter as logarithms, so nothing is exponentiated before the largest value is taken
# out. With k = 1 exp and log cancel; the released code computes them nevertheless.
# </details>

# %% [markdown]
# ## What cannot be merged
# Lesson 05 merged LoRA. What does `fold` merge of each path, and why not more?

# %%
plain = {"LoRA": LoRA(RANK), "fixed 3x3": FixedConv(RANK)}
paths = {n: adapt(sam, m, classes=classes, seed=SEED) for n, m in plain.items()}
nn.init.normal_(paths["fixed 3x3"].sam.image_encoder.blocks[0].attn.qkv.cell.weight)
paths["Conv-LoRA"] = model
first_rows = {name: fold(path).report.rows[0] for name, path in paths.items()}
assert first_rows["LoRA"].folded == "everything"
assert first_rows["fixed 3x3"].folded == "centre tap"
assert first_rows["Conv-LoRA"].folded == "nothing"
Rows({n: {"folded": row.folded, "why": row.why} for n, row in first_rows.items()})

# %% [markdown]
# A path on single tokens merges completely. Of a 3x3 the centre merges, and the other taps
# stay a side branch (2.59 % of qkv's multiply-adds). Of an expert nothing merges: GELU is not
# linear, and the choice of the expert depends on the window.

# %% [markdown]
# ### Exercise 6.3 - a bug hunt: the path that mixes up space
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `permute`
#
# Tokens have their channels last, a convolution needs them second. This path converts between
# the two with `reshape`. With K = 0 it is right, so the test "starts as LoRA" passes. Now
# change one token, and count the tokens whose output changes. A 3x3 should change nine:


# %%
def reshaping_path(x, We, K, Wd):
    """Wd (z + K * z) of tokens `B H W d`, z = We x; or is it?"""
    z = (x @ We.T).reshape(len(x), -1, *x.shape[1:3])
    z = z + F.conv2d(z, K, padding=1)
    return z.reshape(*x.shape[:3], -1) @ Wd.T


x, changed = torch.randn(1, 8, 8, 6), torch.zeros(1, 8, 8, 6)
changed[0, 4, 4] = 1
weights = torch.randn(3, 6), torch.randn(3, 3, 3, 3), torch.randn(12, 3)
difference = reshaping_path(x + changed, *weights) - reshaping_path(x, *weights)
{"tokens that change": int((difference.abs().sum(-1) > 1e-4).sum())}


# %%
def path(x, We, K, Wd):
    """Wd (z + K * z) of tokens `B H W d`; We `r d`, K `r r 3 3`, Wd `out r`."""
    raise NotImplementedError("Exercise 6.3")


# %%
checks.ex_6_3(path)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `reshape` keeps the numbers in their order in memory. `permute` moves an axis.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def path(x, We, K, Wd):
#     z = (x @ We.T).permute(0, 3, 1, 2)
#     z = z + F.conv2d(z, K, padding=1)
#     return z.permute(0, 2, 3, 1) @ Wd.T
# ```
# The shapes fit either way, so there is no error, and training even lowers the loss. A test
# with one changed token finds the bug at once.
# </details>

# %% [markdown]
# ## Is it better?
# Our run is too short to tell. Longer ones were recorded with equal passes, each method with
# its own learning rate. First photographs of polyps (NAS-LoRA is the subject of lesson 07).
# The dashed lines are the base without a prompt, and with a box around every object:

# %%
paths = ("fixed_conv", "conv_lora", "nas_lora")
order = ("base_unprompted", "base_boxed", "decoder_only", "lora", *paths)
runs = recorded("kvasir_polyp")
photographs = [run for m in order for run in runs if run["method"] == m]
title = "All adapters score higher than decoder-only; the four adapters are close"
figures.comparison(photographs, "iou", title)

# %%
level = 1 - 0.05 / len(paths)  # three comparisons at once


def image_scores(method):
    """IoU of every photograph, `seeds images`."""
    runs = [r for r in photographs if r["method"] == method]
    return np.array([[iou for _, iou in run["images"].values()] for run in runs])


found = {}
for m in paths:
    minus_lora = image_scores(m) - image_scores("lora")
    found[LABELS[m]] = {"IoU minus LoRA": str(seeds_and_images(minus_lora, level))}
Rows(found)

# %% [markdown]
# The differences are paired by seed and photograph. The interval redraws both, at the level
# 1 - .05 / 3 (lesson 12). All three intervals include zero, so five seeds on
# these photographs cannot tell any path from LoRA. All lie far above the
# base without a prompt and far below the base with boxes. The resolution ceiling is .999 IoU.
#
# A registered comparison has eight domains
# ([lesson 12](12_compare_everything.ipynb#Registered,-on-eight-domains)). Its intervals
# redraw domains and, within them, seeds. The last column counts the domains on which the mean
# is higher than LoRA's. The scores, and those of the base with a box on every object, are on the
# [results page](../naslora_workbook/results/README.md):

# %%
protocol, registered = judge.registered()
found = {}
for m in paths:
    leads = judge.differences(registered, protocol, "lora", m)
    above = sum(np.mean(gains) > 0 for gains in leads.values())
    found[LABELS[m]] = {"minus LoRA": nested(leads, level), "higher on": above}
Rows(found)

# %% [markdown]
# Conv-LoRA's interval lies below zero: over these domains it scores lower than LoRA, by .017
# on average. For the fixed 3x3 and for NAS-LoRA we cannot tell.

# %% tags=["nbval-ignore-output"]
record(
    unexplained_by_a_token=min(alone),
    router_gradient_softmax=task["softmax"],
    router_gradient_balance=balance,
    overruled_by_noise=overruled,
)

# %% [markdown]
# ## Recap
# *What do we gain if tokens use their neighbours inside the low-rank path?* Such a path can
# compute what no map of single tokens can. These recorded runs show no higher score (one in lesson 12 does). On
# photographs of polyps (five seeds) no path can be told from LoRA. Over eight domains (five
# seeds) Conv-LoRA scores lower than LoRA, by .017 IoU. For the fixed 3x3 we cannot tell.
#
# *What decides the scale?* With k = 1 the task gives the router no gradient, so the task does
# not decide. In our 20 steps of training the choice depended on noise and the balance loss.
# - A 3x3 has $9 r^2$ parameters a layer, for any width.
# - Expert i works at i times the resolution, so its receptive field is smaller, not larger.
# - With k = 1 the gate is the constant 1. Only the load term trains the router.
# - Released and fast dispatch compute the same at different cost. Neither merges. A 3x3
#   leaves a narrow side branch.

# %% [markdown]
# ## In practice
# - Before you rely on a router, send everything to each expert in turn. If one alone scores
#   as high, the router's choices add nothing.
# - k = 2 gives the router a task gradient, at the cost of a second expert.
# - Write `y = qkv + path`, not `qkv += path`: another part of the program may hold the same
#   tensor.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`.
#
# ## Further reading
# - [Conv-LoRA](https://arxiv.org/abs/2401.17868): the method of this lesson.
# - [Sparsely-gated mixture of experts](https://arxiv.org/abs/1701.06538): noisy top-k, load
#   and importance. Its authors recommend k above 1.
# - [Switch Transformers](https://arxiv.org/abs/2101.03961): k = 1 with a router that learns
#   from the task.
#
# Next: if the members of the softmax mixture are *linear*, all of them together cost one
# convolution.
#
# [<- 05](05_lora.ipynb) | [index](README.md) | [07 ->](07_mix_operators.ipynb)
