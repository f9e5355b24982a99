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
# # 08 · Search where the answer is known
#
# > Take alpha's gradient apart, count what its steps can decide, then plant an operator and
# > see whether a search finds it, and which way of reading the result deserves trust.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/v0.1.0/notebooks/08_search_with_a_known_answer.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/v0.1.0?urlpath=lab/tree/notebooks/08_search_with_a_known_answer.ipynb)
#
# **Cost** 8 s · 0.5 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [07](07_mix_operators.ipynb).

# %% [markdown]
# **The question:** when a search says "conv_3x3", how would we know that it is right?
#
# **You will build** a test of searches: a teacher with one known operator, a student that must
# find it, and the rate that chance would have.
#
# **You will be able to**
# - derive alpha's gradient, and say when it dies;
# - write joint, bilevel and stage-wise training as values of one schedule;
# - estimate what a number of alpha steps can decide, before a search;
# - say what a planted operator proves, and what it does not;
# - show that alpha alone does not identify an operator.
#
# | you need | where | minutes |
# |---|---|---|
# | the cell: kernels mixed by a softmax | [07](07_mix_operators.ipynb) | 30 |
# | Adam, weight decay | any introduction | - |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_core"):
    source = "git+https://github.com/naslora/nas-lora-workbook@v0.1.0"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import math
from functools import lru_cache

import torch
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.lessons import checks
from torch import nn

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
PLANT = "conv_3x3"  # what the live searches hide

# %%
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.lessons.exercises.lesson_08 import batches, suspects
from naslora_workbook.lessons.headline import record
from naslora_workbook.research import operator_recovery as planted
from naslora_workbook.research.compare import RECORDED
from naslora_workbook.research.operator_recovery import Garden, features, rate, teacher
from naslora_workbook.research.recovery_grid import recorded

from naslora_core.search.cell import Cell
from naslora_core.search.operators import operator_names
from naslora_core.search.projection import TOLERANCE, cost, project
from naslora_core.search.schedule import (
    bilevel,
    budget,
    joint,
    stage_wise,
    winner_probability,
)

# %% [markdown]
# ## What each setting decides
# A planted operator needs no images and no SAM: features are drawn, the rank is 4, and `SEED`
# draws everything. `PLANT` is the answer that we hide; `PROFILE` sets how long the last searches
# are, those under the slider.

# %%
setting, names = profile(PROFILE), operator_names("linear")
setting

# %% [markdown]
# ## What the paper fixes
# Columns two and three use words that this lesson explains: *bilevel*, *decoupled decay*,
# *projection*.
#
# | | the paper says | we chose | why |
# |---|---|---|---|
# | alpha | trained directly, beside the weights | the same | no decode-and-retrain phase |
# | order | stage-wise, balancing weights and architecture | weights 1/5, both 1/2, weights the rest | its boundaries are in no text that we could read |
# | data | open | all images for both; `bilevel` has halves, as DARTS | turns on halves take passes and images from the weights |
# | optimiser | open | AdamW, decoupled decay, a rate above DARTS' | the two measurements below |
# | reading | DARTS' argmax of alpha | argmax *and* projection | this lesson |

# %% [markdown]
# ## Alpha's gradient by hand
# The cell computes $y = \sum_i a_i O_i$ with $a = \mathrm{softmax}(\alpha)$. Let g be the gradient
# of the loss at y. Then
# $$\frac{\partial L}{\partial \alpha_i} = a_i \Big( \langle g, O_i \rangle - \sum_j a_j \langle
# g, O_j \rangle \Big):$$
# an operator rises if it pulls the loss down more than the mixture does.


# %%
def by_hand(alpha, answers, g):
    """d loss / d alpha `n`, from all O_i `n B r H W` and g `B r H W`."""
    a, heard = alpha.softmax(0), torch.einsum("nbrhw,brhw->n", answers, g)
    return a * (heard - (a * heard).sum())


# %%
torch.manual_seed(SEED)
z, y = torch.randn(2, 2, 4, 9, 9, dtype=torch.float64)
cell = Cell(4, "linear", "plain").double()
nn.init.normal_(cell.arch_alpha)

out = cell(z)
(out - y).square().sum().backward()
answers = torch.stack([operator(z) for operator in cell.operators])
gradient = by_hand(cell.arch_alpha, answers, 2 * (out - y)).detach()
assert torch.allclose(gradient, cell.arch_alpha.grad)

