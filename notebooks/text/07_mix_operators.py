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
# # 07 · Mix operators, not feature maps
#
# > Nine operators between We and Wd, weighed by a softmax, at the price of one convolution. Then
# > one of your own, and those that refuse to be mixed.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/v0.1.0/notebooks/07_mix_operators.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/v0.1.0?urlpath=lab/tree/notebooks/07_mix_operators.ipynb)
#
# **Cost** 12 s · 0.8 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [06](06_conv_lora.ipynb).

# %% [markdown]
# **The question:** nobody knows which operator belongs between We and Wd. How can one layer hold
# all of them at the price of one?
#
# **You will build** the searchable cell of NAS-LoRA: first as a sum over feature maps, then as one
# convolution, with an operator of your own in it.
#
# **You will be able to**
# - read an operator off its kernel and its impulse response;
# - mix kernels instead of maps, and prove values, gradients and borders equal;
# - say what a start does to LoRA's own path, and which tensors can move first;
# - add an operator in a few lines;
# - test whether an operator can be mixed at all.
#
# | you need | where | minutes |
# |---|---|---|
# | why a softmax mixture learns and a top-1 router does not | [06](06_conv_lora.ipynb) | 30 |
# | $W_e$, $W_d$, the start at zero | [05](05_lora.ipynb) | 30 |
# | convolution with zero padding | any introduction | - |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_core"):
    source = "git+https://github.com/naslora/nas-lora-workbook@v0.1.0"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import time

import torch
import torch.nn.functional as F
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.figures.mixing import Rows, alphas, candidates, price
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_07 import suspects
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import qkv_inputs
from naslora_workbook.research.benchmark import interleaved
from naslora_workbook.research.counting import convolutions

from naslora_core import NASLoRA, NASPCLoRA, adapt, fit, load_sam
from naslora_core.data import open_data, to_batch
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter
from naslora_core.search import OPERATOR_SETS, REGISTRY, STARTS, Cell, operator
from naslora_core.search.operators import Fixed, build, identity

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/
RANK = 4

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and its images, `SEED` draws every random kernel, `DATA` is what the
# features are made of, and `RANK` is how many channels stand between $W_e$ and $W_d$.

# %%
setting = profile(PROFILE)
torch.manual_seed(SEED)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
images, _ = to_batch(data.train[: setting.batch], setting.image_size)
xs = qkv_inputs(Segmenter(sam), images)
[tuple(x.shape) for x in xs]

# %% [markdown]
# What every block's qkv receives, `B' H W d`: in windowed blocks B' counts windows.
#
# ## What the paper leaves open
# NAS-LoRA writes $y = W_0 x + b + W_d \sum_i \mathrm{softmax}(\alpha)_i\, O_i(W_e x)$, with a
# learned vector $\alpha$, one number an operator. The sum is the *cell*. Searching by a softmax began
# with DARTS; PC-DARTS does it on a part of the channels.
#
# | | the paper says | we chose | why |
# |---|---|---|---|
# | operators $O_i$ | no list in any text we could read | nine linear ones (`linear`); those of DARTS as `darts` | linear ones cost one convolution and fold |
# | weights | a softmax | the same | every operator hears the task |
# | $\alpha$ | one vector a cell | the same; sharing is an option | blocks may want different things |
# | start of the operators | nothing | a skip beside the mixture; the plain form is an option | LoRA's own path stays whole (below) |
# | partial channels | a variant, NAS-PC-LoRA | the first r / K are searched | as in PC-DARTS |

# %% [markdown]
# ## Nine operators
# A linear operator *is* its kernel `r r k k` (out, in, rows, columns): `r r` tiles, a row for each
# channel out. Below each, which tokens answer to one impulse.

# %%
names = OPERATOR_SETS["linear"]
candidates(build(names, RANK))

# %% [markdown]
# On the diagonal of the tiles a channel sees itself. The dilated kernel has the reach of a 5x5 with
# the numbers of a 3x3; a separable one repeats a column's tile, rescaled. The 5x5 contains all
# others. The registry knows what each costs, and where it goes when the layer is folded:


# %%
def table(names):
    """A row an operator, from the registry."""
    return Rows(
        {
            op.name: {
                "multiply-adds a token": op.macs(),
                "numbers": sum(p.numel() for p in op.parameters()),
                "folds to": op.folds_to,
            }
            for op in build(names, RANK)
        }
    )


