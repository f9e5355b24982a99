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
# # 05 · Inject a low-rank path
#
# > Fine-tune everything once, take the change apart, and see how little of it was needed.
# > Then build LoRA in a dozen lines, train it, merge it, and swap two of them on one base.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/05_lora.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/05_lora.ipynb)
#
# **Cost** 36 s · 1.0 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [02](02_adapt_end_to_end.ipynb).

# %% [markdown]
# **The question:** how few numbers does it take to change a model?
#
# **You will build** LoRA by hand, from the change that full fine-tuning makes to two adapters
# that take turns on one base.
#
# **You will be able to**
# - read the singular values of a weight change, and say when it is *not* of low rank;
# - cut a change to rank r and measure what survives;
# - write LoRA's forward pass, and say which matrix moves first and why;
# - count its parameters by a formula, for any choice of Linears;
# - merge a trained path into its layer, and keep a base that never moves.
#
# | you need | where | minutes |
# |---|---|---|
# | `adapt`, `fit`, `evaluate` as black boxes | [02](02_adapt_end_to_end.ipynb) | 30 |
# | the fused qkv and its input | [01](01_see_sam.ipynb) | 30 |
# | singular values: `U S V`, rank | any linear algebra | - |

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
import time

import torch
from naslora_workbook import checks, figures, profile
from torch import nn

from naslora_core import DecoderOnly, Full, LoRA, adapt, evaluate, fit, fold, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "leaf"  # an embedded domain, or the path of a folder with images/ and masks/
OTHER = "polyp"  # a second one with as many classes, for the swap near the end
RANK = 4

# %%
from naslora_workbook.lessons.headline import record

from naslora_core.adapters.target_layers import places
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter, model_hash

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and how much of everything is used; every run here takes a third
# of its steps. `SEED` draws images, starts and batches.
# `DATA` and `OTHER` are what two adapters learn, and `RANK` is the r of LoRA: a choice, not a
# result.

# %%
setting = profile(PROFILE)
setting

# %%
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
base_hash, classes = model_hash(sam), len(data.classes)
images, masks = to_batch(data.test[:4], setting.image_size)
figures.contact_sheet(data.train[:4], "What is to be learned", columns=4)

# %% [markdown]
# ## Change everything
# Full fine-tuning moves every weight of the encoder, and the mask decoder with it. So each may take
# only small steps: the learning rate is lower than an adapter's.