with torch.no_grad():
    cell.arch_alpha += 1
    assert abs(gradient.sum()) < 1e-9 and torch.allclose(cell(z), out)
{n: round(g, 2) for n, g in zip(names, gradient.tolist(), strict=True)}

# %% [markdown]
# Equal to autograd, which went through the *mixed kernel* and never saw the single answers. The
# entries sum to zero: adding one constant to all alphas changes nothing.
#
# > **Predict first.** Give `skip` a lead, whatever the data say. How hard do they pull at alpha (the
# > gradient's norm) when the lead is 0, and when alpha has all but decided?

# %%
pull = {}
for lead in (0, 3, 6, 9, 12):
    alpha = lead * torch.eye(len(names), dtype=torch.float64)[names.index("skip")]
    g = 2 * (torch.einsum("n,nbrhw->brhw", alpha.softmax(0), answers) - y)
    pull[f"lead {lead}"] = round(by_hand(alpha, answers, g).norm().item(), 4)
pull

# %% [markdown]
# Whatever it does first, in the end the gradient dies with the doubt, whoever is right. Where one
# $a_i$ is 1, the formula is zero: a decision is for ever. Adam, which normalises, delays that and does
# not cure it.

# %% [markdown]
# ### Exercise 8.1 - alpha's gradient by differences
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 8 minutes ·
# use `torch.eye`
#
# Autograd and a formula may share a mistake. A difference of two losses cannot. Write the gradient as
# central differences, and leave `alpha` as it was.


# %%
def differences(loss, alpha, h):
    """d loss / d alpha `n`, from values of `loss` alone, a step of h each way."""
    raise NotImplementedError("Exercise 8.1")


# %%
checks.ex_8_1(differences)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Central: the errors of the two sides cancel to the order h². Row i of h times the identity is the
# step of entry i.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def differences(loss, alpha, h):
#     steps = h * torch.eye(len(alpha), dtype=alpha.dtype)
#     return torch.stack([(loss(alpha + s) - loss(alpha - s)) / (2 * h) for s in steps])
# ```
# 2n losses for n entries: too slow to train with, and the best test of what trains.
# </details>

# %% [markdown]
# ## Two levels
# A *bilevel* search trains the weights for the present alpha on half A of the images, and alpha on
# half B, by how well those weights do there. A toy with one weight: half A wants
# $L_A = \frac12 (w - \alpha)^2$ small, half B $L_B = \frac12 (w - 1)^2 + \frac12 (\alpha - 3)^2$. The best
# weight is $w^*(\alpha) = \alpha$, so the exact gradient is
# $\frac{d}{d\alpha} L_B(w^*(\alpha), \alpha) = (\alpha - 3) + (\alpha - 1)$. *First order*, as here and in
# cheap DARTS, drops the second bracket: how the weight *would* answer.


# %%
def pulls(half, w, alpha):
    """Gradients of L_A, L_B, or of their sum (half None) at w and alpha."""
    on_a = {"weights": w - alpha, "alpha": alpha - w}
    on_b = {"weights": w - 1, "alpha": alpha - 3}
    halves = {"A": [on_a], "B": [on_b], None: [on_a, on_b]}[half]
    return {kind: sum(g[kind] for g in halves) for kind in on_a}


# %%
def descend(schedule):
    """The points (alpha, w) of gradient descent under a schedule."""
    at, way = {"weights": -1.0, "alpha": 0.0}, [(0.0, -1.0)]
    for stage in schedule.stages:
        rates = {"weights": stage.lr, "alpha": stage.alpha_lr}
        for step in range(stage.steps):
            moves, half = stage.turn(step)
            pull = pulls(half, at["weights"], at["alpha"])
            for kind in moves:
                at[kind] -= rates[kind] * pull[kind]
            way.append((at["alpha"], at["weights"]))
    return way


# %% [markdown]
# Who moves when is *one* object, a `Schedule`: stages, each with its steps and its turns. *Joint*
# moves both at every step on all images, *stage-wise* the weights alone at first and at last.
#
# > **Predict first.** The exact answer is $\alpha = 2$. Where will first order end?

# %%
schedules = [make(120, 0.1, 0.1) for make in (joint, bilevel, stage_wise)]
ways = {schedule.name: descend(schedule) for schedule in schedules}
figures.turns(schedules, ways, {"exact": (2, 2), "first order": (3, 3)})

