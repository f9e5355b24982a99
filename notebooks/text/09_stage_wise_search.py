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
# # 09 · Search in stages
#
# > Train weights and alpha on real images, step by step; hold the search against one that hears
# > only noise; then make it fail, on purpose.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/09_stage_wise_search.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/09_stage_wise_search.ipynb)
#
# **Cost** 41 s · 0.8 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [08](08_search_with_a_known_answer.ipynb).

# %% [markdown]
# **The question:** NAS-LoRA trains weights and alpha in stages. What does the search do step
# by step, and when does it fail?
#
# **You will build** the staged search by hand, equal to `fit`; and its control: a search that
# hears only noise.
#
# **You will be able to**
# - say what moves when, on which images, and prove that the rest kept every bit;
# - state before a search how far its softmax can get;
# - read alpha's way: entropy, margin, changes of winner, steadiness;
# - tell a decision from a random walk;
# - name a failed search by its symptoms.
#
# | you need | where | minutes |
# |---|---|---|
# | the cell, and alpha's softmax | [07](07_mix_operators.ipynb) | 30 |
# | schedules, the step budget | [08](08_search_with_a_known_answer.ipynb) | 30 |
# | the training loop | [03](03_train_and_measure.ipynb) | 30 |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
from dataclasses import replace

import numpy as np
import torch
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.lessons import checks
from torch import nn

from naslora_core import NASLoRA, adapt, evaluate, fit, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/
ALPHA_LR = 0.1  # of the live searches; the core's is 0.02

# %%
from naslora_workbook.figures.alpha_trajectory import trajectory
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.figures.space import interval
from naslora_workbook.figures.stages import heard, is_free, rivals, timeline, verdicts
from naslora_workbook.lessons.exercises.lesson_09 import STAGES, steadiness, suspects
from naslora_workbook.lessons.headline import record
from naslora_workbook.research.compare import recorded

from naslora_core.data import open_data, to_batch
from naslora_core.search import bilevel, joint, stage_wise, weights_only
from naslora_core.search.operators import operator_names
from naslora_core.search.schedule import winner_probability
from naslora_core.training.losses import cross_entropy_dice

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses model, images and steps, `SEED` draws everything, `DATA` is what is learned.
# `ALPHA_LR` is above the core's rate because the runs here are short: a choice with a price.

# %%
setting, names = profile(PROFILE), operator_names("linear")
STEPS, BATCH, LR = setting.steps // 2, setting.batch // 2, 3e-3
METHOD = NASLoRA(rank=4)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)

# %% [markdown]
# ## What is searched, and when
# Each block's qkv has a cell, and each cell its own alpha. The paper says *why* there are stages,
# to balance weights and architecture; *when* they begin is in no text that we could read:
#
# | | we chose | why |
# |---|---|---|
# | warm-up, a fifth | weights alone | with $W_d = 0$ alpha has no gradient; random kernels deserve no vote. Others freeze alpha first, too: PC-DARTS for 15 of 50 epochs, DrNAS for 10 of 25 |
# | search, a half | both, on all images | turns on two halves cost passes; `bilevel` takes them |
# | settle, the rest | weights alone, under the mixture as it stands | discretising is a lossy step of its own |
# | cost | every pass counts, alpha's too | else a search looks free. The paper's training is 24.14 % cheaper: than what is open |
#
# Lesson 08's schedules on images: A and B are two halves of the training set, one for the weights
# and one for alpha under `bilevel`.

# %%
plans = [make(STEPS, LR, ALPHA_LR) for make in (stage_wise, joint, bilevel)]
timeline(plans)

# %% [markdown]
# Where grey and orange stand above each other, one pass moves both. Under `bilevel` no image does,
# at the price of half of the weights' steps.

# %% [markdown]
# ## One step by hand
# Freeze what rests, forward, backward, clip, step: lesson 03's loop, with two optimisers. (`slope`
# lets the weights' rate rise, then fall.)


# %%
def step(model, optimisers, stage, number, total, samples):
    """One step of the search on `samples`; its loss."""
    moves, _ = stage.moves_at(number)
    for kind, optimiser in optimisers.items():
        optimiser.zero_grad()
        for p in optimiser.param_groups[0]["params"]:
            p.requires_grad_(kind in moves)
    keys = [(SEED, number, i) for i in range(len(samples))]
    images, masks = to_batch(samples, model.image_size, augment_keys=keys)
    loss = cross_entropy_dice(model(images).masks, masks)
    loss.backward()
    slope = min(1, (number + 1) / (0.05 * total), (total - number) / (0.9 * total))
    for kind in moves:
        group = optimisers[kind].param_groups[0]
        group["lr"] = stage.alpha_lr if kind == "alpha" else stage.lr * slope
        nn.utils.clip_grad_norm_(group["params"], 1.0)
        optimisers[kind].step()
    return loss.item()


