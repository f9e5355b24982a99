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
# # 10 · Read what a search chose
#
# > We read one search in two ways, and compute what each reading does not explain. Then we test whether
# > the readings depend on the search and on the seed, and what the trained kernels did to the features.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/10_read_the_result.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/10_read_the_result.ipynb)
#
# **Cost** 46 s · 1.1 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [09](09_stage_wise_search.ipynb).

# %% [markdown]
# **The question:** a search has ended. What did it choose, is the choice reliable, and what did the chosen
# operators do?
#
# **You will build** a report on a search: both readings with their residuals, a control whose alpha
# never moved, the importance of every operator, the Dice that is lost by choosing one operator, and
# measurements of attention and features.
#
# **You will be able to**
# - read a cell by alpha and by projection, and say why they differ;
# - say how much of a cell's output depends on neighbours;
# - save a genotype as a file, and compare two of them;
# - test whether a large alpha means an important operator;
# - test whether an adapter made the answer easier to read from the features.
#
# | you need | where | minutes |
# |---|---|---|
# | the two readings; what alpha finds | [08](08_search_with_a_known_answer.ipynb) | 95 |
# | stages, and searches without evidence | [09](09_stage_wise_search.ipynb) | 95 |
# | the bootstrap over images | [03](03_train_and_measure.ipynb) | 70 |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import json
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F
from naslora_workbook import figures, profile
from naslora_workbook.lessons import checks

from naslora_core import adapt, evaluate, fit, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/

# %%
from naslora_workbook.figures import evidence
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.figures.verdict import probed, responses, unexplained, worth
from naslora_workbook.lessons.exercises.lesson_10 import reordered
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import qkv_inputs
from naslora_workbook.research.bootstrap import seeds_and_images
from naslora_workbook.research.compare import recorded
from naslora_workbook.research.diagnose import importance, norms, without
from naslora_workbook.research.experiment_runs import contrast, experiment

from naslora_core.adapters import LoRA, NASLoRA, cells, choose_operators, discretise
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter
from naslora_core.search import Genotype, stage_wise, weights_only
from naslora_core.training.losses import cross_entropy_dice

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses model, images and steps. `DATA` is the training set. Only blocks 2 to 5 are adapted
# (2 and 5 are global), and alpha has a high rate. The runs are short, so that two seeds of NAS-LoRA and of
# LoRA fit into this lesson. What is said of more seeds is recorded.

# %%
setting = profile(PROFILE)
STEPS, BATCH, LR, ALPHA_LR = setting.steps // 2, setting.batch // 2, 3e-3, 0.1
NAS, PLAIN = NASLoRA(rank=4, blocks="late-4"), LoRA(rank=4, blocks="late-4")
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
classes = len(data.classes)


# %%
def train(method, seed):
    """A method trained on the domain: what `fit` returns."""
    model = adapt(sam, method, classes=classes, seed=seed)
    searches = method is NAS
    schedule = stage_wise(STEPS, LR, ALPHA_LR) if searches else weights_only(STEPS, LR)
    return fit(model, data, schedule, batch=BATCH, seed=seed, progress=False)


# %% tags=["nbval-ignore-output"]
seeds = SEED, SEED + 1
searches = [train(NAS, seed) for seed in seeds]
loras = [train(PLAIN, seed).model for seed in seeds]
model, genotype = searches[0].model, searches[0].genotype
{b.block: f"{b.argmax} ({max(b.probability):.2f})" for b in genotype.blocks}

# %% [markdown]
# That is the first reading, argmax of alpha, with its probability; uniform is 0.11.
#
# ## Projection by hand
# The second reading looks at the trained kernel K: *which neighbours does it use?* A class of operators
# is a list of neighbours that a token may use. Take what the path adds to the layer, $y = W_d (K * z)$,
# and fit it by least squares on those neighbours alone. The share of the sum of squares that the fit
# cannot explain is the class' *residual*. (The fit may use any matrix, because $W_e$ and $W_d$ are
# learned and the basis of z has no meaning.)