table(names)

# %% [markdown]
# "W0": merged into the frozen weight without a trace; "one k x k convolution": a narrow branch beside
# it. `numbers` are what is learned.
#
# ## A mixture by hand
# The formula as it is read, one convolution an operator:


# %%
def conv(z, kernel):
    """K * z, zeros beyond the border; z `B r H W`."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


def over_maps(kernels, weights, z):
    """sum_i w_i (K_i * z)"""
    return sum(w * conv(z, k) for w, k in zip(weights, kernels, strict=True))


# %% [markdown]
# > **Predict first.** Convolution is linear in its kernel. Put a 1x1 into the centre of a 3x3, add
# > the *kernels*, convolve once. Is the border right, too?

# %%
z = torch.randn(2, RANK, 6, 7)
small, large = (torch.randn(RANK, RANK, side, side) for side in (1, 3))
once = conv(z, 0.3 * F.pad(small, (1, 1, 1, 1)) + 0.7 * large)
torch.allclose(once, over_maps([small, large], [0.3, 0.7], z), atol=1e-5)

# %% [markdown]
# Zeros around a kernel multiply whatever lies there, so it is. In general
# $\sum_i a_i (K_i * z) = \big(\sum_i a_i\, \mathrm{pad}(K_i)\big) * z$.

# %% [markdown]
# ### Exercise 7.1 - one kernel for all
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 8 minutes ·
# use `F.pad`
#
# Return the one kernel in brackets. The sides are odd, in any order; the weights have their softmax
# behind them. Checked on even and odd maps down to one token: values, and gradients of the weights
# and of every kernel.


# %%
def mix(kernels, weights):
    """`r r k k`, k the largest side, from `n` kernels `r r k_i k_i` and weights `n`."""
    raise NotImplementedError("Exercise 7.1")


# %%
checks.ex_7_1(mix)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `F.pad(kernel, (m, m, m, m))` with m half of what is missing on both sides.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def mix(kernels, weights):
#     side = max(k.shape[-1] for k in kernels)
#     padded = [F.pad(k, ((side - k.shape[-1]) // 2,) * 4) for k in kernels]
#     return sum(w * k for w, k in zip(weights, padded, strict=True))
# ```
# Padding and sums are linear, so gradients pass as through the maps. The core weighs all taps in *one*
# matrix product, since a GPU waits for many small operations.
# </details>

# %% [markdown]
# The core's `Cell` mixes kernels. Compared with the slow loop: the output, and the gradients of z,
# of alpha and of every operator's numbers.


# %%
def outcome(way, cell, z):
    """The output and all gradients."""
    wanted, out = [z, *cell.parameters()], way(z)
    return [out, *torch.autograd.grad(out.square().sum(), wanted)]


def same(cell, height, width):
    """Whether kernels and maps agree on a `height width` map."""
    z = torch.randn(2, RANK, height, width).double().requires_grad_()
    kernels = [op.kernel() for op in cell.operators]
    slow = outcome(lambda z: over_maps(kernels, cell.arch_alpha.softmax(0), z), cell, z)
    return all(map(torch.allclose, outcome(cell, cell, z), slow))


# %%
cell = Cell(RANK, "linear", start="plain").double()
torch.nn.init.normal_(cell.arch_alpha)
equal = {size: same(cell, *size) for size in ((1, 1), (4, 6), (9, 9))}
assert all(equal.values())
equal

# %% [markdown]
# ## What more operators cost
# Equal, on every map. Now count the convolutions of (maps, kernels), then take turns at a step,
# forward and backward, in processor time.
#
# > **Predict first.** Nine operators instead of three: how much longer does each way take?


# %%
first = ("skip", "conv_3x3", "conv_5x5")
order = [*first, *(n for n in names if n not in first)]
cells = {n: Cell(RANK, tuple(order[:n]), "plain") for n in (3, 5, 7, 9)}
z = torch.randn(128, RANK, *xs[0].shape[1:3], requires_grad=True)
{n: (convolutions(c.mix_maps, z), convolutions(c, z)) for n, c in cells.items()}

# %% tags=["nbval-ignore-output"]
pairs = cells.items()
work = {("maps", n): lambda c=c: c.mix_maps(z).sum().backward() for n, c in pairs}
work |= {("kernels", n): lambda c=c: c(z).sum().backward() for n, c in pairs}
times = interleaved(work, rounds=20, clock=time.process_time)
price(times)

# %% [markdown]
# Maps pay for every operator. Kernels pay for *one* convolution with the largest kernel, and for
# assembling it, a constant that no number of tokens enlarges.

# %% [markdown]
# ## The start matters
# Nine random operators share the softmax, and only one of them is the identity that LoRA lives on.
#
# > **Predict first.** How much of z itself is left in a new cell's output? And how loud is the output
# > beside z?


# %%
@torch.no_grad()
def passed(start, names, z, draws=100):
    """Means over new cells: the factor on z in the output, and the output's norm."""
    found = []
    for _ in range(draws):
        out = Cell(RANK, names, start)(z)
        found.append([(out * z).sum() / z.square().sum(), out.norm() / z.norm()])
    own, norm = torch.tensor(found).mean(0).tolist()
    return {"z itself": round(own, 2), "norm": round(norm, 2)}


