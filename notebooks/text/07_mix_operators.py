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
# > We mix nine operators between We and Wd, weighted by a softmax. The mixture is one convolution.
# > Then we add an operator of our own, and see which operators cannot be mixed.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/07_mix_operators.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/07_mix_operators.ipynb)
#
# **Cost** 12 s · 0.8 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [06](06_conv_lora.ipynb).

# %% [markdown]
# **The question:** nobody knows which operator belongs between We and Wd. How can one layer contain
# nine operators and cost as much as one?
#
# **You will build** the searchable cell of NAS-LoRA: first as a sum of feature maps, then as one
# convolution, with an operator of your own in it.
#
# **You will be able to**
# - read an operator off its kernel and its impulse response;
# - mix kernels instead of feature maps, and show that values, gradients and borders are equal;
# - say how a new cell changes LoRA's own path, and which tensors can move first;
# - predict and measure how fast each tap of the mixed kernel learns;
# - test whether an operator can be mixed at all.
#
# | you need | where | minutes |
# |---|---|---|
# | why a softmax mixture gets gradients from the task and a top-1 router does not | [06](06_conv_lora.ipynb) | 85 |
# | $W_e$, $W_d$, the start at zero | [05](05_lora.ipynb) | 80 |
# | convolution with zero padding | any introduction | - |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import time
from statistics import fmean

import torch
import torch.nn.functional as F
from naslora_workbook import figures, profile
from naslora_workbook.figures.mixing import Rows, alphas, candidates, price, tap_steps
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.exercises.lesson_07 import suspects
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import qkv_inputs
from naslora_workbook.research.benchmarks.measurement import convolutions, interleaved
from naslora_workbook.research.experiment_runs import contrast, experiment, iou

from naslora_core import NASLoRA, NASPCLoRA, adapt, load_sam
from naslora_core.data import open_data, to_batch
from naslora_core.errors import UserError
from naslora_core.sam import Segmenter
from naslora_core.search import OPERATOR_SETS, REGISTRY, STARTS, Cell, operator
from naslora_core.search.operator_registry import build, identity
from naslora_core.search.operators import Fixed

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/
RANK = 4

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses the model and its images. `SEED` draws every random kernel. The features come
# from images of `DATA`. `RANK` is the number of channels between $W_e$ and $W_d$.
#
# The cell that we build stands between $W_e$ and $W_d$, beside the frozen qkv:

# %%
figures.growing_diagram("nas_lora")

# %%
setting = profile(PROFILE)
torch.manual_seed(SEED)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
images, _ = to_batch(data.train[: setting.batch], setting.image_size)
xs = qkv_inputs(Segmenter(sam), images)
[tuple(x.shape) for x in xs]

# %% [markdown]
# These are the shapes of every qkv's input, `B' H W d`. In windowed blocks B' counts windows.
#
# ## What the paper leaves open
# NAS-LoRA writes $y = W_0 x + b + W_d \sum_i \mathrm{softmax}(\alpha)_i\, O_i(W_e x)$. The vector
# $\alpha$ is learned and has one number for each operator. The sum is called the *cell*. Its input is
# $z = W_e x$, r numbers for each token. The paper DARTS introduced the search by a softmax; PC-DARTS
# applies it to a part of the channels.
#
# | | the paper says | we chose | why |
# |---|---|---|---|
# | operators $O_i$ | the texts that we could read give no list | nine linear ones (`linear`); those of DARTS as `darts` | linear ones cost one convolution and fold |
# | weights | a softmax | the same | every operator gets a gradient from the task |
# | $\alpha$ | one vector for each cell | the same; sharing is an option | blocks may need different operators |
# | start of the operators | nothing | a skip beside the mixture; the plain form is an option | all of z passes from the start (see below) |
# | partial channels | a variant, NAS-PC-LoRA | the first r / K are searched | as in PC-DARTS |

# %% [markdown]
# ## Nine operators
# A linear operator *is* its kernel, `r r k k` (channel out, channel in, rows, columns). The upper row
# shows each kernel as `r` by `r` tiles: one row of tiles for each channel out; red is positive, blue
# negative. The lower row shows
# the impulse response: which tokens change when one token changes.

# %%
names = OPERATOR_SETS["linear"]
candidates(build(names, RANK))