# %%
def train(method, data=data, lr=2e-3):
    """Adapt and fit with the lesson's budget and seed."""
    model = adapt(sam, method, classes=classes, seed=SEED)
    same = {"batch": setting.batch, "seed": SEED, "progress": figures.is_live()}
    return fit(model, data, steps=setting.steps // 3, lr=lr, **same)


def test_dice(model, data=data):
    """Mean Dice of the test images."""
    return evaluate(model, data.test, classes=classes).mean["dice"]


def val_dice(model):
    """Mean Dice of the validation images: for what is tried more than once."""
    return evaluate(model, data.val, classes=classes).mean["dice"]


# %% tags=["nbval-ignore-output"]
runs = {"full": train(Full(), lr=5e-4)}
full = runs["full"].model
before, after = test_dice(Segmenter(sam)), test_dice(full)
{"before": round(before, 3), "after": round(after, 3)}

# %% [markdown]
# Test Dice without a prompt: the difference is what all of that bought. The blocks' four
# Linears (qkv, proj, and two in the MLP) hold most of the encoder. Their change is a difference of
# two matrices, nothing more:

# %%
LINEARS = ("qkv", "proj", "lin1", "lin2")


def weights(model):
    """The weights of all four Linears, block by block."""
    blocks = model.image_encoder.blocks
    return [p.module.weight for b in blocks for p in places(b, LINEARS)]


# %%
tuned, base = weights(full.sam), weights(sam)
changes = [(w - w0).detach() for w, w0 in zip(tuned, base, strict=True)]
qkv_changes = changes[:: len(LINEARS)]
[tuple(change.shape) for change in changes[: len(LINEARS)]]

# %% [markdown]
# > **Predict first.** A matrix of this size has as many directions as its shorter side. If the
# > change of qkv used them all evenly, a few would hold almost nothing. What share of its squared
# > norm will the first four hold?

# %% tags=["nbval-ignore-output"]
figures.spectrum(qkv_changes)

# %% [markdown]
# Every orange line is one block's qkv, every grey one a random matrix of the same norm: that is
# what "not low-rank" looks like. In the right plot, the further orange runs above grey, the fewer
# directions tell the story. The change is not *exactly* of low rank either: in the left plot its
# tail is small, but not zero.
#
# Cut the change after its first r directions and look at what stays:

# %% tags=["nbval-ignore-output"]
change = qkv_changes[0]
figures.explore(
    lambda ax, rank: figures.cut(ax, change, rank),
    [1, 4, 16, min(change.shape)],
    "rank",
    "One block's qkv change, cut: each direction is a pattern of stripes",
)

# %% [markdown]
# The inset is a corner of the matrix. Rank 1 is a plaid: one pattern over the inputs, times one
# over the outputs. Each further rank adds another, weaker than the one before. But norm is not
# skill. Does the *segmentation* survive the cut?
#
# > **Predict first.** Cut the change of every Linear in every block to rank r; leave the rest
# > (norms, biases, positions, neck, decoder) as it was tuned. At which r is the validation Dice
# > back?


# %% tags=["nbval-ignore-output"]
@torch.no_grad()
def dice_when_cut(rank):
    """Validation Dice with every change cut to `rank`; they are put back afterwards."""
    for w, w0, change in zip(tuned, base, changes, strict=True):
        u, s, v = torch.linalg.svd(change, full_matrices=False)
        w.copy_(w0 + (u[:, :rank] * s[:rank]) @ v[:rank])
    found = val_dice(full)
    for w, w0, change in zip(tuned, base, changes, strict=True):
        w.copy_(w0 + change)
    return found


survives = {rank: dice_when_cut(rank) for rank in (0, 1, 2, 4, 8, 16)}
figures.surviving(survives, val_dice(full))

# %% [markdown]
# At rank 0 the Linears are the base's again, under a decoder that was trained for others. How
# soon the blue line nears the dashed one says how many directions mattered; a cut may even
# score a little above it: few images cannot tell such numbers apart.

# %% [markdown]
# ### Exercise 5.1 - two thin matrices
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 8 minutes ·
# use `torch.linalg.svd(..., full_matrices=False)`
#
# A change cut to rank r needs no full matrix to be stored. Write it as $W_d W_e$, with $W_e$ of
# shape $r \times d_{in}$ and $W_d$ of shape $d_{out} \times r$.


# %%
def thin(change, rank):
    """We `r d_in` and Wd `d_out r`, whose product is `change` cut to `rank`."""
    raise NotImplementedError("Exercise 5.1")


# %%
checks.ex_5_1(thin)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `u, s, v = svd(change)` gives `change = (u * s) @ v`. Keep r columns of u and r rows of v.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def thin(change, rank):
#     u, s, v = torch.linalg.svd(change, full_matrices=False)
#     return v[:rank], u[:, :rank] * s[:rank]
# ```
# No other matrix of rank r is closer to the change (Eckart and Young). Where the singular
# values go is your choice: only the product counts.
# </details>

# %% [markdown]
# ## Turn it around
# We trained everything, then threw most of it away. LoRA starts with the two thin matrices and
# trains nothing else of the layer: $y = W_0 x + b + s\,W_d (W_e x)$. Nothing guarantees that the
# *best* change is of low rank; this is a bet, and the curve above is the reason to make it.

# %% [markdown]
# ### Exercise 5.2 - LoRA's forward pass in one line
# Difficulty 1 of 5 ·
# importance 5 of 5 ·
# 5 minutes ·
# use `@` and `.T`
#
# Tokens are channels-last: x is `B H W d`. Avoid any product as large as $W_0$'s but $W_0$'s own:
# the check counts multiplications.


# %%
def lora_forward(x, W0, b, We, Wd, s):
    """`B H W d_in` to `B H W d_out`; W0 `d_out d_in`, We `r d_in`, Wd `d_out r`."""
    raise NotImplementedError("Exercise 5.2")


# %%
checks.ex_5_2(lora_forward)

# %% [markdown]
# <details><summary>Hint</summary>
#
# A Linear of weight W computes `x @ W.T`, whatever stands before the last axis.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def lora_forward(x, W0, b, We, Wd, s):
#     return x @ W0.T + b + s * (x @ We.T @ Wd.T)
# ```
# `x @ We.T` first: two narrow products. `x @ (Wd @ We).T` is the same number through a dense
# matrix, and as expensive as the layer itself.
# </details>

# %% [markdown]
# As a module, whose start we shall look at closely:


# %%
class LowRank(nn.Module):
    """A frozen Linear and a low-rank path beside it."""

    def __init__(self, base, rank, scale):
        super().__init__()
        self.base, self.scale = base, scale
        self.We = nn.Parameter(torch.empty(rank, base.in_features))
        self.Wd = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.We, a=math.sqrt(5))

    def forward(self, x):
        # y = W0 x + b + s Wd (We x)
        return self.base(x) + self.scale * (x @ self.We.T @ self.Wd.T)