# %% [markdown]
# Orange and grey say who moves; stars are closed forms. Bilevel goes where its gradient sends it, past
# the exact answer. Joint and stage-wise minimise the sum $L_A + L_B$: another question with another
# answer. No order is right as such; a toy says only *that* it matters.

# %% [markdown]
# ## What a number of steps can decide
# Adam moves every alpha by about its rate a step under a *steady* gradient of any size. If one operator
# always rises and n - 1 always fall, then after t steps the logits are $2 t\,lr$ apart.


# %%
def winner(steps, lr, n):
    """The winner's probability after that many steady steps."""
    return 1 / (1 + (n - 1) * math.exp(-2 * lr * steps))


def steady(lr, steps=300, n=9):
    """The same, measured: AdamW, as in the search, under a constant gradient."""
    alpha, way = nn.Parameter(torch.zeros(n)), []
    adam = torch.optim.AdamW([alpha], lr, betas=(0.5, 0.999), weight_decay=1e-3)
    alpha.grad = torch.ones(n).index_fill(0, torch.tensor(0), -1)
    for _ in range(steps):
        adam.step()
        way.append(alpha.softmax(0)[0].item())
    return way


# %%
assert math.isclose(winner(50, 0.02, 9), winner_probability(50 * 0.02, 9))
figures.budgets({3e-4: steady(3e-4), 0.02: steady(0.02)}, len(names))

# %% [markdown]
# At DARTS' rate, 3e-4, the few hundred steps of a small data set leave alpha near uniform. `budget`
# says so in advance:

# %%
plans = {"joint, DARTS' rate": joint(300, 0.01, 3e-4)}
plans |= {"joint": joint(300, 0.01), "stage-wise": stage_wise(300, 0.01)}
Rows({n: {"what it can decide": budget(p, len(names))} for n, p in plans.items()})

# %% [markdown]
# An estimate for steady gradients, and no bound: where they change their sign alpha gets less far, and
# where they grow, as while $W_d$ leaves zero, about half as far again (the second number). And Adam
# has a second trap: *coupled* decay is part of the gradient, and gets normalised like one.


# %%
def moved_by_decay(optimiser, lr=0.02, steps=10):
    """How far a zero gradient moves alpha, in units of lr a step."""
    alpha = nn.Parameter(torch.tensor([0.5]))
    adam = optimiser([alpha], lr, betas=(0.5, 0.999), weight_decay=1e-3)
    for _ in range(steps):
        alpha.grad = torch.zeros(1)
        adam.step()
    return round(abs(alpha.item() - 0.5) / (steps * lr), 4)


kinds = {"coupled": torch.optim.Adam, "decoupled": torch.optim.AdamW}
drifted = {name: moved_by_decay(kind) for name, kind in kinds.items()}
drifted

# %% [markdown]
# Coupled, an alpha without any evidence moves at nearly full speed, toward zero; decoupled, it
# rests.

# %% [markdown]
# ## Plant an operator
# A teacher is one operator with random weights; a student cell sees z and the teacher's answer, with
# noise. What is the right answer? Not simply the planted name: an operator's *class* is every kernel
# that it can be, and several classes may hold the teacher's. So fit every class to every teacher
# first, in closed form.
#
# > **Predict first.** Which classes can say what `sep_conv_3x3` says? Is there a teacher that
# > only one class can imitate?

# %%
left, prices = planted.matrix(Garden(), SEED), {o.name: cost(o) for o in cell.operators}
left = {t: {c: row[c] for c in sorted(row, key=prices.get)} for t, row in left.items()}
answers = {t: next(c for c in r if r[c] <= TOLERANCE) for t, r in left.items()}
figures.expressions(left, answers)

# %% [markdown]
# A number is the share of the teacher's energy that the best member of a class leaves; up to 0.01 it
# *fits*. Classes are nested, and the largest fits everything, so the right answer is **the cheapest
# class that fits**, and a reading that names it is a *hit*. There are two readings of a search:
# - *argmax*: the operator with the largest alpha;
# - *projection*: the cheapest class that fits the learned *mixed kernel*, fitted as above.
#
# Now one search, joint, read every twenty steps.
#
# > **Predict first.** The budget above allows alpha nearly certainty in this many steps. Where will
# > the winner be?

# %% tags=["nbval-ignore-output"]
raced = planted.race(PLANT, SEED)
figures.race(raced, names)

# %% tags=["nbval-ignore-output"]
reached = max(raced.history[-1]["probability"])
allowed = winner_probability(Garden().steps * Garden().alpha_lr, len(names))
{"budget": round(allowed, 2), "reached": round(reached, 2), "uniform": round(1 / 9, 2)}