# %% [markdown]
# A whole search in five steps, with a snapshot at every border.
#
# > **Predict first.** What has changed after each stage, bit for bit: alpha, the other trained
# > tensors, the base?


# %%
def snapshot(model):
    """Copies of all tensors; state_dict alone hands out the live ones."""
    return {n: t.detach().clone() for n, t in model.state_dict().items()}


def moved(before, after):
    """Names of the tensors that are not what they were."""
    return {n for n in before if not torch.equal(before[n], after[n])}


# %%
hand = adapt(sam, METHOD, classes=len(data.classes), seed=SEED).train()
trained = hand.trainable()
alphas = {n: p for n, p in trained.items() if n.endswith("arch_alpha")}
weights = {n: p for n, p in trained.items() if n not in alphas}
optimisers = {
    "weights": torch.optim.AdamW(weights.values(), weight_decay=1e-4),
    "alpha": torch.optim.AdamW(alphas.values(), betas=(0.5, 0.999), weight_decay=1e-3),
}
few, tiny = replace(data, train=data.train[:BATCH]), stage_wise(5, LR, ALPHA_LR)

# %%
losses, changed = [], {}
for stage in tiny.stages:
    before = snapshot(hand)
    for _ in range(stage.steps):
        done = len(losses)
        losses.append(step(hand, optimisers, stage, done, tiny.steps, few.train))
    now = moved(before, snapshot(hand))
    found = {"alpha": bool(now & set(alphas)), "weights": bool(now & set(weights))}
    changed[stage.name] = found | {"base": bool(now - set(trained))}
assert [row["alpha"] for row in changed.values()] == [False, True, False]
assert all(row["weights"] and not row["base"] for row in changed.values())
Rows(changed)

# %% [markdown]
# "False" means not one bit. An optimiser leaves a tensor alone that has *no* gradient; one whose
# gradient is *zero* it may move, as the last exercise shows. Is this what `fit` does?

# %%
core = adapt(sam, METHOD, classes=len(data.classes), seed=SEED)
told = fit(core, few, tiny, batch=BATCH, seed=SEED, progress=False).history
same_losses = np.allclose([event["loss"] for event in told], losses, atol=1e-3)
ends = core.trainable()
same_alphas = all(torch.allclose(ends[n], p, atol=1e-2) for n, p in alphas.items())
assert same_losses and same_alphas
same_losses, same_alphas

# %% [markdown]
# The same losses and the same alphas, up to rounding.
#
# ## Before you search
# Lesson 08's budget, and a second reading of a softmax: its *entropy*, 1 at uniform and 0 at
# certainty. How far can our steps get, at the core's rate and at ours, if gradients are steady?


# %%
def entropy(p):
    """`... n` to `...`: the entropy as a share of log n."""
    return -(p * np.log(p)).sum(-1) / np.log(p.shape[-1])


def steady(steps, rate, n):
    """The winner's probability after steady steps, and the entropy."""
    top = winner_probability(steps * rate, n)
    return top, entropy(np.array([top] + [(1 - top) / (n - 1)] * (n - 1)))


alpha_steps = plans[0].alpha_steps
allowed = {rate: steady(alpha_steps, rate, len(names)) for rate in (0.02, ALPHA_LR)}
Rows(
    {r: {"winner": f"{p:.2f}", "entropy": f"{e:.2f}"} for r, (p, e) in allowed.items()}
)

# %% [markdown]
# The same steps, and the larger rate could get much further. Whether it *will* is another question.
#
# ### Exercise 9.1 - the fewest steps
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 8 minutes ·
# use `np.log`, `np.floor`
#
# You want the winner's probability above p. After t steady steps its logit is $2 t\,lr$ above the
# other n - 1, which are equal. What is the least whole t? (0, if p lies below uniform.) The check
# lets an AdamW walk there.


# %%
def fewest(p, alpha_lr, n):
    """The least number of steps after which the winner of n is above p."""
    raise NotImplementedError("Exercise 9.1")


# %%
checks.ex_9_1(fewest)