# %% [markdown]
# `adapt` takes any object with an `inject`:


# %%
class ByHand:
    """Our LowRank in place of every qkv."""

    def __init__(self, rank, scale):
        self.rank, self.scale = rank, scale

    def inject(self, encoder):
        for block in encoder.blocks:
            block.attn.qkv = LowRank(block.attn.qkv, self.rank, self.scale)


# %%
SCALE = 4.0  # s, a section below is about it
model = adapt(sam, ByHand(RANK, SCALE), classes=classes, seed=SEED)
with torch.no_grad():
    before = (model(images).masks - Segmenter(sam)(images).masks).abs().max()
assert before == 0
float(before)

# %% [markdown]
# Exactly zero: the path is there, and says nothing yet. How many numbers is it? Each layer has
# $r\,(d_{in} + d_{out})$ where $W_0$ has $d_{in} \cdot d_{out}$.


# %%
def in_encoder(model):
    """How many numbers the method trains in the encoder."""
    return sum(p.numel() for n, p in model.trainable().items() if "encoder" in n)


qkvs = [block.attn.qkv for block in sam.image_encoder.blocks]
formula = sum(RANK * (qkv.in_features + qkv.out_features) for qkv in qkvs)
assert in_encoder(model) == formula
share = formula / in_encoder(full)
{"LoRA": formula, "full": in_encoder(full), "share": f"{share:.2%}"}

# %% [markdown]
# A small share of the encoder. The formula grows with the width, $W_0$ with its square:
# the larger the model, the smaller the share at the same rank.

# %% [markdown]
# ## Who moves first
# `LowRank` draws one matrix and leaves the other at zero. What if it did otherwise?
#
# > **Predict first.** Four starts: each matrix random or zero. Which of them keep the base's
# > output, and which can learn at all?

# %%
x = sam.image_encoder.patch_embed(Segmenter(sam).preprocess(images)).detach()


def start(we, wd):
    """What a start does: whether the output moves, and which matrix has a gradient."""
    layer = LowRank(qkvs[0], RANK, SCALE).to(sam.device)
    nn.init.normal_(layer.We, std=we)
    nn.init.normal_(layer.Wd, std=wd)
    layer(x).square().mean().backward()
    learns = {f"{n} learns": bool(getattr(layer, n).grad.any()) for n in ("We", "Wd")}
    return {"output moved": not torch.equal(layer(x), qkvs[0](x))} | learns


starts = {"We": (1, 0), "Wd": (0, 1), "both": (1, 1), "none": (0, 0)}
{f"random: {name}": start(*stds) for name, stds in starts.items()}

# %% [markdown]
# One of the two must be zero, or the start is not SAM any more. The gradient of $W_d$ is a product
# with $W_e x$, that of $W_e$ a product with $W_d$: each waits for the other. So with $W_d$ at zero,
# only $W_d$ learns at the first step and $W_e$ follows at the second. The opposite start works too;
# two zeros wait for each other for ever.

# %% [markdown]
# ## Train it
# The decoder is trained with every method, so how far does it get alone? All have the same images,
# batches and steps.