# %%
noise, lists = torch.randn(1, RANK, 24, 24), {3: first, 9: names}
choices = [(n, start) for n in lists for start in STARTS]
starts = {f"{n}, {s}": passed(s, lists[n], noise) for n, s in choices}
Rows(starts)

# %% [markdown]
# *Plain*, the paper's form, leaves z about 1 / n (the 3x3 mean adds a little). *Identity* starts
# every learnable kernel as a skip; `none` and the mean still take their shares. *Beside* keeps a skip
# outside the softmax and scales the mixture by $\sqrt n$: z is whole (the skip inside adds to it), the
# mixture can be heard. Training can repair a weak path at the price of steps; how many, only paired
# runs tell.

# %% [markdown]
# ## In the real layer
# Now between $W_e$ and $W_d$ of every qkv. As ever: does it start as the base, and how many numbers
# does a layer train?

# %%
model = adapt(sam, NASLoRA(RANK), classes=len(data.classes), seed=SEED)
layer = model.sam.image_encoder.blocks[0].attn.qkv
with torch.no_grad():
    moved = (model(images).masks - Segmenter(sam)(images).masks).abs().max()
r, n = RANK, len(names)
low_rank = r * (layer.in_features + layer.out_features)
trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
assert moved == 0 and trained == low_rank + 46 * r**2 + 34 * r + n
{"moved": float(moved), "LoRA": low_rank, "operators, alpha": trained - low_rank}

# %% [markdown]
# 46 and 34 are the nine operators' taps over pairs of channels and over single ones. Like the 3x3
# of lesson 06, they do not grow with the layer.
#
# > **Predict first.** At the first step, which of We, Wd, alpha and the operators have a gradient?


# %%
def can_move(layer, x):
    """Which parts get a gradient that is not zero from a loss on the layer's output."""
    layer.zero_grad()
    layer(x).square().mean().backward()
    parts = {"We": [layer.We], "Wd": [layer.Wd], "alpha": [layer.cell.arch_alpha]}
    parts["operators"] = list(layer.cell.operators.parameters())
    return {name: any(p.grad.any() for p in ps) for name, ps in parts.items()}


before = can_move(layer, xs[0])
with torch.no_grad():
    layer.Wd -= layer.Wd.grad
after = can_move(layer, xs[0])
assert list(before.values()) == [False, True, False, False] and all(after.values())
{"first step": before, "second step": after}

# %% [markdown]
# Exactly zero, not small: all three stand in front of $W_d = 0$. So no search can learn anything of
# alpha at its first step, whatever the data say.

# %% [markdown]
# ## Move alpha
# One real feature map of a global block, one new cell. Live, nine sliders (Tab, then arrow keys);
# on a page, equal alphas and three operators raised.

# %%
blocks = zip(sam.image_encoder.blocks, xs, strict=True)
x = next(x for block, x in blocks if block.window_size == 0)[:1].cpu()
z = (x @ torch.randn(x.shape[-1], RANK)).permute(0, 3, 1, 2)
raised = ("conv_1x1", "avg_pool_3x3", "dil_conv_3x3")
alphas(Cell(RANK, "linear", "plain"), z, raised)