# %% [markdown]
# Far below the budget: once the weights fit, hardly anything tells the operators apart. Alpha's
# gradient is small and noisy, and Adam, which remembers the large ones, hardly moves. A small budget
# rules a decision out; a large one promises nothing. As long as projection names the largest class,
# what is left of the random start fits nothing smaller.
#
# One search is an anecdote. A grid of them, over plants and seeds, was run beforehand, on a cell and
# inside an earlier `sam_nano` (128,000 scenes), where We and Wd are learned too. They absorb any change of z's basis, so there
# `skip` stands for any pointwise map, `conv_1x1` included.

# %% tags=["nbval-ignore-output"]
places = {"cell": "planted_cell", "inside sam_nano": "planted_sam_nano"}
grid = {place: recorded(RECORDED / folder) for place, folder in places.items()}
chance = {
    place: {reading: rate(races, reading) for reading in ("projection", "argmax")}
    for place, races in grid.items()
    if races
}
figures.hits(grid, chance)

# %% [markdown]
# The median step is the one from which projection stayed right. Chance is what the same readings would
# hit if dealt out at random. Compare each rate with *its* chance: a reading that stands beside it has
# read nothing.

# %% [markdown]
# ## What alpha cannot tell
# Any kernel, any alpha: `conv_5x5` contains all others, so it absorbs whatever is missing. Let
# every operator win once, over one and the same kernel.


# %%
@torch.no_grad()
def wearing(kernel, alpha):
    """A cell that computes `kernel` `r r 5 5`, whatever alpha says."""
    cell = Cell(len(kernel), "linear", "plain").double()
    cell.arch_alpha.copy_(alpha)
    five = cell.names.index("conv_5x5")
    missing = kernel - cell.kernel()
    cell.operators[five].weight += missing / cell.probabilities()[five]
    return cell


# %%
kernel, z = (
    teacher(PLANT, Garden(), SEED).double(),
    features(Garden(), SEED, 0).double(),
)
truth, read = planted.convolve(kernel, z), {}
for name, alpha in zip(names, 3 * torch.eye(len(names)), strict=True):
    worn = wearing(kernel, alpha)
    assert torch.allclose(worn(z), truth)
    read[name] = project(worn, z)
{n: {"argmax": r.argmax, "projection": r.projection} for n, r in read.items()}

# %% [markdown]
# Nine cells, one function, nine argmaxes, one projection. No loss can tell these cells apart, so
# nothing obliges a training to end at the right alpha; where it started, and what grew first, decide.

# %% [markdown]
# ## Turn alpha's rate
# If projection reads the kernel, does it need alpha at all?
#
# > **Predict first.** At rate 0 alpha never moves. Will projection still be right?


# %% tags=["nbval-ignore-output"]
@lru_cache
def raced_at(alpha_lr):
    """A race with this rate for alpha, the weights' rate held."""
    schedule = joint(2 * setting.steps, 0.01, alpha_lr)
    return planted.race(PLANT, SEED, Garden(batch=4, schedule=schedule))


rates = [0.0, 0.003, 0.02, 0.1]
found = [sum(raced_at(r).hit(w) for r in rates) for w in ("projection", "argmax")]
figures.explore(
    lambda ax, rate: f"rate {rate:g}\n{figures.ways(ax, raced_at(rate), names)}",
    rates,
    "alpha_lr",
    f"{PLANT}: projection is right in {found[0]} of {len(rates)}, argmax in {found[1]}",
)

# %% [markdown]
# Colours are those of the search above, the bold line is the right operator, each panel has its own
# axis. At rate 0 all lines are one, and argmax names the first of the list. So a hit by projection
# proves that the *weights* learned the teacher and that the reading is sound; that alpha searched, it
# does not prove. Whether alpha earns its passes is to be asked against a frozen, uniform one: a
# control of every comparison from here on.

# %% [markdown]
# ### Exercise 8.2 - beat the step budget
# Difficulty 3 of 5 ·
# importance 4 of 5 ·
# 12 minutes ·
# use `joint`, `bilevel`, `stage_wise`, or `Schedule` and `Stage` of their module
#
# Find a schedule of at most `passes` steps (the check gives 120) under which, for two seeds, *both*
# readings find a planted `conv_3x3`, alpha with a probability of 0.3 or more.