# %% tags=["nbval-ignore-output"]
runs |= {"lora": train(ByHand(RANK, SCALE)), "decoder_only": train(DecoderOnly())}
figures.losses({name: run.history for name, run in runs.items()})

# %% tags=["nbval-ignore-output"]
dice = {name: test_dice(run.model) for name, run in runs.items()}
counts = {n: in_encoder(run.model) for n, run in runs.items()}
{n: {"Dice": round(dice[n], 3), "in the encoder": counts[n]} for n in runs}

# %% [markdown]
# Set LoRA's distance to decoder-only against how many numbers it trains in the encoder; the rest of
# the way to full is what the bet cost here. One seed, few steps, few images show the mechanism; they
# rank no methods.

# %% [markdown]
# ## The same thing from the core
# `LoRA` of `naslora_core` is this, with a choice of Linears. It must start from the same numbers
# and, given ours, draw the same masks. (The core's tests also compare it with `peft`.)

# %%
ours = runs["lora"].model
core = adapt(sam, LoRA(RANK, SCALE), classes=classes, seed=SEED)
drawn = adapt(sam, ByHand(RANK, SCALE), classes=classes, seed=SEED).trainable()
assert all(torch.equal(p, drawn[name]) for name, p in core.trainable().items())

core.load_state_dict(ours.state_dict())
with torch.no_grad():
    same = torch.equal(core(images).masks, ours(images).masks)
assert same
same

# %% [markdown]
# ## Merge it
# The path is linear and so is the layer; their sum is one matrix, $W_0 + s\,W_d W_e$.

# %% tags=["nbval-ignore-output"]
layer = ours.sam.image_encoder.blocks[0].attn.qkv
merged, low = copy.deepcopy(layer.base), layer.scale * layer.Wd @ layer.We
with torch.no_grad():
    merged.weight += low
    gap = (merged(x) - layer(x)).abs().max()
assert torch.allclose(merged(x), layer(x), atol=1e-4)
f"{gap:.0e}"

# %% [markdown]
# Rounding, nothing else. The merged layer has the base's shape and its speed; the adapter's
# cost at inference is gone. `fold` does this to a whole model, and must find our matrix:

# %%
folded = fold(core)
theirs = folded.model.sam.image_encoder.blocks[0].attn.qkv.weight
assert torch.allclose(theirs, merged.weight, atol=1e-6)
folded.report

# %% [markdown]
# "everything" in every row, and no multiplication (MAC) more than the base's: a plain SAM. Can we
# go back by subtracting? The share of weights that do not return to the very number that they were:

# %% tags=["nbval-ignore-output"]
back = merged.weight - low
assert torch.allclose(back, layer.base.weight, atol=1e-6)
f"{(back != layer.base.weight).float().mean():.0%}"

# %% [markdown]
# Close, but not the same bits: a base that is merged and unmerged in place drifts. Which is how
# the next bug arises.

# %% [markdown]
# ### Exercise 5.3 - a bug hunt: the base that moved
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `model_hash` on what you mend
#
# To save two products, somebody adds the path to the weights before the layer is used. Call it
# twice:


# %%
def hasty(linear, We, Wd, scale, x):
    """The adapted layer's output, in a single product."""
    linear.weight += scale * Wd @ We
    return linear(x)


# %%
with torch.no_grad():
    victim = copy.deepcopy(layer.base)
    first = hasty(victim, layer.We, layer.Wd, SCALE, x)
    second = hasty(victim, layer.We, layer.Wd, SCALE, x)
{
    "first call right": torch.allclose(first, layer(x), atol=1e-4),
    "second call the same": torch.allclose(first, second, atol=1e-4),
    "base as it was": model_hash(victim) == model_hash(layer.base),
}


# %%
def mended(linear, We, Wd, scale, x):
    """The adapted layer's output; the Linear keeps every bit."""
    raise NotImplementedError("Exercise 5.3: mend the lines below")
    linear.weight += scale * Wd @ We
    return linear(x)