# %% [markdown]
# <details><summary>Hint</summary>
#
# $p = 1 / (1 + (n - 1) e^{-2 t\,lr})$. Solve for $2 t\,lr$, then take the next whole number.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def fewest(p, alpha_lr, n):
#     apart = np.log((n - 1) * p / (1 - p))
#     return max(0, int(np.floor(apart / (2 * alpha_lr))) + 1)
# ```
# Steps and rate stand as a product: a tenfold rate buys tenfold confidence, in the same evidence.
# Keep that in mind.
# </details>

# %% [markdown]
# ## The search
# > **Predict first.** Our budget is generous. Will every block decide? Will winners stay winners?


# %% tags=["nbval-ignore-output"]
def search(schedule, method=METHOD, seed=SEED, batch=BATCH):
    """A model adapted and trained through a schedule."""
    model = adapt(sam, method, classes=len(data.classes), seed=seed)
    return fit(
        model, data, schedule, batch=batch, seed=seed, progress=figures.is_live()
    )


runs = {"stage-wise": search(plans[0])}
history = runs["stage-wise"].history
blocks = [b.block for b in runs["stage-wise"].genotype.blocks]
figures.alpha_trajectories(history, names, blocks)

# %% [markdown]
# Alpha rests, moves on the grey ground, rests again. Compare the ends of the bold lines with the
# table above. In numbers, by hand and by the core's `trajectory`: the *margin* is the lead over the
# second, a *flip* a change of winner.

# %% tags=["nbval-ignore-output"]
way = trajectory(history)
p = way.probability[way.moved]  # steps blocks operators
first, second = np.sort(p[-1], -1)[:, :-3:-1].T
flips = (np.diff(p.argmax(-1), axis=0) != 0).sum(0)
assert np.allclose(entropy(p), way.entropy[way.moved]) and (flips == way.flips).all()
assert np.allclose(first - second, way.margin[-1])
read = {"entropy": entropy(p[-1]), "margin": first - second, "flips": flips}
table = zip(*(v.round(2).tolist() for v in read.values()), strict=True)
Rows(
    {b: dict(zip(read, row, strict=True)) for b, row in zip(blocks, table, strict=True)}
)

# %% [markdown]
# All blocks at once, the winner's probability over the steps (live: a surface to turn, with a button
# for every operator):

# %% tags=["nbval-ignore-output"]
figures.landscape(history, names, blocks)

# %% [markdown]
# Some entropy has gone, some winner leads. Is that a decision? Every walk ends *somewhere*. So
# build the control, a search that is **deaf**: same optimiser, rate and steps, but its gradients
# are noise. Nine in ten of them end between the outer two entropies:


# %%
def deaf(steps, rate, n, draws=500):
    """Probabilities `steps draws n` of searches that hear nothing."""
    alpha = nn.Parameter(torch.zeros(draws, n, dtype=torch.float64))
    adam = torch.optim.AdamW([alpha], rate, betas=(0.5, 0.999), weight_decay=1e-3)
    noise, way = torch.Generator().manual_seed(SEED), []
    for _ in range(steps):
        g = torch.randn(draws, n, generator=noise, dtype=torch.float64)
        alpha.grad = g - g.mean(1, keepdim=True)  # a softmax's gradient sums to zero
        adam.step()
        way.append(alpha.detach().softmax(1))
    return torch.stack(way).numpy()


silence = deaf(alpha_steps, ALPHA_LR, len(names))
np.quantile(entropy(silence[-1]), [0.05, 0.5, 0.95]).round(2).tolist()

# %% [markdown]
# Noise alone takes that much away. A second measure, which no rate can inflate: how much of alpha's
# way led anywhere?
#
# ### Exercise 9.2 - steadiness
# Difficulty 3 of 5 ·
# importance 4 of 5 ·
# 10 minutes ·
# use `np.log`, `np.diff(..., prepend=...)`
#
# From the probabilities of one alpha compute way made / way walked,
# $\sum_i |\alpha_{T,i}| \; / \; \sum_{t,i} |\alpha_{t,i} - \alpha_{t-1,i}|$, over steps t and
# operators i. Row t - 1 of the array is the softmax *after* step t; before the first, alpha is 0.
# A softmax fixes alpha only up to a constant: centre every row (mean zero).


# %%
def steady_share(probability):
    """Way made / way walked, from probabilities `T n`."""
    raise NotImplementedError("Exercise 9.2")


# %%
checks.ex_9_2(steady_share)