# %% [markdown]
# Tiles on the diagonal connect a channel with itself. One entry of a kernel is called a *tap*. The
# dilated kernel reaches as far as a 5x5 and has the nine taps of a 3x3. A separable kernel (`sep`) is
# the product of one kernel for each channel and a 1x1. Each of the nine can be written as a 5x5. What
# does each one cost (MACs are multiply-adds), and what does it become when the layer is folded?


# %%
def describe(op):
    """One row of the table: cost, learned numbers, and what an operator folds to."""
    return {
        "MACs a token": op.macs(),
        "learned numbers": sum(p.numel() for p in op.parameters()),
        "folds to": op.folds_to,
    }


Rows({op.name: describe(op) for op in build(names, RANK)})

# %% [markdown]
# "W0" means: folding adds the operator to the frozen weight, and nothing else remains. "One k x k
# convolution" means: a narrow convolution remains beside the frozen weight.
#
# ## A mixture by hand
# First the formula as written, with one convolution for each operator:


# %%
def conv(z, kernel):
    """K * z, zeros beyond the border; z `B r H W`."""
    return F.conv2d(z, kernel, padding=kernel.shape[-1] // 2)


def over_maps(kernels, weights, z):
    """sum_i w_i (K_i * z)"""
    return sum(w * conv(z, k) for w, k in zip(weights, kernels, strict=True))


# %% [markdown]
# > **Predict first.** Convolution is linear in its kernel. Put a 1x1 kernel into the centre of a 3x3,
# > add the two *kernels*, and convolve once. Is the result right at the border of the map, too?

# %%
z = torch.randn(2, RANK, 6, 7)
small = torch.randn(RANK, RANK, 1, 1)
large = torch.randn(RANK, RANK, 3, 3)
one_kernel = 0.3 * F.pad(small, (1, 1, 1, 1)) + 0.7 * large
torch.allclose(conv(z, one_kernel), over_maps([small, large], [0.3, 0.7], z), atol=1e-5)

# %% [markdown]
# Yes. The added taps are zero, so they contribute nothing anywhere. In general
# $\sum_i a_i (K_i * z) = \big(\sum_i a_i\, \mathrm{pad}(K_i)\big) * z$.

# %% [markdown]
# ### Exercise 7.1 - one kernel for all
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 8 minutes ·
# use `F.pad`
#
# Return the kernel in brackets. The sides are odd and come in any order. The weights are already a
# softmax. The check compares values on several map sizes, and the gradients of the weights and of
# every kernel.


# %%
def mix(kernels, weights):
    """`r r k k`, k the largest side, from `n` kernels `r r k_i k_i` and weights `n`."""
    raise NotImplementedError("Exercise 7.1")


# %%
checks.ex_7_1(mix)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `F.pad(kernel, (m, m, m, m))`, where m is half of the missing side length.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def mix(kernels, weights):
#     side = max(kernel.shape[-1] for kernel in kernels)
#     mixed = 0
#     for weight, kernel in zip(weights, kernels, strict=True):
#         m = (side - kernel.shape[-1]) // 2
#         mixed = mixed + weight * F.pad(kernel, (m, m, m, m))
#     return mixed
# ```
# Padding and sums are linear, so the gradients equal those of the slow loop.
# </details>

# %% [markdown]
# The core's `Cell` mixes kernels. The next cells compare it with the slow loop: the output, and the
# gradients of z, of alpha and of every operator's numbers.


# %%
def output_and_gradients(way, cell, z):
    """The output of `way(z)`, then the gradients of z and of the cell's parameters."""
    out = way(z)
    return [out, *torch.autograd.grad(out.square().sum(), [z, *cell.parameters()])]


def same(cell, height, width):
    """Whether mixing kernels equals mixing maps on a `height width` map."""
    z = torch.randn(2, RANK, height, width).double().requires_grad_()
    kernels = [op.kernel() for op in cell.operators]
    weights = cell.arch_alpha.softmax(0)
    slow = output_and_gradients(lambda z: over_maps(kernels, weights, z), cell, z)
    fast = output_and_gradients(cell, cell, z)
    return all(map(torch.allclose, fast, slow))


# %%
cell = Cell(RANK, "linear", start="plain").double()
torch.nn.init.normal_(cell.arch_alpha)
equal = {size: same(cell, *size) for size in ((1, 1), (4, 6), (9, 9))}
assert all(equal.values())
equal

# %% [markdown]
# Both ways are equal on these maps.
#
# ## What more operators cost
# First count the convolutions that each way performs, for 3, 5, 7 and 9 operators: (maps, kernels).
#
# > **Predict first.** How much longer do forward and backward pass of a cell take with nine operators than
# > with three, in each way?


# %%
first = ("skip", "conv_3x3", "conv_5x5")
order = [*first, *(name for name in names if name not in first)]
cells = {n: Cell(RANK, tuple(order[:n]), "plain") for n in (3, 5, 7, 9)}
z = torch.randn(128, RANK, *xs[0].shape[1:3], requires_grad=True)
{n: (convolutions(c.mix_maps, z), convolutions(c, z)) for n, c in cells.items()}

# %% tags=["nbval-ignore-output"]
work = {}
for n, c in cells.items():
    work["maps", n] = lambda c=c: c.mix_maps(z).sum().backward()  # this round's c
    work["kernels", n] = lambda c=c: c(z).sum().backward()
times = interleaved(work, rounds=20, clock=time.process_time)
price(times)

# %% [markdown]
# Mixing maps costs one convolution for each operator. Mixing kernels costs *one* convolution with the
# largest kernel, and the building of that kernel. By construction, the building does not depend on the
# number of tokens.

# %% [markdown]
# ## The start matters
# In LoRA, z goes to Wd unchanged. In a new cell, the identity is only one of nine operators that
# share the softmax. How much of z itself is left in a new cell's output? Write the output as $c\,z$ and a rest
# that is orthogonal to z. The *factor on z* is $c = \langle out, z\rangle / \langle z, z\rangle$.
#
# > **Predict first.** How large is the factor on z in a new cell? How large is the output, compared
# > with z?


# %%
@torch.no_grad()
def passed(start, names, z, draws=100):
    """Means over new cells: the factor on z, and the output's norm over z's."""
    found = []
    for _ in range(draws):
        out = Cell(RANK, names, start)(z)
        found.append([(out * z).sum() / z.square().sum(), out.norm() / z.norm()])
    own, norm = torch.tensor(found).mean(0).tolist()
    return {"factor on z": round(own, 2), "norm": round(norm, 2)}


# %%
noise = torch.randn(1, RANK, 24, 24)
starts = {}
for start in STARTS:
    starts[f"3 operators, {start}"] = passed(start, first, noise)
    starts[f"9 operators, {start}"] = passed(start, names, noise)
Rows(starts)

# %% [markdown]
# - *Plain* is the paper's form. It leaves about 1 / n of z, plus a little from the 3x3 mean.
# - *Identity* starts every learnable kernel as a skip. Only `none` and the mean reduce z.
# - *Beside* is our default. It keeps a skip outside the softmax and multiplies the mixture by
#   $\sqrt n$. All of z passes, and the mixture of nine adds about .4 of it. So the same step of Wd
#   changes the layer's output more than in LoRA.
#
# This compares starts, not results: training can change a weak start, and that takes steps.

# %% [markdown]
# ## In the real layer
# Now the cell stands between $W_e$ and $W_d$ of every qkv. Does the model start as the base, and how
# many numbers does each layer train?

# %%
model = adapt(sam, NASLoRA(RANK), classes=len(data.classes), seed=SEED)
layer = model.sam.image_encoder.blocks[0].attn.qkv
with torch.no_grad():
    moved = (model(images).masks - Segmenter(sam)(images).masks).abs().max()
low_rank = RANK * (layer.in_features + layer.out_features)
trained = sum(p.numel() for p in layer.parameters() if p.requires_grad)
assert moved == 0 and trained == low_rank + 46 * RANK**2 + 34 * RANK + len(names)
{"change of the masks": float(moved), "LoRA": low_rank, "cell": trained - low_rank}

# %% [markdown]
# The masks are exactly the base's. The cell has 46 r² + 34 r + 9 parameters: 46 taps for each pair of
# channels, 34 for each channel, 9 alphas. They depend on the rank r, not on the layer's width.
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
# What We, alpha and the operators compute is multiplied by $W_d = 0$, so their gradients are exactly
# zero. With this start no search can learn anything about alpha at its first step, whatever the data
# are.

# %% [markdown]
# ## Move alpha
# We give one feature map of a global block to a new cell. In a running notebook there are nine sliders,
# one for each alpha (Tab, then arrow keys). Elsewhere you see equal alphas, then one operator raised at
# a time.

# %%
blocks = zip(sam.image_encoder.blocks, xs, strict=True)
x = next(x for block, x in blocks if block.window_size == 0)[:1].cpu()
z = (x @ torch.randn(x.shape[-1], RANK)).permute(0, 3, 1, 2)
raised = ("conv_1x1", "avg_pool_3x3", "dil_conv_3x3")
alphas(Cell(RANK, "linear", "plain"), z, raised)

# %% [markdown]
# The three pictures (from above, or from the left) are the one kernel that is convolved, the size of
# each of its taps, and one channel of the output. Each has its own colour scale. The number in the
# title is the largest probability. A small change of alpha changes the output a little, so alpha can
# be learned by gradient descent.

# %% [markdown]
# ## One 5x5 with four learning rates
# The mixture is one 5x5 kernel K. How does the cell differ from a *free* 5x5, trained without a search?
# Its steps are different: several operators have a learned number at the same tap, and K moves by the sum
# of their steps.
#
# **Derive.** In its first step Adam moves every parameter by its learning rate $\eta$, whatever the size of
# its gradient. At equal alphas each operator has weight $g / n$, with $g = \sqrt n$ in the default
# start: with nine operators, 1/3. A *dense* operator learns each of its taps as a parameter (1x1, 3x3,
# 5x5, dilated). If m(t) dense operators learn a parameter at tap t, all move the same way:
#
# $$\Delta K_t = \frac{g}{n}\, m(t)\, \eta = \frac{m(t)}{3}\, \eta$$
#
# Now we measure it. The cell and the free kernel start from the same numbers and get the same gradient.
# Alpha is frozen. Each makes one step of AdamW.
#
# > **Predict first.** A free 5x5 moves each tap by $\eta$. Count m: how far does the cell move its
# > centre, and how far a corner? The two separable operators are products; leave them out.


# %%
def own_taps(op, side=5):
    """1 where a dense operator learns a parameter of its own, `side side`; else 0."""
    if not op.name.startswith(("conv", "dil")):
        return torch.zeros(side, side)
    margin = (side - op.side) // 2
    taps = (op.kernel().detach() != 0).any(0).any(0).float()
    return F.pad(taps, (margin, margin, margin, margin))


cell = Cell(RANK)
predicted = sum(own_taps(op) for op in cell.operators) * cell.gain / len(names)


# %%
def step_ratio(seed, rate=3e-3):
    """Steps of the cell's taps, divided by those of a free 5x5: `5 5`."""
    torch.manual_seed(seed)
    cell, gradient = Cell(RANK), torch.randn(RANK, RANK, 5, 5)
    start = cell.kernel().detach().clone()
    free = torch.nn.Parameter(start.clone())
    adam = torch.optim.AdamW([*cell.operators.parameters(), free], rate, weight_decay=0)
    ((cell.kernel() + free) * gradient).sum().backward()
    adam.step()
    downhill = -gradient.sign()
    moved = ((cell.kernel().detach() - start) * downhill).mean((0, 1))
    return moved / ((free.detach() - start) * downhill).mean((0, 1))


# %%
measured = torch.stack([step_ratio(seed) for seed in range(40)]).mean(0)
tap_steps(predicted, measured)

# %% [markdown]
# Measured over 40 draws: the centre moves 1.42 times as far as a free 5x5's, the inner ring .75, the other
# taps of the dilated kernel .70, all others .37. The separable operators add the rest to our count. So in
# its first step the cell with alpha frozen moves like **one 5x5 with a learning rate for every tap**: most
# at the token itself, then at its neighbours. (Later, Adam's averages and the separable products change
# these rates.)
#
# What does alpha add? It can raise one operator's share, and so change these rates during training.
# It adds no function that a free 5x5 does not have. This predicts that a search over these nine
# operators, a frozen alpha and one free 5x5 score about the same. A difference between them would refute
# it. Lesson [12](12_compare_everything.ipynb) tests it.

# %% [markdown]
# ## Add an operator
# The Laplacian measures edges: it compares a token with its four neighbours.


# %%
@operator("laplacian")
class Laplacian(Fixed):
    """Four neighbours minus four times the token."""

    side = 3

    def define(self, rank):
        return identity(rank) * torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])

    def macs(self):
        return 5 * self.rank