# %%
checks.ex_5_3(mended)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# `requires_grad=False` stops the optimiser. It does not stop `+=`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Subtracting afterwards makes the two calls agree, nearly; the hash still tells.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def mended(linear, We, Wd, scale, x):
#     return linear(x) + scale * (x @ We.T @ Wd.T)
# ```
# Frozen means that nobody writes to it, not that no gradient arrives. Other adapters share this
# very tensor: one in-place line, and all of them stand on another base, without an error. A hash
# of the base, before and after, is a cheap alarm. To merge for good, work on a copy.
# </details>

# %% [markdown]
# ## The scale s
# Only the product $s\,W_d$ counts for the output, so s looks idle. In training it is not: an Adam
# step moves $W_d$ by about the learning rate, whatever s is, and the layer by s times that. After
# training s is a dial that needs no training at all:


# %%
def dice_at(factor):
    """Validation Dice with the path's scale multiplied by `factor`."""
    for block in core.sam.image_encoder.blocks:
        block.attn.qkv.scale = SCALE * factor
    return val_dice(core)


# %% tags=["nbval-ignore-output"]
dialled = {factor: round(dice_at(factor), 3) for factor in (0, 0.5, 2, 1)}
assert math.isclose(dialled[1], val_dice(ours), abs_tol=0.001)
dict(sorted(dialled.items()))

# %% [markdown]
# At 0 the encoder is the base's, under a decoder trained for another; at 1 it is what was
# trained; above 1 nobody has ever trained, though Dice need not fall there at once. The flatter
# the way from 0 to 1, the less the path does.

# %% [markdown]
# ## Which Linears
# qkv is a habit, not a law. What do other choices cost at this rank?

# %%
d, depth = qkvs[0].in_features, len(qkvs)
both_sides = {"qkv": 4 * d, "q": 2 * d, "v": 2 * d, "proj": 2 * d}
both_sides |= {"lin1": 5 * d, "lin2": 5 * d}  # the MLP is four times as wide
choices = [("qkv",), ("q", "v"), ("proj",), ("lin1", "lin2"), LINEARS]

counted = {c: in_encoder(adapt(sam, LoRA(RANK, linears=c))) for c in choices}
for choice, count in counted.items():
    assert count == depth * RANK * sum(both_sides[name] for name in choice)
{" + ".join(choice): count for choice, count in counted.items()}

# %% [markdown]
# q and v alone cost exactly what the fused qkv does: two paths of their own against one whose
# $W_e$ is shared by q, k and v. The MLP is the expensive place. The formula decides the price; only
# a comparison decides the worth.

# %% [markdown]
# ## One base, two adapters
# Train a second one, for something else. Both are dictionaries of tensors; to swap is to point
# the model at the other.


# %%
def swap(model, adapter):
    """Let the trained tensors of `model` be those of `adapter`; nothing is copied."""
    for name, tensor in model.trainable().items():
        tensor.data = adapter[name]


# %% tags=["nbval-ignore-output"]
sets = {DATA: data, OTHER: open_data(OTHER, setting, seed=SEED)}
second = train(LoRA(RANK, SCALE), sets[OTHER]).model
trained = {DATA: core, OTHER: second}
adapters = {
    name: {n: p.detach().clone() for n, p in model.trainable().items()}
    for name, model in trained.items()
}

# %% tags=["nbval-ignore-output"]
began = time.perf_counter()
swap(core, adapters[OTHER])
swap_ms = 1000 * (time.perf_counter() - began)


def megabytes(tensors):
    """Size in memory."""
    return sum(t.numel() * t.element_size() for t in tensors) / 1e6


path_mb = megabytes(t for n, t in adapters[OTHER].items() if "encoder" in n)
decoder_mb = megabytes(adapters[OTHER].values()) - path_mb
base_mb = megabytes(sam.parameters())
sizes = {"base MB": base_mb, "decoder MB": decoder_mb, "path MB": path_mb}
{name: round(x, 2) for name, x in (sizes | {"swap ms": swap_ms}).items()}

# %% [markdown]
# No weight was copied in the swap, only pointers moved. A new skill
# costs the path and the decoder that was trained with it; the large part is shared. Who is at
# home where?