# %% [markdown]
# <details><summary>Hint</summary>
#
# log p = alpha - log of a sum, the same for all operators: subtracting each row's mean removes it.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def steady_share(probability):
#     alpha = np.log(probability)
#     alpha = alpha - alpha.mean(-1, keepdims=True)
#     moves = np.diff(alpha, axis=0, prepend=np.zeros_like(alpha[:1]))
#     return np.abs(alpha[-1]).sum() / np.abs(moves).sum()
# ```
# 1: never turned round, the budget's case. A walk of T coin tosses is near $1 / \sqrt T$. Twice
# the rate doubles both sums.
# </details>

# %% [markdown]
# > **Predict first.** Will the blocks end surer, and walk steadier, than searches that hear noise?

# %% tags=["nbval-ignore-output"]
pace = [steady(t + 1, ALPHA_LR, len(names))[1] for t in range(alpha_steps)]
heard(entropy(p), steadiness(p), entropy(silence), steadiness(silence), pace)

# %% [markdown]
# Grey holds nine of ten deaf searches. By chance one block in twenty ends above it, so one such
# block of several is weak evidence, and none says: *at this budget, this search cannot be told from
# noise*. A dot left of the grey is a block that turned back more often than noise does. Dotted is
# *one* operator rising steadily: an estimate, no bound. At the left blocks may lie above it, for at
# first several operators that rise together take more entropy than one alone. At the right the gap
# below it is the price of gradients that change their mind with every batch.

# %% [markdown]
# ## Three orders, equal passes
# All three take the same steps of as many images. The control: alpha frozen at uniform.
#
# > **Predict first.** Which order wins? Does any beat uniform?

# %% tags=["nbval-ignore-output"]
uniform = replace(weights_only(STEPS, LR), name="uniform")
runs |= {plan.name: search(plan) for plan in (*plans[1:], uniform)}


def winners(run):
    """Each block's argmax of alpha, and its probability."""
    return [(b.argmax, max(b.probability)) for b in run.genotype.blocks]


classes = len(data.classes)
dice = {n: evaluate(r.model, data.val, classes=classes).dice for n, r in runs.items()}
won = {n: winners(run) for n, run in runs.items() if n != "uniform"}
rivals(dice, won)

# %% [markdown]
# Dots are images, diamonds means; a tile is a block's winner, the darker the surer. Differences
# from uniform, image by image, with lesson 03's bootstrap:


# %% tags=["nbval-ignore-output"]
def verdict(gain, draws=2000):
    """The mean, where 95 % of means of redrawn images lie, what may be said."""
    picks = np.random.default_rng(SEED).integers(len(gain), size=(draws, len(gain)))
    low, high = np.quantile(gain[picks].mean(1), [0.025, 0.975])
    said = "above" if low > 0 else "below" if high < 0 else "cannot say"
    ends = {"gain": gain.mean(), "from": low, "to": high}
    return {name: f"{end:+.3f}" for name, end in ends.items()} | {"so": said}


Rows({name: verdict(dice[name] - dice["uniform"]) for name in won})

# %% [markdown]
# The last column is all that may be said. The interval holds the seed still, so even "above" would
# not show that alpha *chose*: a deaf alpha lands on some side of uniform, too. Here only `bilevel`
# can be told from uniform, and it is below. It moved weights half as often, on half of the images:
# this too says nothing about its alpha.

# %% [markdown]
# ## One setting at a time, recorded
# One live run of each says little. Recorded beside this lesson: the same search with *one* setting
# changed, at the default's rate of .001, three seeds on two domains; validation IoU minus the
# default's. The first row changes the rate itself, to the .003 of LoRA and the others.
#
# | | the paper | the default here | why |
# |---|---|---|---|
# | start | a softmax over the operators alone | a skip beside it, the mixture times $\sqrt{n}$ | else 1/n of LoRA's own path is left at first (lesson 07) |
# | place | in windows | in windows | as the paper; on the whole map windows lose their borders (lesson 04) |
# | order | stages, their boundaries open | stage-wise | above |
#
# > **Predict first.** Which change matters more than the seed?

# %%
CHANGED = {
    "rate: .003": ("variants/rate", "nas_lora"),
    "start: plain": ("variants", "nas_plain"),
    "start: identity": ("variants", "nas_identity"),
    "place: whole map": ("variants", "nas_map"),
    "order: joint": ("variants/joint", "nas_lora"),
    "order: bilevel": ("variants/bilevel", "nas_lora"),
    "alpha: never moves": ("variants", "nas_uniform"),
    "one 5x5, no search": ("variants", "fixed_5x5"),
    "one 3x3, no search": ("variants", "fixed_conv"),
}