# %%
def neighbours(z, side, step=1):
    """The `side x side` tokens around each, `step` apart: z `B r H W` to `n m`."""
    found = F.unfold(z, side, dilation=step, padding=step * (side // 2))
    return found.transpose(1, 2).flatten(0, 1)


def residual(y, inputs):
    """Share of the energy of y `n d` that no linear map of `inputs` `n m` explains."""
    fitted = inputs @ torch.linalg.lstsq(inputs, y).solution
    return ((y - fitted).square().sum() / y.square().sum()).item()


# %%
images, _ = to_batch(data.train[: 2 * setting.batch], setting.image_size)
layers = [block.attn.qkv for block in model.sam.image_encoder.blocks]
layer = layers[-1]
with torch.no_grad():
    z = (qkv_inputs(model, images)[-1] @ layer.We.T).permute(0, 3, 1, 2).double()
    filtered = F.conv2d(z, layer.cell.kernel().double(), padding=2)  # B r H W
    y = filtered.permute(0, 2, 3, 1).flatten(0, 2) @ layer.Wd.T.double()  # n d

# %% tags=["nbval-ignore-output"]
inputs = {
    "skip": neighbours(z, 1),
    "avg_pool_3x3": neighbours(F.avg_pool2d(z, 3, 1, 1), 1),
    "conv_3x3": neighbours(z, 3),
    "dil_conv_3x3": neighbours(z, 3, step=2),
    "conv_5x5": neighbours(z, 5),
}
by_hand = {name: residual(y, x) for name, x in inputs.items()}
{name: f"{share:.2%}" for name, share in by_hand.items()}

# %% tags=["nbval-ignore-output"]
read = choose_operators(model, images)
last = list(read)[-1]
assert all(abs(by_hand[n] - read[last].residual[n]) < 1e-3 for n in inputs)
read[last].projection

# %% [markdown]
# The core's `choose_operators` finds the same residuals, and fits separable kernels, too. Projection
# names the first class, cheap ones first, whose residual is at most 1 %. The residual of `skip` is the
# **off-centre share**: the part of the output that depends on neighbours. If it is small, the block hardly
# uses its neighbours, whatever operator is named.

# %% [markdown]
# ### Exercise 10.1 - the cheapest class
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `torch.linalg.lstsq`, `flatten`
#
# The same without images: fit the kernel itself, and compare sums of squares. Each class is given by
# the kernels that span it, cheap classes first: `skip`, `conv_1x1`, `avg_pool_3x3` and a `cross` of
# five taps.


# %%
def cheapest(kernel, classes, tolerance=0.01):
    """The first class that leaves at most `tolerance`; else "none fits".

    kernel: `r r 3 3`; classes: name -> spanning kernels `m r r 3 3`.
    """
    raise NotImplementedError("Exercise 10.1")


# %%
checks.ex_10_1(cheapest)

# %% [markdown]
# <details><summary>Hint</summary>
#
# With A of shape `9rr m` and k of shape `9rr 1`, `lstsq(A, k).solution` has the weights of the m
# spanning kernels.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def cheapest(kernel, classes, tolerance=0.01):
#     k = kernel.flatten()[:, None]
#     for name, basis in classes.items():
#         A = basis.flatten(1).T
#         left = k - A @ torch.linalg.lstsq(A, k).solution
#         if left.square().sum() <= tolerance * k.square().sum():
#             return name
#     return "none fits"
# ```
# The largest class always fits best. So the order of the classes and the tolerance decide. Both are our
# choice, and another tolerance may name another operator.
# </details>

# %% [markdown]
# ## Side by side
# > **Predict first.** In how many blocks will both readings agree? How large is the off-centre share?


# %% tags=["nbval-ignore-output"]
def row(block, found):
    """Both readings of a block, their residuals, and the off-centre share."""
    return {
        "argmax": block.argmax,
        "argmax's residual": f"{found.residual[block.argmax]:.1%}",
        "projection": found.projection,
        "projection's residual": f"{found.residual[found.projection]:.1%}",
        "off-centre share": f"{found.residual['conv_1x1']:.1%}",
    }


# %% tags=["nbval-ignore-output"]
Rows({b.block: row(b, read[b.block]) for b in genotype.blocks})

# %% tags=["nbval-ignore-output"]
unexplained({b.block: (b.argmax, read[b.block]) for b in genotype.blocks})

# %% [markdown]
# This is one seed. Always read the residuals beside the names. A large class explains nearly everything, so a small
# residual of argmax shows only that the operator is *possible*. If the off-centre share is about 1 %, only
# the last per cent of the output decides that a spatial operator is named. Argmax and kernel can disagree
# for three reasons:
# - **Scale.** Doubling a kernel and halving its weight gives the same cell. Alpha is only the weight.
# - **Nesting.** The 5x5 can compute what any other operator should compute (lesson 08).
# - **The skip beside.** Our start keeps z outside the softmax. There `none` means "nothing more", and
#   projection calls the same cell `skip`.
#
# ## Does projection need the search?
# Recorded: the search on two domains, and the same runs with alpha frozen at uniform; seeds 0, 1, 2, 200
# steps, weights' rate .001. In how many blocks does projection name the same operator in two runs?
# *Shuffled* is the same with the blocks of one run permuted.
#
# > **Predict first.** Will a search and a frozen alpha of the same seed agree? More than two seeds?


# %%
def readings(part, method):
    """Projection of every block, by (domain, seed), of the recorded runs of a method."""
    runs = [r for r in recorded(part) if r["method"] == method]
    return {
        (r["data"], r["seed"]): np.array(
            [b["projection"] for b in r["genotype"]["blocks"]]
        )
        for r in runs
    }


# %%
def agreement(pairs):
    """Share of blocks in which two runs agree, and the same when shuffled."""
    same = np.mean([(a == b).mean() for a, b in pairs])
    shuffled = np.mean([(a[:, None] == b).mean() for a, b in pairs])
    return {"agree": f"{same:.0%}", "shuffled": f"{shuffled:.0%}", "pairs": len(pairs)}


def two_seeds(runs):
    """All pairs of runs on one domain with different seeds."""
    return [(runs[a], runs[b]) for a, b in combinations(runs, 2) if a[0] == b[0]]


# %%
searched, frozen = readings("methods", "nas_lora"), readings("variants", "nas_uniform")
table = {
    "searched and frozen, same seed": agreement(
        [(searched[k], frozen[k]) for k in searched]
    ),
    "searched, two seeds": agreement(two_seeds(searched)),
    "frozen, two seeds": agreement(two_seeds(frozen)),
}
Rows(table)

# %% [markdown]
# With the same seed, a search and a frozen alpha agree in 81 % of blocks (shuffled 52 %). Two seeds agree in
# 44 % (search) and 61 % (frozen), where shuffled blocks agree in 47 % and 45 %. So the name depends more on
# the seed than on the search: projection describes the trained kernel, and most of that is not a result
# *of the search*. (Six pairs of runs each, no interval.) And the off-centre share of those blocks, at the
# weights' two rates:

# %%
places = {"rate .001": "methods", "rate .003": "variants/rate"}
runs = [(rate, r) for rate, part in places.items() for r in recorded(part)]
runs = [(rate, r) for rate, r in runs if r["method"] == "nas_lora"]
shares = {}
for rate, r in runs:
    for block in r["genotype"]["blocks"]:
        key = f"{r['data']}, {rate}"
        shares.setdefault(key, []).append(block["residual"]["conv_1x1"])

# %%
table = {}
for key, values in sorted(shares.items()):
    least, middle, most = (f"{q:.1%}" for q in np.quantile(values, [0, 0.5, 1]))
    table[key] = {"blocks": len(values), "median": middle, "from": least, "to": most}
Rows(table)

# %% [markdown]
# At rate .001 the off-centre share is .5 to 6 % (median about 2 %): the operator's name rests on the few per
# cent that depend on neighbours. At rate .003, LoRA's, it is 1.3 to 12 % (median 5 to 6 %). So at the
# lower rate the cells use their neighbours less. 36 blocks each, three seeds, two domains.

# %% [markdown]
# ## A genotype is a file
# It contains the operator set (with a hash), schedule, data and seed. Without them an alpha is nine
# numbers without meaning.

# %%
with TemporaryDirectory() as folder:
    path = Path(folder) / "genotype.json"
    genotype.save(path)
    again, fields = Genotype.load(path), list(json.loads(path.read_text()))
assert again == genotype
fields


# %% [markdown]
# What is the distance of two genotypes? Take half the sum of $|p_i - q_i|$ over operators, and the mean over
# blocks: 0 for equal softmaxes, 1 for softmaxes that share nothing.
#
# ### Exercise 10.2 - a bug hunt: a distance that depends on the order
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 10 minutes ·
# use `dict`, `zip`
#
# Somebody wrote that distance, and it passed a test: it is zero for a genotype and its copy.
# `reordered` is the same search again, with operators and blocks listed backwards, as another release
# might list them. Correct the function. An operator that one genotype does not know has probability 0
# there.


# %%
def hasty(one, other):
    """The distance of two genotypes."""
    pairs = zip(one.blocks, other.blocks, strict=True)
    apart = [np.subtract(a.probability, b.probability) for a, b in pairs]
    return round(float(np.mean([np.abs(each).sum() / 2 for each in apart])), 3)


# %%
backwards = hasty(genotype, reordered(genotype))
{"copy": hasty(genotype, again), "backwards": backwards}


# %%
def by_name(one, other):
    """The distance of two genotypes, in whatever order they list things."""
    raise NotImplementedError("Exercise 10.2: correct hasty")


# %%
checks.ex_10_2(by_name)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `dict(zip(one.operators, block.probability))`, and a dict of the other's blocks by `.block`.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def by_name(one, other):
#     theirs = {block.block: block for block in other.blocks}
#     distances = []
#     for block in one.blocks:
#         p = dict(zip(one.operators, block.probability))
#         q = dict(zip(other.operators, theirs[block.block].probability))
#         gaps = [abs(p.get(name, 0) - q.get(name, 0)) for name in p | q]
#         distances.append(sum(gaps) / 2)
#     return np.mean(distances)
# ```
# Files of two releases may list operators and blocks in another order. A copy has the same order, so it
# could not show the fault. `operator_hash` lets the core refuse such comparisons.
# </details>

# %% [markdown]
# ## Take operators out
# How important is an operator? Leave it out and measure again, on images that were not used for
# training: set its alpha to minus infinity, and the others share its weight.


# %%
@torch.no_grad()
def rise(model, cell, number, images, masks):
    """How much the loss rises when operator `number` of a cell is left out."""
    whole = cross_entropy_dice(model(images).masks, masks)
    before = cell.arch_alpha.clone()
    cell.arch_alpha[number] = -torch.inf
    without_it = cross_entropy_dice(model(images).masks, masks)
    cell.arch_alpha.copy_(before)
    return (without_it - whole).item()


judged = to_batch(data.val[: setting.batch], setting.image_size)


# %% tags=["nbval-ignore-output"]
found = importance(model, *judged)  # every operator of every block
cell = cells(model)[last]
favourite = int(cell.arch_alpha.argmax())
by_hand = rise(model, cell, favourite, *judged)
assert np.isclose(by_hand, found[last][genotype.operators[favourite]], atol=1e-5)
round(by_hand, 4)

# %% [markdown]
# A third measure is the size of an operator's output, $|a_i O_i(z)| / |z|$.
#
# > **Predict first.** Rank the operators of each block by alpha, by size and by importance (the rise of
# > the loss). How well do the first two predict the third? (1: perfectly, 0: not at all.)


# %% tags=["nbval-ignore-output"]
def rank_correlation(values, target):
    """Correlation of ranks within blocks, both `blocks operators`."""
    ranks = [v.argsort(1).argsort(1).ravel() for v in (values, target)]
    return np.corrcoef(*ranks)[0, 1]


def as_table(by_block):
    """`blocks operators` from {block: {operator: value}}."""
    return np.array([[row[n] for n in genotype.operators] for row in by_block.values()])


def by_chance(values, target, draws=1000):
    """Correlations with the values of each block permuted."""
    rng = np.random.default_rng(SEED)
    return [
        rank_correlation(rng.permuted(values, axis=1), target) for _ in range(draws)
    ]


# %% tags=["nbval-ignore-output"]
rises, sizes = as_table(found), as_table(norms(model, judged[0]))
p = np.array([block.probability for block in genotype.blocks])
measures = {"probability": p, "size": sizes}
rho = {name: rank_correlation(values, rises) for name, values in measures.items()}
limit = np.quantile(np.abs(by_chance(p, rises)), 0.95)
worth(genotype.operators, measures, rises, rho, limit)

# %% [markdown]
# The title says whether a measure predicts importance better than 95 % of shuffles do; above each plot is
# its correlation (one seed). A point below zero is an operator without which the loss is *lower*. Masking a large
# operator also makes the whole path smaller, so importance and size are not independent. The direct test:
# leave one operator out of *every* block, chosen by each ranking, and measure the test images.


# %%
def interval(values, draws=2000):
    """Mean, and where 95 % of means lie when images are drawn again."""
    picks = np.random.default_rng(SEED).integers(len(values), size=(draws, len(values)))
    means = np.nanmean(values[picks], 1)
    return np.nanmean(values), *np.quantile(means, [0.025, 0.975])


# %% tags=["nbval-ignore-output"]
def dice_without(numbers):
    """Dice of the test images with one operator left out of every block."""
    with ExitStack() as stack:
        for cell, number in zip(cells(model).values(), numbers, strict=True):
            stack.enter_context(without(cell, int(number)))
        return evaluate(model, data.test, classes=classes).dice


# %% tags=["nbval-ignore-output"]
mixture = evaluate(model, data.test, classes=classes).dice
left_out = {"largest alpha": p.argmax(1), "largest output": sizes.argmax(1)}
left_out |= {"most important": rises.argmax(1), "least important": rises.argmin(1)}

# %% tags=["nbval-ignore-output"]
table = {}
for name, numbers in left_out.items():
    loss, low, high = interval(mixture - dice_without(numbers))
    words = "cannot tell" if low <= 0 <= high else "lost" if loss > 0 else "gained"
    table[name] = {"Dice lost": f"{loss:+.3f} ({low:+.3f} to {high:+.3f})", "": words}
Rows(table)

# %% [markdown]
# With a good ranking, Dice falls most when its first operator is left out. Where intervals overlap, these
# images cannot say which ranking is better. Where all intervals include zero, no single operator is shown
# to matter. This is one seed.

# %% [markdown]
# ## What choosing loses
# To *choose* is to keep one operator in each block. `discretise` replaces the mixture by the nearest
# member of the named class, without any training after it. The Dice that this loses is the *discretisation
# gap*.


# %% tags=["nbval-ignore-output"]
gaps, table = {}, {}
for reading in ("projection", "argmax"):
    chosen = discretise(sam, model, images, reading)
    gap = evaluate(chosen, data.test, classes=classes).dice - mixture
    mean, low, high = interval(gap)
    gaps[reading] = mean
    table[reading] = {
        "Dice minus the mixture's": f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"
    }
Rows(table)

# %% [markdown]
# Projection loses at most 1 % of the *energy* in each block, on the images on which it was read; the table
# says what that means in Dice. Argmax gives no such bound, and loses more here. This is one seed, a high rate
# of alpha, and no training after the choice.
#
# Recorded: camouflage, seeds 0, 1, 2, the default rate of alpha, 100 steps. Then the mixture and either choice
# train their weights for 40 more steps. IoU on 48 validation images; *cost* is the multiply-adds of all cells.
# The last two rows add a *price* to the search: .1 times the expected share of multiply-adds, in the loss.

# %%
SEARCHED = {"": "settled", ", price .1": "settled_price_0.1"}
table = {}
for label, arm in SEARCHED.items():
    settled = [r["after"] for r in experiment("choice") if r["arm"] == arm]
    for reading in ("projection", "argmax"):
        row = table.setdefault(f"{reading}{label}", {})
        saved = [1 - r[reading]["macs"] / r["mixture"]["macs"] for r in settled]
        row["cost saved"] = f"{min(saved):.0%} to {max(saved):.0%}"
        for when in ("before", "after"):
            gap = [np.subtract(r[reading][when], r["mixture"][when]) for r in settled]
            found = seeds_and_images(gap, 1 - 0.05 / 8)
            row[f"IoU minus the mixture's, {when}"] = f"{found}: {found.words}"
Rows(table)

# %% [markdown]
# Without the price neither choice loses IoU that we can tell, although argmax saves most of the cells' cost. With
# the price argmax saves all of it: it names `none` in every block, which is LoRA. That loses .022 at once, and after
# the 40 steps we cannot tell. One of three projected runs with the price collapsed in those steps (hence the wide
# interval); the reason was not found. So a choice can be cheap and need not be. Measure the gap.
#
# ## Is a genotype good by itself?
# If a search finds what a domain needs, its genotype should help a new run. Recorded, 100 steps, seeds 0, 1, 2:
# LoRA with one operator in each block, named by argmax. The *own* genotype is compared with the same operators
# in permuted blocks, with random operators, and with the other domain's. On `neighbours` only neighbours tell of
# the object (lesson [12](12_compare_everything.ipynb)).
#
# > **Predict first.** Which comparison should the own genotype win most easily?

# %%
trained = experiment("transfer", "heterogeneous")
PAIRS = [("permuted blocks", "shuffled"), ("random operators", "random")]
rivals = {
    (name, n): arm for name in ("neighbours", "camouflage", "polyp") for n, arm in PAIRS
}
for name in ("camouflage", "polyp"):
    rivals[name, "the other domain's"] = "other"
transfer = {}
for (name, other), arm in rivals.items():
    pair = "genotype_own", f"genotype_{arm}"
    transfer[f"{name}: own - {other}"] = contrast(trained, name, *pair, 1 - 0.05 / 8)
evidence.differences(transfer, "difference in IoU after 100 steps")

# %% [markdown]
# Corrected for eight comparisons, all intervals include zero: three seeds cannot tell the own genotype from the
# same operators in another order, from random ones, or from the other domain's. Differences of .03 to .12 could
# hide here. So nothing shows that these searches found which block needs which operator.
#
# A positive control: the teacher is `sam_nano` with a different operator in each of its last four blocks (1x1,
# 3x3 mean, 5x5, dilated 3x3, in an order drawn by the seed). Students imitate its embeddings, 200 steps. The
# table has the squared error on new images as a share of the base's; lower is better.

# %%
STUDENTS = {
    "own genotype, by argmax": "genotype, argmax",
    "its blocks permuted": "genotype, argmax, shuffled",
    "the teacher's operators": "planted",
    "alpha searched": "searched",
    "alpha frozen": "uniform",
    "LoRA": "lora",
}
errors = {}
for label, name in STUDENTS.items():
    runs = [r for r in experiment("mixed_teacher") if r["student"] == name]
    errors[label] = {f"seed {r['seed']}": f"{r['error']:.3f}" for r in runs}
Rows(errors)

# %% [markdown]
# Here the own genotype is ahead of its permuted blocks on all three seeds, and the search of alpha frozen. So a
# genotype can matter, and a search can find it, where the blocks
# need different operators. On our image domains nothing shows such a need.

# %% [markdown]
# ## What the operator did
# LoRA changes each token by itself. A kernel with neighbours acts like a filter. We apply the whole path,
# $W_d \hat K(\omega) W_e$, to sine waves of the map (horizontal and vertical), and measure the size of the
# output. LoRA passes all waves alike.


# %%
@torch.no_grad()
def response(layer, waves=16):
    """Strength at 0 to 1/2 waves a token, `waves + 1`; 1 at 0."""
    found = 0
    for axis in (2, 3):
        K = torch.fft.rfft(layer.cell.kernel().sum(axis), 2 * waves)  # r r f
        path = torch.einsum("dr,rsf,se->fde", layer.Wd + 0j, K, layer.We + 0j)
        found = found + path.abs().square().sum((1, 2))
    return (found / found[0]).sqrt().cpu().numpy()


# %% [markdown]
# > **Predict first.** Will a trained cell smooth (fall to the right) or sharpen (rise)?

# %% tags=["nbval-ignore-output"]
waves = np.linspace(0, 0.5, 17)
passed = {"LoRA": np.ones(17)}
adapted_layers = layers[-len(cells(model)) :]
for label, path in zip(cells(model), adapted_layers, strict=True):
    passed[label] = response(path)
responses(waves, passed)

# %% [markdown]
# A falling line is a smoothing filter, a rising one an edge filter, and a flat one equals LoRA. In this run
# (one seed) every cell weakens the shortest waves. This need
# not agree with the off-centre share above. The curve counts all waves alike; the share counts them as they
# occur in z. If z has few short waves, a steep filter changes the output little.
#
# ## Attention distance
# The adapter changes qkv, so it can change attention. The *attention distance* of a block is the mean
# distance from a token to the tokens that it attends to, weighted by the attention.
#
# > **Predict first.** Will tokens attend further away after adaptation, or nearer?

# %% tags=["nbval-ignore-output"]
pixels = Segmenter(sam).preprocess(images[:4])
encoders = {"base": sam.image_encoder, "NAS-LoRA": model.sam.image_encoder}
lines = {n: figures.attention_distance(e, pixels) for n, e in encoders.items()}
figures.distances(lines, [block.window_size > 0 for block in sam.image_encoder.blocks])

# %% [markdown]
# Blocks 0 and 1 are not adapted, so their lines coincide. One seed, four images. Attention distance says
# how far tokens attend, not what they represent. The next measurement does.
#
# ## Is the answer easier to read from the features?
# NAS-LoRA's paper says that its encoder learns semantics gradually. If it does, a simple reader should find
# the answer in the features. The simplest is a linear probe: from one token of the embedding to
# the share of foreground in that token's patch. It is fitted on training images and scored on test
# images, by the correlation of the two in each image. This measures what is linearly readable. It does
# not measure what the decoder uses.


# %%
@torch.no_grad()
def tokens(model, samples):
    """Embedding with a constant `n t C+1`, and every token's foreground share `n t`."""
    images, masks = to_batch(samples, setting.image_size)
    e = model.encode(model.preprocess(images)).double().cpu()
    share = F.adaptive_avg_pool2d((masks > 0).double()[:, None], e.shape[-2:])
    return F.pad(e.flatten(2).transpose(1, 2), (0, 1), value=1), share.flatten(1)


# %%
def probe(model, ridge=10):
    """Of every test image the correlation of the probe with the truth."""
    x, y = tokens(model, data.train[:])
    gram = torch.einsum("nti,ntj->ij", x, x) + ridge * torch.eye(x.shape[-1])
    w = torch.linalg.solve(gram, torch.einsum("nti,nt->i", x, y))
    x, y = tokens(model, data.test[:])
    pairs = zip((x @ w).numpy(), y.numpy(), strict=True)
    return np.array([np.corrcoef(*pair)[0, 1] for pair in pairs])


def ends(differences):
    """Mean and ends of the interval, seeds and images redrawn."""
    found = seeds_and_images(differences)
    return found.mean, found.low, found.high


# %% [markdown]
# > **Predict first.** LoRA trained on these labels, so it should beat the base. Does NAS-LoRA beat
# > LoRA?

# %% tags=["nbval-ignore-output"]
base = probe(Segmenter(sam))
lora_scores = [probe(each) for each in loras]
nas_scores = [probe(each.model) for each in searches]
scores = {"base": [base], "LoRA": lora_scores, "NAS-LoRA": nas_scores}
gains = {
    "LoRA - base": np.subtract(lora_scores, base),
    "NAS-LoRA - LoRA": np.subtract(nas_scores, lora_scores),
}

each = {name: ends(values) for name, values in scores.items()}
paired = {name: ends(values) for name, values in gains.items()}
probed(each, paired, "correlation with the truth, test images", "two seeds")

# %% [markdown]
# Both seeds together, seeds and images redrawn. Two seeds and short runs are few: read "higher" here as a
# reason to run more.

# %% tags=["nbval-ignore-output"]
record(
    readings_agree=sum(b.argmax == read[b.block].projection for b in genotype.blocks),
    off_centre_share=float(np.median([r.residual["conv_1x1"] for r in read.values()])),
    rank_correlation_alpha=float(rho["probability"]),
    rank_correlation_size=float(rho["size"]),
    gap_projection=float(gaps["projection"]),
    gap_argmax=float(gaps["argmax"]),
)

# %% [markdown]
# ## Recap
# *What did the search choose, is the choice reliable, and what did it do?* It trained a kernel, and most of
# that kernel acts on single tokens.
# - Projection says which neighbours the kernel uses, within a tolerance. Read its residual and the
#   off-centre share beside it: recorded, .5 to 6 % at rate .001 and 1.3 to 12 % at .003.
# - Projection depends more on the seed than on the search: with alpha frozen and the same seed it names the
#   same operator in 81 % of blocks (shuffled 52 %). Two seeds of the search agree in 44 % (shuffled 47 %).
# - Compare genotypes by names, never by places.
# - Whether a large alpha means an important operator has to be measured: by masking, and by leaving an
#   operator out of every block. In our short search (one seed) no operator was shown to matter.
# - Choosing one operator may lose Dice: live, by argmax more than by projection (one seed). Recorded, three
#   seeds, no price: we cannot tell a loss for either reading.
# - Recorded on three domains, three seeds: we cannot tell a domain's own genotype from its operators in permuted
#   blocks, from random operators, or from another domain's. With a teacher that needs different
#   operators by block, it is ahead on all three seeds.

# %% [markdown]
# ## In practice
# - Report both readings with residuals, a second seed, a run with alpha frozen, and the discretisation gap.
#   `naslora_workbook.research.diagnose` has sizes, masking, and the curvature in alpha.
# - Mask on images that were not used for training, in `eval()`. On others an operator that memorised
#   looks important.
# - The tokens of one image are not independent: redraw images, here as everywhere.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`, or `PROFILE` to
# `laptop`, and look at the off-centre share.
#
# ## Further reading
# - [Rethinking architecture selection](https://arxiv.org/abs/2108.04392): masking against magnitude, for DARTS.
# - [DARTS](https://arxiv.org/abs/1806.09055): where argmax comes from.
# - [RobustDARTS](https://arxiv.org/abs/1909.09656): curvature in alpha, and the gap of choosing.
# - [Linear probes](https://arxiv.org/abs/1610.01644): what they can say of a layer, and what not.
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the claim about semantics, in its own words.
#
# Next: the mixture can be shipped as it is. Which part folds into the base exactly, and which does not?
#
# [<- 09](09_stage_wise_search.ipynb) | [index](README.md) | [11 ->](11_fold_and_ship.ipynb)