# %% [markdown]
# From above: the one kernel that is convolved, where it looks, what becomes of a channel; over each
# column the largest probability. Alpha moves smoothly between operators, and so does everything
# behind it: that is what makes it learnable.

# %% [markdown]
# ## Add an operator
# Edges are local contrast: a token against its four neighbours.


# %%
@operator("laplacian")
class Laplacian(Fixed):
    """Four neighbours minus four times the token."""

    side = 3

    def define(self, rank):
        return identity(rank) * torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])

    def macs(self):
        return 5 * self.rank


table(("skip", "laplacian"))

# %% [markdown]
# That is all. A handful of steps of search:

# %% tags=["nbval-ignore-output"]
method = NASLoRA(RANK, operators=(*names, "laplacian"))
searched = adapt(sam, method, classes=len(data.classes), seed=SEED)
result = fit(searched, data, steps=10, batch=setting.batch, seed=SEED, progress=False)
REGISTRY.pop("laplacian")  # so that running this lesson twice is running it once
figures.operators(result.genotype)

# %% [markdown]
# It has its row in every block of the genotype, the result of a search. So few steps decide nothing:
# bars close to the dotted line are a search that has hardly begun. The diamond is a reading of the
# mixed kernel, lesson 08's subject.

# %% [markdown]
# ## Search fewer channels
# NAS-PC-LoRA searches the first r / K channels (`partial` is K) and copies the others. K must divide
# r, and two channels at least must be searched, else no channel hears another.


# %%
def refused(partial):
    """What is said to a setting that cannot be; None if it can."""
    try:
        NASPCLoRA(RANK, partial=partial)
    except UserError as error:
        return str(error)


{f"K = {partial}": refused(partial) for partial in (2, RANK - 1, RANK)}

# %% [markdown]
# ### Exercise 7.2 - the shuffle that changes nothing
# Difficulty 3 of 5 ·
# importance 3 of 5 ·
# 8 minutes ·
# use pencil, `argsort` or `unflatten`
#
# PC-DARTS shuffles channels between its layers, so that others are searched next. Here $W_d$ follows:
# `shuffle` below, then $W_d$, is some other $W_d'$ without a shuffle. Return it.


# %%
def shuffle(z, groups):
    """Deal the channels of `groups` groups out in turn; z `B r H W`."""
    return z.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def without_shuffle(Wd, groups):
    """Wd' `d r` with Wd shuffle(z) = Wd' z; Wd `d r`."""
    raise NotImplementedError("Exercise 7.2")


# %%
checks.ex_7_2(without_shuffle)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Shuffle the channel numbers 0 .. r - 1 themselves: entry j says which channel stands at place j.
# Wd' needs the places by channel, which is the inverse.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def without_shuffle(Wd, groups):
#     channels = torch.arange(Wd.shape[1]).view(1, -1, 1, 1)
#     return Wd[:, shuffle(channels, groups).flatten().argsort()]
# ```
# A permutation in front of a learned matrix is a renaming of its columns: no output, gradient norm
# or optimum changes. The core offers the shuffle and proves it idle.
# </details>

# %% [markdown]
# ## What cannot be mixed
# To be a kernel, an operator must be additive, and a wider margin of zeros around the map must change
# nothing. How far off are three of ours, and those of DARTS?


# %%
@torch.no_grad()
def failures(op):
    """How far an operator is from a convolution, relative to what it says."""
    u, v = torch.randn(2, 1, RANK, 12, 12)
    wide = op(F.pad(u, (9,) * 4))[..., 9:-9, 9:-9]
    gaps = {"not additive": op(u + v) - op(u) - op(v), "border": wide - op(u)}
    return {name: f"{gap.norm() / op(u).norm():.0%}" for name, gap in gaps.items()}


darts = [op.eval() for op in build(OPERATOR_SETS["darts"], RANK) if not op.linear]
asked = [*build(("conv_3x3", "sep_conv_5x5", "avg_pool_3x3"), RANK), *darts]
Rows({op.name: failures(op) for op in asked})

# %% [markdown]
# Ours fail nowhere. Behind a ReLU or a maximum nothing is additive, and two padded convolutions in a
# row feel the border. The average that counts no padding *is* additive, but divides by fewer tokens
# there. Such operators are computed one by one and added to the mixture:

# %%
odd = ("skip", "conv_3x3", "conv_5x5", *(op.name for op in darts[:3]))
cell = Cell(RANK, odd).eval()
z = torch.randn(1, RANK, 8, 8)
assert torch.allclose(cell(z), cell.mix_maps(z), atol=1e-5)
{"one kernel": cell.linear, "convolutions": convolutions(cell, z)}

# %% [markdown]
# One convolution for the mixture of three; the others are those inside DARTS' separable operator.
#
# ### Exercise 7.3 - a bug hunt: four mixers, one honest
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `over_maps`, `torch.allclose`
#
# Each has `.kernels`, `.alpha`, and promises $\sum_i \mathrm{softmax}(\alpha)_i K_i * z$. In the middle
# of a flat map all agree. One puts small kernels into a corner of the large one, one averages without
# counting padding, one forgot its softmax. Write the alarm that names which it is.

# %%
with torch.no_grad():
    flat = torch.ones(1, 3, 9, 9)
    answers = {n: mixer(flat)[0, :, 4, 4] for n, mixer in suspects(SEED).items()}
{n: torch.allclose(y, answers["A"], atol=1e-4) for n, y in answers.items()}


# %%
def alarm(mixer, z):
    """Return "shifted", "border", "no softmax" or "honest"; z `B r H W`."""
    raise NotImplementedError("Exercise 7.3")


# %%
checks.ex_7_3(alarm)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Compare with `over_maps(mixer.kernels, mixer.alpha.softmax(0), z)` on a map that is not flat; then
# only inside, `[..., 2:-2, 2:-2]`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# The forgotten softmax is right as long as alpha stands where it started. What does a softmax not
# notice?
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# @torch.no_grad()
# def alarm(mixer, z):
#     out = mixer(z)
#     gap = (out - over_maps(mixer.kernels, mixer.alpha.softmax(0), z)).abs()
#     if gap[..., 2:-2, 2:-2].max() > 1e-4:
#         return "shifted"
#     if gap.max() > 1e-4:
#         return "border"
#     mixer.alpha += 1
#     return "honest" if torch.allclose(mixer(z), out, atol=1e-4) else "no softmax"
# ```
# Such a search trains like any other. But nothing makes its operators compete: raising one costs the
# others nothing.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    z_left_by_a_plain_start=starts["9, plain"]["z itself"],
    z_left_beside=starts["9, beside"]["z itself"],
    operators_and_alpha=trained - low_rank,
    nine_operators_by_maps_ms=min(times["maps", 9]),
    nine_operators_by_kernels_ms=min(times["kernels", 9]),
)

# %% [markdown]
# ## Recap
# *How can one layer hold all operators at the price of one?* By being one kernel: where every operator
# is a convolution, their mixture is a convolution, too, exactly.
# - Pad, weigh, convolve once: equal in values, gradients and borders.
# - The cost is one convolution with the largest kernel, and a little assembling.
# - A plain start leaves LoRA's own path 1 / n; a skip beside the mixture keeps it whole.
# - With $W_d = 0$ alpha cannot move at the first step.
# - What is not additive, or feels the border, stands beside.

# %% [markdown]
# ## In practice
# - The trained mixture *is* one 5x5, so show every search beside a single 5x5. What searching adds is
#   an answer one can read, if it can be trusted.
# - Test your operator's `kernel` against torch's own layer, border included. One that learns numbers
#   of a new shape also needs a class in `search/classes.py`, or projection cannot read it.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`; or replace the
# Laplacian by what your images ask for.
#
# ## Further reading
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the equation of this lesson, on nine benchmarks.
# - [DARTS](https://arxiv.org/abs/1806.09055): where a softmax over operators began.
# - [PC-DARTS](https://arxiv.org/abs/1907.05737): partial channels, and the shuffle.
# - [RepVGG](https://arxiv.org/abs/2101.03697): another use of the fact that parallel convolutions add
#   up to one.
#
# Next: does the largest alpha name the right operator? Plant one whose answer is known, and see.
#
# [<- 06](06_conv_lora.ipynb) | [index](README.md) | [08 ->](08_search_with_a_known_answer.ipynb)