# %% tags=["nbval-ignore-output"]
def dice_with(adapter):
    """Test Dice of both data sets with one adapter in place."""
    swap(core, adapters[adapter])
    return {name: round(test_dice(core, each), 3) for name, each in sets.items()}


{f"adapter {name}": dice_with(name) for name in (OTHER, DATA)}

# %% [markdown]
# Each data set should score higher with its own adapter than with the other's. Two images of each,
# around the median of their own adapter:


# %% tags=["nbval-ignore-output"]
def middle(name):
    """The two test images of a data set on which its own adapter does middling well."""
    swap(core, adapters[name])
    order = evaluate(core, sets[name].test, classes=classes).dice.argsort(kind="stable")
    return [sets[name].test[i] for i in order[len(order) // 2 :][:2]]


shown = [sample for name in sets for sample in middle(name)]


def wear(axes, adapter):
    """All four under one adapter: the same base, other pointers."""
    swap(core, adapters[adapter])
    found = evaluate(core, shown, classes=classes)
    for ax, sample, mask, score in zip(
        axes, shown, found.masks, found.dice, strict=True
    ):
        figures.overlay(ax, sample.image, mask, sample.mask)
        ax.set_xlabel(f"Dice {score:.2f}")


# %% tags=["nbval-ignore-output"]
title = "One base, two skills: a row wears one adapter"
figures.explore(wear, list(adapters), "adapter", title, axes=4)

# %% [markdown]
# Yellow outlines the truth: where the wrong adapter is worn, blue should mostly leave it.

# %% [markdown]
# And the base, after four trainings, a merge, a dial and all these swaps?

# %%
untouched = model_hash(sam) == base_hash
shared = core.sam.image_encoder.blocks[0].attn.qkv.base.weight
assert untouched and shared.data_ptr() == qkvs[0].weight.data_ptr()
untouched

# %% [markdown]
# Not one bit has moved, and the adapted model holds no copy of it: same hash, same memory.
#
# Below, the cut's Dice is of the validation images, the others' of the test images; do not compare
# it with theirs.

# %% tags=["nbval-ignore-output"]
record(
    **{f"dice_{name}": value for name, value in dice.items()},
    dice_cut_to_rank_4=survives[4],
    share_trained=share,
    swap_ms=swap_ms,
)

# %% [markdown]
# ## Recap
# *How few numbers does it take to change a model?* In each layer the directions of its change that
# matter, times the sum of its two sides; and whether they are few is measured, not assumed.
# - A change's spectrum beside that of a random matrix shows how low its rank is; the Dice that
#   survives a cut shows what the rank is worth.
# - LoRA starts at the base exactly, since $W_d$ is zero; for the same reason only $W_d$ learns
#   first.
# - It has $r\,(d_{in} + d_{out})$ numbers a layer; q and v alone cost as much as the fused qkv.
# - $W_0 + s\,W_d W_e$ is the adapted layer, up to rounding; subtracting does not undo it bit by
#   bit.
# - A base that nobody writes to carries any number of adapters, and a swap copies nothing.

# %% [markdown]
# ## In practice
# - A change after few steps on few images tends to be simpler than one after long training. Cut
#   *your* fine-tuning before you believe in a rank.
# - Merge for one task in production; keep adapters apart where several take turns.
# - Implementations differ in what they call s: `peft` writes alpha / r. Here alpha is kept for
#   architectures.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`; or set `RANK`
# to 1 and see what one direction a layer can do.
#
# ## Further reading
# - [LoRA](https://arxiv.org/abs/2106.09685): section 4 is this lesson's formula, section 7 its
#   spectrum, on language models.
# - [Intrinsic dimension](https://arxiv.org/abs/2012.13255): why fine-tuning may need few
#   directions at all.
# - [Initialization in LoRA](https://arxiv.org/abs/2406.08447): whether it matters which of the two
#   matrices starts at zero.
#
# Next: a cell between $W_e$ and $W_d$. For however it is trained, the path of this lesson treats
# every token alone, and never looks at the one beside it.
#
# [<- 04](04_missing_spatial_priors.ipynb) | [index](README.md) | [06 ->](06_conv_lora.ipynb)