def ious(folder, method):
    """Validation IoU of one method's recorded runs, by domain and seed."""
    runs = [r for r in recorded(folder) if r["method"] == method]
    return {(r["data"], r["seed"]): r["mean"]["iou"] for r in runs}


# %%
default, said = ious("methods", "nas_lora"), {}
for label, place in CHANGED.items():
    theirs, said[label] = ious(*place), {}
    for domain in dict.fromkeys(d for d, _ in default):
        lead = [theirs[k] - v for k, v in default.items() if k[0] == domain]
        mean, low, high = interval(lead)
        so = "worse" if high < 0 else "better" if low > 0 else "cannot say"
        said[label][domain] = f"{mean:+.3f} ({low:+.3f} to {high:+.3f}), {so}"
Rows(said)

# %% [markdown]
# What three seeds can tell: **the rate**, on polyp, by about .05. The rule was the best of five on
# one seed of camouflage; it took .001 by .003 of IoU, and lost here more than most settings below
# could. `bilevel` is worse on both domains, the `plain` start on polyp (each is below the default
# in every run of both), and `joint` better there, by about .01. Of all else they cannot say: place,
# an identity start, alpha that never moves, one 5x5 or 3x3 at the same rate. For the single kernels
# differences of .03 to .07 could hide there. For place and for *searching* hardly any could: the
# map is within .01 of the windows, and alpha that never moves at most about .015 behind. And
# eighteen intervals at 95 % are read at once: by luck alone more than half of such tables name
# somebody. This one names five; at a level that allows for eighteen nobody is left. So the default
# stands on little. Lesson 12 asks the same of every method, in the end once on eight domains, half
# of which no choice has seen, with an earlier `sam_nano` and earlier drawings.

# %% [markdown]
# ## Failures, on purpose
# DARTS' best-known failure is *skip collapse*: a skip needs no training, and wins before kernels
# are any good. Provoke it: no warm-up, alpha in a hurry, and the `plain` start of lesson 07, where
# only skip carries LoRA's own path. Then the same with another seed, and with DARTS' operators.
#
# > **Predict first.** Where will skip win? Will two seeds agree?

