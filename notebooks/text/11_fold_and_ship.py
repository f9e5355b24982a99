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
# # 11 · Fold an adapter and ship it
#
# > What "no inference cost" means: which part of an adapter folds into the base exactly, which part
# > stays beside it, what that part costs on a GPU, and a file that a vanilla SAM loads.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/11_fold_and_ship.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/11_fold_and_ship.ipynb)
#
# **Cost** 21 s · 0.8 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [07](07_mix_operators.ipynb).

# %% [markdown]
# **The question:** when you ship an adapted SAM, which parts of the adapter remain, what do they cost, and
# who can load the file?
#
# **You will build** a fold by hand, from one Linear to a checkpoint that `segment_anything` loads.
#
# **You will be able to**
# - fold a low-rank path, and the centre tap of a spatial one;
# - distinguish an exact fold from one that is wrong at borders only;
# - say when "no inference cost" is true, in multiply-adds and in milliseconds on a GPU;
# - decide by the measured loss between keeping a mixture and choosing one operator;
# - choose the file, and know who can load it.
#
# | you need | where | minutes |
# |---|---|---|
# | the cell, mixed kernels | [07](07_mix_operators.ipynb) | 80 |
# | projection and argmax | [08](08_search_with_a_known_answer.ipynb) | 95 |
# | LoRA, merged | [05](05_lora.ipynb) | 80 |

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
import tempfile
from functools import partial
from pathlib import Path
from textwrap import fill

import numpy as np
import torch
import torch.nn.functional as F
from naslora_workbook import figures, profile
from naslora_workbook.lessons import checks

from naslora_core import ConvLoRA, NASLoRA, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "leaf"  # of one class: an embedded domain, or a folder with images/ and masks/
RANK = 4

# %%
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.figures.shipping import spread
from naslora_workbook.lessons.exercises.lesson_11 import dropped
from naslora_workbook.lessons.headline import record
from naslora_workbook.research.benchmarks.measurement import interleaved
from naslora_workbook.research.benchmarks.method_costs import infer
from naslora_workbook.results.records import measured

from naslora_core import adapt, evaluate, fit, fold, load_adapter, save_adapter
from naslora_core.adapters import choose_operators, discretise, load_folded
from naslora_core.data import open_data, to_batch
from naslora_core.errors import UserError
from naslora_core.sam import SamAutomaticMaskGenerator, SamPredictor, build_nano
from naslora_core.sam.checkpoints import BUILDERS
from naslora_core.search.operator_registry import identity

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses model and data. The trainings are short, because folding is algebra and holds for
# every adapter. `SEED` draws images and starts. `RANK` is the r of every path. `DATA` has *one* class,
# because an official checkpoint cannot hold more.

# %%
setting = profile(PROFILE)
setting

# %% [markdown]
# Here is what folding does to NAS-LoRA's path:

# %%
figures.growing_diagram("folded")

# %% [markdown]
# Two searches follow. The first mixes all nine linear operators. The second mixes only the three that
# use a token alone.


# %% tags=["nbval-ignore-output"]
def train(steps, **options):
    """Search on the base for a few steps of half batches."""
    model = adapt(sam, NASLoRA(RANK, **options), seed=SEED)
    batch = setting.batch // 2
    return fit(model, data, steps=steps, batch=batch, seed=SEED, progress=False).model


def test_dice(model):
    """Mean Dice of the test images."""
    return evaluate(model, data.test, classes=1).mean["dice"]