# %% [markdown]
# One decorated class is enough. The operator has a row in the table, and a cell of ten operators
# still performs one convolution:

# %%
ten = Cell(RANK, (*names, "laplacian"))
print("convolutions:", convolutions(ten, z))
REGISTRY.pop("laplacian")  # so that this cell and the one above can run again
Rows(
    {op.name: describe(op) for op in ten.operators if op.name in ("skip", "laplacian")}
)

# %% [markdown]
# ## Search fewer channels
# NAS-PC-LoRA searches the first r / K channels (`partial` is K) and copies the others. K must divide
# r. At least two channels must be searched; with one, no channel could influence another.


# %%
def answer(partial):
    """What the core says to a setting: "possible", or its error message."""
    try:
        NASPCLoRA(RANK, partial=partial)
    except UserError as error:
        return str(error)
    return "possible"


Rows({f"K = {k}": {"answer of the core": answer(k)} for k in (2, RANK - 1, RANK)})

# %% [markdown]
# ### Exercise 7.2 - the shuffle that changes nothing
# Difficulty 3 of 5 ·
# importance 3 of 5 ·
# 8 minutes ·
# use pen and paper, `argsort` or `unflatten`
#
# PC-DARTS shuffles channels between its layers, so that other channels are searched next. In our
# layer $W_d$ follows the shuffle. Show that this shuffle adds nothing: return the $W_d'$ that gives
# the same output without it.