# %% tags=["nbval-ignore-output"]
hasty, plain = joint(STEPS * 3 // 4, LR, 3 * ALPHA_LR), replace(METHOD, start="plain")
trials = {
    "plain": (plain, SEED),
    "plain, next seed": (plain, SEED + 1),
    "DARTS' set": (replace(plain, operators="darts"), SEED),
}
rash = {n: search(hasty, method, s, BATCH // 2) for n, (method, s) in trials.items()}

# %% tags=["nbval-ignore-output"]
sets = [run.genotype.operators for run in rash.values()]
by_chance = len(blocks) * sum(sum(map(is_free, s)) / len(s) for s in sets)
verdicts({name: winners(run) for name, run in rash.items()}, by_chance)

# %% [markdown]
# Blue operators (skip, pool, none) have no number to learn. Rows full of skip would be the
# published collapse, which others met in long searches. More blue than chance explains would be a
# milder form: what needs no training is ready first. Here we see neither: few skips, and about as
# much blue as chance gives. How sure are the winners, and do two seeds agree?

# %% tags=["nbval-ignore-output"]
one, other = (winners(rash[name]) for name in ("plain", "plain, next seed"))
agree = sum(a[0] == b[0] for a, b in zip(one, other, strict=True))
by_luck = f"{len(blocks) / len(names):.1f}"
{"two seeds agree": f"{agree} of {len(blocks)} blocks", "by chance": by_luck}

# %% [markdown]
# The surest of several blocks is to be held against the surest of as many deaf ones, over as many
# operators:


# %% tags=["nbval-ignore-output"]
def surest_deaf(n, draws=500):
    """The surest winner of each of `draws` deaf models with our blocks, n operators."""
    ends = deaf(hasty.steps, 3 * ALPHA_LR, n, draws * len(blocks))[-1].max(-1)
    return ends.reshape(draws, len(blocks)).max(-1)


surest = {}
for n, run in rash.items():
    noise = surest_deaf(len(run.genotype.operators))
    middle, top = np.quantile(noise, [0.5, 0.95])
    seen = {"surest block": max(q for _, q in winners(run))}
    seen |= {"deaf, median": middle, "deaf, 95 %": top}
    surest[n] = {k: f"{v:.2f}" for k, v in seen.items()}
Rows(surest)

# %% [markdown]
# **Haste.** At this rate even a deaf search is often sure of itself. A real one above the last
# column, be it by little, is hard to explain by *independent* noise. More is not shown: noise that
# resembles itself from step to step gets farther, and a gradient may be about kernels that were
# still random; seeds that disagree say what that is worth. A margin measures rate × steps first,
# evidence second.
#
# | symptom | look at | failure |
# |---|---|---|
# | entropy stays near 1 | the budget | too few steps, too small a rate |
# | entropy *exactly* 1 | what moved | alpha is in no optimiser |
# | falls as in a deaf search | steadiness | no evidence; more images a step, more steps |
# | falls at once | two seeds | haste: warm up, lower the rate |
# | alpha moves while it should rest | snapshots | a leak, below |
# | skips and pools nearly everywhere | what chance gives | collapse; warm up, stop early, read by projection |

# %% [markdown]
# ### Exercise 9.3 - a bug hunt: four trainers, one honest
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 12 minutes ·
# use `moved`, `snapshot`
#
# Each has a `model` (a small cell, its alpha named `arch_alpha`) and `run(stage)`, and promises
# warm-up, search, settle. One gave its weights' optimiser `model.parameters()`, one freezes by
# gradients of zero, one replaced alpha after making the optimiser. In all of them the loss falls:

# %%
learned = {}
for letter, trainer in suspects(SEED).items():
    fallen = [loss for stage in STAGES for loss in trainer.run(stage)]
    learned[letter] = fallen[-1] < fallen[0] / 2
assert all(learned.values())
learned


# %%
def alarm(trainer, stages):
    """What alpha is: "left out", moved "too early" or "too late", or "honest"."""
    raise NotImplementedError("Exercise 9.3")


# %%
checks.ex_9_3(alarm)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Go through `stages` one `trainer.run(stage)` at a time. In which of the three is "arch_alpha"
# among the names that moved?
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def alarm(trainer, stages):
#     found = {}
#     for stage in stages:
#         before = snapshot(trainer.model)
#         trainer.run(stage)
#         found[stage.name] = "arch_alpha" in moved(before, snapshot(trainer.model))
#     if found["warm-up"]:
#         return "too early"
#     if not found["search"]:
#         return "left out"
#     return "too late" if found["settle"] else "honest"
# ```
# A gradient of zero is not no gradient: Adam's momentum rolls on through the settling. In warm-up,
# without any momentum yet, the same trainer looks honest. Set gradients to None.
# </details>

# %% tags=["nbval-ignore-output"]
record(
    entropy_steady=pace[-1],
    entropy_deaf=float(np.median(entropy(silence[-1]))),
    entropy_reached=float(entropy(p[-1]).mean()),
    steadiness=float(steadiness(p).mean()),
    **{
        f"dice_{name.replace('-', '_')}": scores.mean() for name, scores in dice.items()
    },
)

# %% [markdown]
# ## Recap
# *What does the search do, and when does it fail?* It warms kernels up, lets alpha drift while the
# weights move on, and settles. It fails wherever alpha would have drifted so without images.
# - What a stage freezes keeps every bit; that is a test, not a hope.
# - Steps times rate estimate what alpha can reach; gradients that change their mind reach less,
#   growing ones more.
# - Entropy and margin move with the rate, steadiness does not. A deaf search says what is noise.
# - Orders are compared with uniform alpha, failures with chance and a second seed.

# %% [markdown]
# ## In practice
# - Run two seeds before you read any genotype. Where they disagree, report that.
# - A search that cannot be told from uniform is no scandal: the mixture, one cheap kernel, may be
#   what helps.
# - To give alpha a real chance raise steps first, then the batch, the rate last.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`; or set `ALPHA_LR`
# to the core's and `PROFILE` to `laptop`, and look at the grey band again.
#
# ## Further reading
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the stages, in its words.
# - [P-DARTS](https://arxiv.org/abs/1904.12760): skips that win too much, and stages against them.
# - [RobustDARTS](https://arxiv.org/abs/1909.09656): curvature as an early warning.
# - [Random search](https://arxiv.org/abs/1902.07638): a control that searches have to beat.
#
# Next: alpha has settled, and may know little. What does the trained kernel itself say, and how do
# we read it?
#
# [<- 08](08_search_with_a_known_answer.ipynb) | [index](README.md) | [10 ->](10_read_the_result.ipynb)