# %% tags=["nbval-ignore-output"]
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
spatial = train(setting.steps // 2)
pointwise = train(setting.steps // 4, operators=("none", "skip", "conv_1x1"))

mixture_dice = test_dice(spatial)
{"spatial": round(mixture_dice, 3), "pointwise": round(test_dice(pointwise), 3)}

# %% [markdown]
# This is the test Dice of the two adapters that we shall fold. It does not compare them: the second had
# half of the steps.
#
# ## What folds: linear, token by token
# LoRA is $y = W_0 x + b + s\,W_d W_e x$. Both terms multiply the same $x$, so the one matrix
# $W = W_0 + s\,W_d W_e$ gives the same result. An operator between them that treats every token alone
# is one more matrix: $W = W_0 + s\,W_d K W_e$.

# %%
images = to_batch(data.test[:4], setting.image_size)[0]
seen = {}
first = spatial.sam.image_encoder.blocks[0].attn.qkv
hook = first.register_forward_pre_hook(lambda _, x: seen.update(x=x[0]))
with torch.no_grad():
    spatial(images)
hook.remove()
x = seen["x"]  # B' H W d: windows of tokens
path = pointwise.sam.image_encoder.blocks[0].attn.qkv
with torch.no_grad():
    K = path.cell.kernel()[..., 0, 0]  # r r: one tap, a matrix
    folded_weight = path.base.weight + path.scale * path.Wd @ K @ path.We
    gap = (F.linear(x, folded_weight, path.base.bias) - path(x)).abs().max()
assert gap < 1e-4
{"largest difference": f"{gap:.0e}", "weights": tuple(folded_weight.shape)}

# %% [markdown]
# The difference is rounding. The matrix has the old shape, so it has the old cost.
#
# ## What folds halfway: linear, with neighbours
# The other cell mixes nine convolutions. A convolution is linear in its kernel, so the padded kernels
# add up to one: $K = \sum_i p_i k_i$, times a gain, plus the skip beside the softmax.
#
# > **Predict first.** At the border of a window every operator meets zeros: a 3 x 3 one step before the
# > edge, a 5 x 5 two steps. Is the mixed kernel right there?


# %%
def mixed(cell):
    """One kernel `r r k k` for the whole cell."""
    K = identity(cell.rank, cell.side).to(cell.arch_alpha)  # the skip beside
    for p, operator in zip(cell.probabilities(), cell.operators, strict=True):
        k = operator.kernel()
        m = (cell.side - k.shape[-1]) // 2
        K = K + cell.gain * p * F.pad(k, (m, m, m, m))
    return K


def same_size(z, kernel):
    """Convolve z `B r H W`, zeros around it."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


# %%
with torch.no_grad():
    z = (x @ first.We.T).permute(0, 3, 1, 2)  # B' r H W
    K, maps = mixed(first.cell), first.cell.mix_maps(z)  # nine maps, then their sum
assert torch.allclose(K, first.cell.kernel(), atol=1e-6)
assert torch.allclose(same_size(z, K), maps, atol=1e-5)
{"shape of the mixed kernel": tuple(K.shape)}

# %% [markdown]
# One convolution equals nine, borders included, because the added taps are zero. Two similar shortcuts
# *are* wrong at the border: two convolutions in a row as one larger kernel, and a mean over only those
# neighbours that exist.

# %%
draw = torch.Generator().manual_seed(SEED)
a, b = torch.randn(2, RANK, RANK, 3, 3, generator=draw).to(z)
both = F.conv2d(b.transpose(0, 1), a.flip(2, 3), padding=2).transpose(0, 1)  # a after b
mean = first.cell.operators[first.cell.names.index("avg_pool_3x3")].kernel()
cases = {
    "nine kernels as one": (same_size(z, K), maps),
    "two in a row as one": (same_size(z, both), same_size(same_size(z, b), a)),
    "mean of those that exist": (
        same_size(z, mean),
        F.avg_pool2d(z, 3, 1, 1, count_include_pad=False),
    ),
}


# %%
def error(folded, true):
    """Mean absolute difference at every token `H W`, of the largest value."""
    return ((folded - true).abs().mean((0, 1)) / true.abs().max()).tolist()


figures.borders({name: error(*maps) for name, maps in cases.items()})

# %% [markdown]
# Each picture is a window of 8 x 8 tokens. The two shortcuts are wrong at the border only, so a test on
# the *middle* of an image passes all three. For this reason our pool counts its padding, and separable
# operators pad once.
#
# ## Split the kernel
# Only the centre tap $K_c$ of K acts on single tokens, and it folds: $W = W_0 + s\,W_d K_c W_e$. The
# rest, $K' = K - K_c$, uses neighbours, and no matrix on single tokens can do that. So it stays:
# $y = W x + b + s\,W_d (K' * W_e x)$.
#
# ### Exercise 11.1 - fold the centre tap by hand
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 8 minutes ·
# use `clone`, `K.shape[-1] // 2`
#
# Return the new weight, and what stays of K. Do not change `W0` or `K`: other code uses them.


# %%
def fold_tap(W0, We, Wd, K, s):
    """W `d_out d_in` and K' `r r k k`, from We `r d_in`, Wd `d_out r`, K `r r k k`."""
    raise NotImplementedError("Exercise 11.1")


# %%
checks.ex_11_1(fold_tap)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `K[..., c, c]` is an r x r matrix, and `Wd @ K[..., c, c] @ We` has the shape of `W0`. Without s the
# shapes still fit, so check that it is there.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def fold_tap(W0, We, Wd, K, s):
#     c = K.shape[-1] // 2
#     weight = W0 + s * Wd @ K[..., c, c] @ We
#     rest = K.clone()
#     rest[..., c, c] = 0
#     return weight, rest
# ```
# The tap must leave the kernel, or it counts twice. Folding it saves few multiply-adds. But where K has
# no other tap, the branch disappears.
# </details>

# %% [markdown]
# `fold` does this in every block of a copy, and reports:

# %%
folded, shipped = fold(spatial), fold(pointwise)
folded.report

# %%
half = folded.model.sam.image_encoder.blocks[0].attn.qkv
whole = shipped.model.sam.image_encoder.blocks[0].attn.qkv
with torch.no_grad():
    tap = first.scale * first.Wd @ K[..., 2, 2] @ first.We
assert torch.allclose(half.linear.weight, first.base.weight + tap, atol=1e-5)
assert torch.allclose(whole.weight, folded_weight, atol=1e-5)
{"spatial": type(half).__name__, "pointwise": type(whole).__name__}

# %%
models = {"spatial": (spatial, folded), "pointwise": (pointwise, shipped)}
gaps = {}
with torch.no_grad():
    for name, (adapted, result) in models.items():
        gap = result.model(images).masks - adapted(images).masks
        gaps[name] = gap.abs().max().item()
assert max(gaps.values()) < 1e-3
{f"largest gap in logits, {name}": f"{gap:.0e}" for name, gap in gaps.items()}

# %% [markdown]
# The weights are those by hand, and the masks are unchanged. The pointwise model consists of plain Linears
# again. The spatial one has a class of ours in every block. Who can load which?
#
# ## A file for everybody
# `segment_anything` reads a `.pth` with the names and shapes of the official model. We build that model
# from its own classes, load the file, and predict with its own `SamPredictor`: without a prompt, as in
# training, and with a click.

# %%
folder = Path(tempfile.mkdtemp())
official = shipped.save(folder / "mine.pth")
plain = BUILDERS[setting.model]().eval()
plain.load_state_dict(torch.load(official, weights_only=True))
predictor = SamPredictor(plain)
packages = {type(m).__module__.split(".")[0] for m in plain.modules()}
assert packages == {"segment_anything", "torch"}
{"packages whose classes are used": sorted(packages)}


# %%
def vanilla(image, **prompt):
    """SamPredictor's mask logits `S S` of one image `3 S S`."""
    predictor.set_image(image.permute(1, 2, 0).byte().numpy())
    how = {"multimask_output": False, "return_logits": True}
    return predictor.predict(**prompt, **how)[0][0]


# %%
size = setting.image_size
click = {"point_coords": np.full((1, 2), size / 2), "point_labels": np.ones(1, int)}
points = torch.full((4, 1, 2), size / 2), torch.ones(4, 1, dtype=torch.int)
whole_bytes = images.byte().float()  # SamPredictor takes uint8
with torch.no_grad():
    ours = {"none": pointwise(whole_bytes), "click": pointwise(whole_bytes, points)}

# %%
theirs = {
    "none": np.stack([vanilla(image) for image in images]),
    "click": np.stack([vanilla(image, **click) for image in images]),
}
apart = {p: np.abs(theirs[p] - ours[p].masks[:, 0].numpy()).max() for p in theirs}
assert max(apart.values()) < 1e-3
{prompt: f"{gap:.0e}" for prompt, gap in apart.items()}

# %% tags=["nbval-ignore-output"]
truths = to_batch(data.test[:4], size)[1]
drawn = [ours["none"].masks[i, 0].numpy() > 0 for i in (0, 1)]
drawn += [theirs["none"][i] > 0 for i in (0, 1)]
pairs = [0, 1, 0, 1]
photos = [whole_bytes[i].permute(1, 2, 0).byte().numpy() for i in pairs]
equal = sum(np.array_equal(drawn[i], drawn[i + 2]) for i in (0, 1))
figures.show_masks(
    photos,
    drawn,
    [truths[i].numpy() for i in pairs],
    title=f"Adapted model (left two) and vanilla SAM (right two): {equal} of 2 masks equal",
)

# %% [markdown]
# Everyone who has `segment_anything` can run this file. For ViT-B the whole code is
# `build_sam_vit_b("mine.pth")`. And the spatial one?

# %%
try:
    folded.save(folder / "spatial.pth")
except UserError as refusal:
    print(fill(str(refusal), 88))

# %% [markdown]
# The model is refused, and the message names the blocks. It can be saved as a `.safetensors` with its
# branches. The paper claims no added inference cost. **That is true where every remaining operator is
# pointwise. Where one is spatial, a branch stays.** We cannot say which case is theirs: the texts that we
# could read give no list of operators. How much does a branch cost?
#
# ## The cost in multiply-adds
# The qkv has $d \cdot 3d$ multiply-adds a token. The branch has $r\,(d + 3d)$ for $W_e$ and $W_d$, and
# $(k^2 - 1)\,r^2$ for K'. One could also fold everything into one dense k x k convolution from d to 3d.
# That is exact, too:


# %%
def beside(d, k, r=RANK):
    """Multiply-adds a token of the side branch."""
    return r * (d + 3 * d) + (k * k - 1) * r * r


d = x.shape[-1]
with torch.no_grad():
    dense = first.scale * torch.einsum("or,rsyx,si->oiyx", first.Wd, K, first.We)
    dense[..., 2, 2] += first.base.weight
    y = F.conv2d(x.permute(0, 3, 1, 2), dense, first.base.bias, padding=2)
assert torch.allclose(y.permute(0, 2, 3, 1), first(x), atol=1e-3)
assert folded.report.rows[0].side_macs == beside(d, 5)

# %%
table = {}
for width in (d, 768, 1280):
    for k in (3, 5):
        share = beside(width, k) / (3 * width**2)
        table[f"d = {width}, {k} x {k}"] = {"beside": f"{share:.1%}", "dense": k * k}
Rows(table)

# %% [markdown]
# The unit is the qkv's own cost. On ViT-B (d = 768) a branch adds 0.7 %; folding densely costs 9 or 25
# times the qkv.
#
# ## The cost in milliseconds
# > **Predict first.** The branch has 0.7 % of the qkv's multiply-adds. How much longer does the whole
# > encoder of ViT-B take on a GPU?

# %%
table, recorded = {}, measured("measurements/inference_cuda")
for precision, rows in recorded["rows"].items():
    plain, branch = (rows[f"{n}, fused attention"] for n in ("pointwise", "5x5 beside"))
    turns = ["{:.3f} to {:.3f}".format(*row["spread"]) for row in (plain, branch)]
    table[precision] = {
        "pointwise, ms": plain["ms"],
        "5x5 beside, ms": branch["ms"],
        "ratio": f"{branch['ms'] / plain['ms']:.3f}",
        "turns, pointwise": turns[0],
        "turns, 5x5 beside": turns[1],
    }
Rows(table)

# %% [markdown]
# Recorded on one H200 with fused attention: the whole encoder of ViT-B, 4 images of 1024 pixels, the
# median of 9 turns. The pointwise model has exactly the modules of the vanilla one. *Turns* is the range of
# time over vanilla SAM's with its own attention. With the branch the encoder takes 6 % longer in bf16, and
# there the two ranges lie apart. In fp32 they overlap: 9 turns cannot tell. In bf16 the cost is far more than
# the share of the multiply-adds. A likely reason is memory traffic and launches: a GPU reads and writes every intermediate
# map, and each small operation is launched by itself. Count the numbers that are read from memory and written
# to it for each token:


# %%
def traffic(d, r=RANK):
    """Numbers a token that are read and written: by the qkv Linear, and by the branch."""
    qkv = d + 3 * d
    down, conv, up = d + r, 2 * r, r + 3 * d
    add = 3 * (3 * d)  # read both maps, write their sum
    return {"qkv": qkv, "branch": down + conv + up + add}


traffic(768)

# %% [markdown]
# The branch moves about three times as many numbers as the qkv itself, although it has 0.7 % of its
# multiply-adds. This is a count; we did not measure where the time goes. A kernel that fuses the branch with the qkv
# would avoid most of this traffic. Now the time on this machine, and from two other records:

# %% tags=["nbval-ignore-output"]
encoders = {
    "vanilla": sam.image_encoder,
    "pointwise": shipped.model.sam.image_encoder,
    "5x5 beside": folded.model.sam.image_encoder,
}
one = images[:1].to(sam.device)
work = {name: partial(infer, encoder, one) for name, encoder in encoders.items()}
times = interleaved(work, rounds=15, device=setting.device)
here = {}
for name in ("pointwise", "5x5 beside"):
    pairs = zip(times[name], times["vanilla"], strict=True)
    here[name] = spread([mine / vanilla for mine, vanilla in pairs])

# %% tags=["nbval-ignore-output"]
clocks = {
    "small model, processor": measured("measurements/bench")["folded"]["nano"],
    "two blocks of ViT-B, H200": measured("measurements/bench_cuda")["folded"]["vit_b"],
}
earlier = {}
for place, rows in clocks.items():
    named = {name: row for name, row in rows.items() if name != "vanilla"}
    earlier[place] = {
        name: (row["inference_ratio"], *row["inference_spread"])
        for name, row in named.items()
    }
figures.clock({"here": here} | earlier)

# %% [markdown]
# Dots are medians, bars go from the lowest to the highest of all turns. The pointwise rows have exactly the
# vanilla modules, so their bar shows which differences this measurement cannot resolve. A spatial row
# shows a cost only where its *median* lies outside of that bar. In the records this is so for one row:
# two blocks on the GPU with the cell *on the map*, which works across windows: 1.09. On the processor no
# recorded median lies outside. The two rows *here* change from run to run, most of all on a machine that
# does other work at the same time.

# %% [markdown]
# ## Keep the mixture, or discretise?
# A fold keeps the mixture exactly. To remove the branch, one operator must replace the mixture.
#
# > **Predict first.** Which reading loses more? Will the Dice show it?

# %% tags=["nbval-ignore-output"]
some = to_batch(data.train[:8], size)[0]
read = choose_operators(spatial, some)
named, dice, chosen = {}, {"mixture": mixture_dice}, {}
for reading in ("projection", "argmax"):
    picks = {block: getattr(choice, reading) for block, choice in read.items()}
    named[reading] = {n: (o, read[n].residual[o]) for n, o in picks.items()}
    chosen[reading] = discretise(sam, spatial, some, reading)
    dice[reading] = test_dice(chosen[reading])
figures.discretised(named, dice)

# %% [markdown]
# The dotted line is a loss of one per cent of the energy of the path's output. Projection stays left of it
# by definition; argmax has no such bound. The Dice may not show the loss: this is one seed, there are few
# test images, and the training was short. What remains after a fold of each?


# %% tags=["nbval-ignore-output"]
def remains(model):
    """What a fold leaves: blocks without a branch, multiply-adds a token, the file."""
    result = fold(model)
    rows = result.report.rows
    free = sum(row.side_macs == 0 for row in rows)
    macs = sum(row.side_macs for row in rows)
    ending = ".pth" if result.vanilla else ".safetensors"
    return {
        "blocks without a branch": free,
        "multiply-adds a token": macs,
        "file": ending,
    }


candidates = {"mixture": spatial} | chosen | {"searched pointwise": pointwise}
Rows({name: remains(model) for name, model in candidates.items()})

# %% [markdown]
# A block with `skip` or `conv_1x1` has no branch. `sep_conv_3x3` keeps nearly all of the branch,
# `sep_conv_5x5` all of it. Where projection removes a branch, the block hardly used its neighbours. Where
# it removes none, keep the mixture: the cost is nearly the same, and nothing is lost. Where argmax removes
# a branch, the figure above shows what it lost. If you need a `.pth`, search among pointwise operators
# from the start.
#
# ### Exercise 11.2 - what will fold?
# Difficulty 3 of 5 ·
# importance 4 of 5 ·
# 12 minutes ·
# use `torch.allclose`, `x.clone()`, `torch.zeros_like`
#
# A layer maps `B H W d` to `B H W o` and treats all places alike. You may call it, but not read its
# parameters. Does folding it leave nothing beside W0 ("everything" folds), leave "a side branch", or is
# "nothing" folded?


# %%
def fate(layer, x):
    """One of "everything", "a side branch", "nothing", from calls of `layer` alone."""
    raise NotImplementedError("Exercise 11.2")


# %%
checks.ex_11_2(fate)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Is it linear, up to its bias? Test $f(a + b) + f(0) = f(a) + f(b)$. Scaling by a factor is not enough:
# a median passes that.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Change one token in the middle of the map by *random* numbers, and see which outputs change. A constant
# is not enough: a kernel whose taps sum to zero over the channels does not react to it. Nor is a flat
# map: a 3 x 3 whose taps sum to zero over the places does not react to that.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def fate(layer, x):
#     a, b, zero = x, x.flip(0, 1), layer(torch.zeros_like(x))
#     if not torch.allclose(layer(a + b) + zero, layer(a) + layer(b), atol=1e-6):
#         return "nothing"
#     row, column = x.shape[1] // 2, x.shape[2] // 2
#     changed = x.clone()
#     changed[:, row, column] = torch.randn_like(x[:, row, column])
#     moved = (layer(changed) - layer(x)).abs().amax((0, 3)) > 1e-6
#     moved[row, column] = False
#     return "a side branch" if moved.any() else "everything"
# ```
# Linear, one token: it folds into the weight. Linear, with neighbours: a branch beside the weight. Not
# linear: no kernel can replace it.
# </details>

# %% [markdown]
# ## What does not fold at all
# Conv-LoRA's gate averages the whole window and chooses an expert; a GELU follows. So the output is not a
# linear function of the input, and nothing folds. `fold` reports it and does not change the adapter:

# %%
stuck = fold(adapt(sam, ConvLoRA(), seed=SEED)).report
assert {row.folded for row in stuck.rows} == {"nothing"}
stuck.rows[0].why

# %% [markdown]
# ### Exercise 11.3 - a bug hunt: a right fold that looks wrong
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 8 minutes ·
# use `layer.training`, `layer.eval()`, `layer.train(mode)`
#
# Somebody trains LoRA with dropout, folds after every epoch, and compares. The gap is large. They raised
# the tolerance until the test passed.


# %%
def fold_gap(layer, folded, x):
    """Largest difference between an adapted layer and its fold."""
    return (layer(x) - folded(x)).abs().max()


# %%
layer = dropped(np.random.default_rng(SEED)).train()
right = copy.deepcopy(layer.base)
right.weight += layer.scale * layer.Wd @ layer.We
tokens = torch.randn(2, 3, 3, 6, dtype=torch.float64, generator=draw)
large = [fold_gap(layer, right, tokens).item() > 0.1 for _ in range(3)]
{"gap above 0.1 in three calls": large}

# %% [markdown]
# The fold is right. What is wrong with the comparison?


# %%
def fair_gap(layer, folded, x):
    """The gap between two fixed functions; the layer keeps its mode."""
    raise NotImplementedError("Exercise 11.3: correct the line below")
    return (layer(x) - folded(x)).abs().max()


# %%
checks.ex_11_3(fair_gap)

# %% [markdown]
# <details><summary>Hint</summary>
#
# The gap changes from call to call. What in the layer is random?
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def fair_gap(layer, folded, x):
#     was = layer.training
#     layer.eval()
#     gap = (layer(x) - folded(x)).abs().max()
#     layer.train(was)
#     return gap
# ```
# In train mode a layer can be random: dropout, or Conv-LoRA's noisy gate. A fold equals the layer in
# `eval()`. A raised tolerance would also pass a fold without its scale. And the layer must return to its
# mode, or the next epoch trains without dropout.
# </details>

# %% [markdown]
# ## Automatic masks
# `SamAutomaticMaskGenerator` clicks on a grid and keeps the masks that SAM itself rates highly. It takes
# any folded model of one class, side branches included:


# %% tags=["nbval-ignore-output"]
def automatic(sam, points_per_side=8):
    """All masks of one test image, with thresholds well below SAM's defaults."""
    thresholds = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.3}
    generator = SamAutomaticMaskGenerator(sam, points_per_side, **thresholds)
    return generator.generate(photos[0])


adapted = copy.deepcopy(spatial.sam)
spatial.head.write_back(adapted.mask_decoder)
found = {n: automatic(m) for n, m in (("base", sam), ("folded", folded.model.sam))}
for one, two in zip(automatic(adapted), found["folded"], strict=True):
    assert np.array_equal(one["segmentation"], two["segmentation"])

# %% tags=["nbval-ignore-output"]
with torch.no_grad():
    out = folded.model(whole_bytes[:1])
mask = out.masks[0, 0].numpy() > 0
direct = {"segmentation": mask, "area": mask.sum(), "predicted_iou": out.iou.item()}
figures.unprompted(photos[0], truths[0].numpy(), found | {"no prompt": [direct]})

# %% [markdown]
# The folded model's masks equal those of the adapted model one by one, so the fold is exact here, too.
# On this image (one seed) they are not good masks, and the reason is not the fold. We trained *one* mask, without a prompt. The
# generator clicks, uses SAM's three other masks, and sorts them by a predicted IoU that was not trained
# again. Below each picture stand the true IoU of the best mask and its predicted one.

# %% [markdown]
# ## Three files
# Load each the way its reader would:

# %% tags=["nbval-ignore-output"]
files = {
    "adapter": save_adapter(spatial, folder / "adapter.safetensors"),
    "folded": folded.save(folder / "folded.safetensors"),
    "vanilla": official,
}
with torch.no_grad():
    again = load_adapter(sam, files["adapter"])(images).masks
    alone = load_folded(files["folded"]).to(sam.device)(images).masks
    assert torch.equal(again, spatial(images).masks)
    assert torch.equal(alone, folded.model(images).masks)
{name: f"{path.stat().st_size / 1e6:.1f} MB" for name, path in files.items()}

# %% [markdown]
# | file | needs | keeps |
# |---|---|---|
# | adapter `.safetensors` | `naslora_core` and *its* base | alpha, operators: train on, read, swap |
# | folded `.safetensors` | `naslora_core` | the function, any number of classes |
# | vanilla `.pth` | `segment_anything` | the function; one class, pointwise only |
#
# As adapters, ten tasks on one base are ten small files; folded, they are ten whole models. An adapter is
# useless on another base, so its file holds the base's hash. A damaged file is refused, too:


# %%
def refused(load, *arguments):
    """The error message of a loader."""
    try:
        return str(load(*arguments))
    except UserError as refusal:
        return str(refusal).replace(str(folder), "")


# %%
damaged, content = folder / "damaged.safetensors", files["folded"].read_bytes()
damaged.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
other_base = refused(load_adapter, build_nano(), files["adapter"])
messages = {"adapter, another base": other_base}
messages["folded, one bit changed"] = refused(load_folded, damaged)
Rows({file: {"message": message} for file, message in messages.items()})

# %% [markdown]
# For programs without PyTorch there is ONNX: the encoder with its side branches, for any batch size.
# After `pip install "naslora-core[export]"`,
# `python -m naslora_core export adapter.safetensors mine.onnx` folds, writes the file, and prints how far
# `onnxruntime` is from PyTorch.

# %% tags=["nbval-ignore-output"]
record(
    **{f"dice_{name}": value for name, value in dice.items()},
    gap_fold=max(gaps.values()),
    gap_vanilla=float(max(apart.values())),
    side_share=beside(x.shape[-1], 5) / (3 * x.shape[-1] ** 2),
)

# %% [markdown]
# ## Recap
# *What remains, what does it cost, who can load it?* A pointwise adapter changes only the values of the
# weights: it costs nothing, and `segment_anything` loads it. A spatial one leaves a side branch. On ViT-B
# the branch has 0.7 % of the qkv's multiply-adds, but with it the encoder takes 6 % longer on an H200 in bf16
# (one machine, 9 turns).
# A likely reason is memory traffic and the launch of small operations.
# - A path that is linear and uses one token is a matrix: $W_0 + s\,W_d K W_e$.
# - Linear operators mix to one kernel, borders included. Its centre tap folds, the rest does not.
# - Keeping the mixture loses nothing. Choosing one operator loses a share of the path's output: print it.
# - A gate or an activation does not fold. Compare a fold in `eval()`.

# %% [markdown]
# ## In practice
# - Fold last. An adapter can be trained on, read and swapped; a folded model can only be run.
# - After discretising, `fit` can train the weights alone. Measure whether that helps: in lesson 10's record we
#   cannot tell. After prompt-free training, do not sort automatic masks by predicted IoU.
# - With several classes the fold is a `.safetensors`, because each class has its own mask token.
#
# **Try it on your own data:** set `DATA` to a folder of one class, copy `mine.pth` to a machine that has
# only `segment_anything`, and click.
#
# ## Further reading
# - [RepVGG](https://arxiv.org/abs/2101.03697): branches in training, one convolution at inference.
# - [LoRA](https://arxiv.org/abs/2106.09685): its section 4 makes the "no additional inference
#   latency" argument, for what is linear and per token.
# - [segment_anything](https://github.com/facebookresearch/segment-anything): its classes load our
#   `.pth`, its ONNX script exports the decoder.
#
# Next: all methods, side by side, with everything that a fair comparison asks for.
#
# [<- 10](10_read_the_result.ipynb) | [index](README.md) | [12 ->](12_compare_everything.ipynb)