# %%
def shuffle(z, groups):
    """Take one channel of each of `groups` groups in turn; z `B r H W`."""
    return z.unflatten(1, (groups, -1)).transpose(1, 2).flatten(1, 2)


def without_shuffle(Wd, groups):
    """Wd' `d r` with Wd shuffle(z) = Wd' z; Wd `d r`."""
    raise NotImplementedError("Exercise 7.2")


# %%
checks.ex_7_2(without_shuffle)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Shuffle the channel numbers 0 .. r - 1. Entry j then says which channel stands at place j. Wd' needs
# the inverse: the place of each channel.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def without_shuffle(Wd, groups):
#     channels = torch.arange(Wd.shape[1]).view(1, -1, 1, 1)
#     places = shuffle(channels, groups).flatten().argsort()
#     return Wd[:, places]
# ```
# A permutation in front of a learned matrix only renames its columns. It changes no output that can
# be reached, and no optimum. So the core has no shuffle.
# </details>

# %% [markdown]
# ## Where the cells stand
# Recorded: camouflage, 100 steps, seeds 0, 1, 2; rank 4 and all six blocks, unless the row differs.
#
# > **Predict first.** Where is the cell ahead of LoRA?

# %%
placed = experiment("where", "oracle")
PLACES = {"all blocks": "", "rank 2": "_rank_2", "rank 16": "_rank_16"}
PLACES |= {"first three": "_early", "last three": "_late", "two global": "_global"}
table, level = {}, 1 - 0.05 / len(PLACES)
for label, where in PLACES.items():
    arms = {m: f"{m}{where}_100_steps" for m in ("searched", "lora")}
    means = {m: fmean(iou(placed, "camouflage", arm)) for m, arm in arms.items()}
    lead = contrast(placed, "camouflage", *arms.values(), level)
    table[label] = {m: f"{x:.3f}" for m, x in means.items()} | {"difference": lead}