# %%
def quick(passes):
    """A Schedule of at most `passes` steps, a pass each."""
    raise NotImplementedError("Exercise 8.2: joint(passes, 0.01) is where to start")


# %%
checks.ex_8_2(quick)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Alpha can only help while the weights leave something to decide: slow them a little, hurry alpha.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def quick(passes):
#     return joint(passes, lr=0.007, alpha_lr=0.2)
# ```
# Alpha decides before the weights make it superfluous. But you have tuned a search on its answer:
# under the same schedule, plant `skip` or `avg_pool_3x3`, and argmax tends to name a larger class.
# Choose schedules on plants that you do not report.
# </details>

# %% [markdown]
# ### Exercise 8.3 - a bug hunt: four searches, one honest
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 15 minutes ·
# use `copy.deepcopy`, `torch.zeros_like`
#
# Each has `alpha`, `alpha_lr`, a call `search(z)`, and `step(a, b)`: weights on half a, alpha on half
# b, each half a pair (z, y). One weighs by alpha without a softmax, one moves alpha on half a, one
# has coupled decay. In all four the loss falls to less than half:

# %%
a, b = batches(SEED)
losses = {n: [s.step(a, b) for _ in range(60)] for n, s in suspects(SEED).items()}
assert all(way[-1] < way[0] / 2 for way in losses.values())
{name: way[-1] < way[0] / 2 for name, way in losses.items()}


# %%
def alarm(search, a, b):
    """Return "no softmax", "same half", "coupled decay" or "honest"."""
    raise NotImplementedError("Exercise 8.3")


# %%
checks.ex_8_3(alarm)

# %% [markdown]
# <details><summary>Hint 1</summary>
#
# What may *not* happen? Adding a constant to alpha may not change the output. A half of zeros may
# not move alpha.
# </details>
#
# <details><summary>Hint 2</summary>
#
# If alpha moves under `step(a, silence)`, it listens to a, or to its own decay. Under
# `step(silence, silence)` only decay is left.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# import copy
#
#
# def alarm(search, a, b):
#     silence, raised = tuple(map(torch.zeros_like, a)), copy.deepcopy(search)
#     raised.alpha.data += 1
#     if not torch.allclose(raised(a[0]), search(a[0]), atol=1e-5):
#         return "no softmax"
#     for bug, half in (("coupled decay", silence), ("same half", a)):
#         twin = copy.deepcopy(search)
#         twin.step(half, silence)
#         if (twin.alpha - search.alpha).abs().max() > search.alpha_lr / 2:
#             return bug
#     return "honest"
# ```
# None of these bugs shows in the loss: weights repair what alpha spoils. Invariances show them.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    budget_allowed=allowed,
    alpha_reached=reached,
    drift_coupled=drifted["coupled"],
    hits_projection=chance.get("cell", {}).get("projection", {}).get("hits"),
    hits_argmax=chance.get("cell", {}).get("argmax", {}).get("hits"),
)

# %% [markdown]
# ## Recap
# *How would we know that a search is right?* By searches whose answer is known, and by comparing the
# rate of hits with chance. By that measure the mixed kernel is a better witness than alpha.
# - Alpha's gradient compares each operator with the mixture; it dies as alpha decides.
# - Joint, bilevel and stage-wise are values of one schedule, and solve different problems.
# - Steps times rate estimate what alpha can decide; they promise nothing.
# - The right answer is the cheapest class that fits; chance stands beside every rate.
# - One function has every alpha: argmax is not identified, projection is.

# %% [markdown]
# ## In practice
# - Print the budget before, both readings after, uniform alpha beside them.
# - Projection says "conv_5x5" also where training was too short. Look at its residuals.
# - Planted teachers lie inside the search space. Real tasks do not.
#
# **Try it on your own:** set `PLANT` to another operator, or plant one that *you* registered in 07.
#
# ## Further reading
# - [DARTS](https://arxiv.org/abs/1806.09055): both levels, and the first-order shortcut.
# - [Rethinking architecture selection](https://arxiv.org/abs/2108.04392): alpha's magnitude is not an
#   operator's worth.
# - [RobustDARTS](https://arxiv.org/abs/1909.09656): how searches collapse, with early warnings.
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the equation and the stages.
#
# Next: the same search on real images, stage by stage, where nobody knows the answer.
#
# [<- 07](07_mix_operators.ipynb) | [index](README.md) | [09 ->](09_stage_wise_search.ipynb)