Rows(table)

# %% [markdown]
# In no row can we tell the cell from LoRA. In the two global blocks alone LoRA's mean is .106 lower than in all six
# (one domain, three seeds).
#
# ## What cannot be mixed
# Two conditions are necessary for a convolution: the operator is additive, and a wider border of zeros
# around the map changes nothing. We test three of our operators and six of DARTS:


# %%
@torch.no_grad()
def failures(op):
    """How far an operator is from a convolution, in percent of its output."""
    u, v = torch.randn(2, 1, RANK, 12, 12)
    wide = op(F.pad(u, (9, 9, 9, 9)))[..., 9:-9, 9:-9]
    gaps = {"not additive": op(u + v) - op(u) - op(v), "border": wide - op(u)}
    return {name: f"{gap.norm() / op(u).norm():.0%}" for name, gap in gaps.items()}


darts = [op.eval() for op in build(OPERATOR_SETS["darts"], RANK) if not op.linear]
linear = build(("conv_3x3", "sep_conv_5x5", "avg_pool_3x3"), RANK)
Rows({op.name: failures(op) for op in [*linear, *darts]})

# %% [markdown]
# Our operators meet both conditions. An operator with a ReLU or a maximum is not additive. Two padded
# convolutions in a row differ at the border. The average that does not count padding is additive, but
# at the border it divides by fewer tokens. Such operators are computed one by one and added:

# %%
with_darts = ("skip", "conv_3x3", "conv_5x5", *(op.name for op in darts[:3]))
cell = Cell(RANK, with_darts).eval()
z = torch.randn(1, RANK, 8, 8)
assert torch.allclose(cell(z), cell.mix_maps(z), atol=1e-5)
{"one kernel": cell.linear, "convolutions": convolutions(cell, z)}

# %% [markdown]
# One convolution computes the mixture of the three linear operators. The others belong to DARTS'
# separable operator.
#
# ### Exercise 7.3 - a bug hunt: four mixers, one correct
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `over_maps`, `torch.allclose`
#
# Each mixer has `.kernels` and `.alpha`, and should compute $\sum_i \mathrm{softmax}(\alpha)_i K_i * z$.
# In the middle of a flat map all four agree. One puts small kernels into a corner of the large one.
# One averages without counting padding. One has no softmax. Write a function that names the fault.

# %%
flat = torch.ones(1, 3, 9, 9)
with torch.no_grad():
    answers = {
        letter: mixer(flat)[0, :, 4, 4] for letter, mixer in suspects(SEED).items()
    }
{letter: torch.allclose(y, answers["A"], atol=1e-4) for letter, y in answers.items()}


# %%
def alarm(mixer, z):
    """Return "shifted", "border", "no softmax" or "honest"; z `B r H W`."""
    raise NotImplementedError("Exercise 7.3")


# %%
checks.ex_7_3(alarm)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# Compare with `over_maps(mixer.kernels, mixer.alpha.softmax(0), z)` on a map that is not flat. Then
# compare only the inside, `[..., 2:-2, 2:-2]`.
# </details>
#
# <details><summary>Hint 2</summary>
#
# Without its softmax, the mixer is right as long as alpha has its starting value. Which change of
# alpha leaves a softmax as it is?
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
# A search without a softmax trains without any error message. But its operators do not compete:
# raising one does not lower the others.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    z_left_by_a_plain_start=starts["9 operators, plain"]["factor on z"],
    z_left_beside=starts["9 operators, beside"]["factor on z"],
    cell_parameters=trained - low_rank,
    step_of_the_centre_tap=float(measured[2, 2]),
    nine_operators_by_maps_ms=min(times["maps", 9]),
    nine_operators_by_kernels_ms=min(times["kernels", 9]),
)

# %% [markdown]
# ## Recap
# *How can one layer contain nine operators and cost as much as one?* Where every operator is a convolution,
# their mixture is one convolution, too, exactly.
# - Pad, weight, add, convolve once: values, gradients and borders are equal.
# - The cost is one convolution with the largest kernel, and the building of that kernel.
# - A plain start leaves 1 / n of LoRA's own path. A skip beside the mixture keeps all of it.
# - With equal alphas the cell's first step is that of one 5x5 with a rate for every tap: 1.42 in the
#   centre, .75 beside it, .70 at dilated taps, .37 at all others.
# - An operator that is not additive, or that differs at the border, is computed on its own.

# %% [markdown]
# ## In practice
# - Report a single 5x5 beside every search over these operators, since the trained mixture is one.
# - Test your operator's `kernel` against torch's own layer, border included. An operator with a new
#   kind of kernel also needs a class in `search/operator_classes.py`, or projection cannot name it.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`.
#
# ## Further reading
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the equation of this lesson, on nine benchmarks.
# - [DARTS](https://arxiv.org/abs/1806.09055): the first search by a softmax over operators.
# - [PC-DARTS](https://arxiv.org/abs/1907.05737): partial channels.
# - [RepVGG](https://arxiv.org/abs/2101.03697): also adds parallel convolutions into one.
#
# Next: does the largest alpha name the right operator?
#
# [<- 06](06_conv_lora.ipynb) | [index](README.md) | [08 ->](08_search_with_a_known_answer.ipynb)
