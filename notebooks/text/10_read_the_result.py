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
# > Two readings of one search, held against another domain and another seed; operators taken out
# > one by one; and what the chosen kernels did to the features.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/10_read_the_result.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/10_read_the_result.ipynb)
#
# **Cost** 46 s · 1.1 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [09](09_stage_wise_search.ipynb).

# %% [markdown]
# **The question:** a search has ended. What did it choose, can one believe it, and what did the
# chosen operators do?
#
# **You will build** a verdict on a search: both readings, their stability, the worth of every
# operator, the gap of choosing, and a probe of what the encoder knows now.
#
# **You will be able to**
# - read a cell by alpha and by projection, and say why they differ;
# - keep a genotype as a file, and compare two of them;
# - tell a domain's fingerprint from a seed's;
# - test whether a large alpha means an important operator;
# - test whether an adapter made the answer easier to read off the features.
#
# | you need | where | minutes |
# |---|---|---|
# | the two readings; what alpha cannot tell | [08](08_search_with_a_known_answer.ipynb) | 30 |
# | stages, and a search that hears noise | [09](09_stage_wise_search.ipynb) | 30 |
# | the bootstrap over images | [03](03_train_and_measure.ipynb) | 30 |

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
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.lessons import checks

from naslora_core import adapt, evaluate, fit, load_sam

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain, or the path of a folder with images/ and masks/
OTHER = "vessel"  # a second one, to compare genotypes with

# %%
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.figures.verdict import kinship, listening, probed, worth
from naslora_workbook.lessons.exercises.lesson_10 import distance, reordered
from naslora_workbook.lessons.headline import record
from naslora_workbook.lessons.routing import qkv_inputs
from naslora_workbook.research.compare import recorded
from naslora_workbook.research.diagnose import importance, norms, without

from naslora_core.adapters import LoRA, NASLoRA, cells, choose_operators, discretise
from naslora_core.data import open_data, to_batch
from naslora_core.sam import Segmenter
from naslora_core.search import Genotype, stage_wise, weights_only
from naslora_core.training.losses import cross_entropy_dice

# %% [markdown]
# ## What each setting decides
# `PROFILE` chooses model, images and steps. `DATA` is the search that we read; it is run again with
# the next seed, and on `OTHER` with both seeds. Only the last four blocks are adapted, two windowed
# and two global, and alpha walks fast: short runs, so that four of them fit into this lesson.

# %%
setting = profile(PROFILE)
STEPS, BATCH, LR, ALPHA_LR = setting.steps // 2, setting.batch // 2, 3e-3, 0.1
SEARCHED, PLAIN = NASLoRA(rank=4, blocks="late-4"), LoRA(rank=4, blocks="late-4")
sam = load_sam(setting.model).to(setting.device)
sets = {name: open_data(name, setting, seed=SEED) for name in (DATA, OTHER)}
data, classes = sets[DATA], len(sets[DATA].classes)
Rows({name: {"train": len(d.train), "test": len(d.test)} for name, d in sets.items()})


# %% tags=["nbval-ignore-output"]
def train(name, method, seed=SEED):
    """A method trained on a domain: what `fit` returns."""
    model = adapt(sam, method, classes=len(sets[name].classes), seed=seed)
    plan = weights_only(STEPS, LR)
    if method is SEARCHED:
        plan = stage_wise(STEPS, LR, ALPHA_LR)
    return fit(model, sets[name], plan, batch=BATCH, seed=seed, progress=False)


cases = [(name, seed) for name in sets for seed in (SEED, SEED + 1)]
runs = {(name, seed): train(name, SEARCHED, seed) for name, seed in cases}
lora, model = train(DATA, PLAIN).model, runs[DATA, SEED].model
genotype = runs[DATA, SEED].genotype
figures.operators(genotype)

# %% [markdown]
# Bars are alpha's softmax, the dotted line is uniform. The diamond is the second reading:
#
# ## Projection by hand
# It asks the trained kernel K itself: *which neighbours do you need?* A class of operators is a
# list of neighbours that a token may hear. Take what the path adds to the layer, $y = W_d (K * z)$,
# and fit it by least squares on those neighbours alone. What is left over, as a share of the sum of
# squares, is what the class cannot say. (The fit may use any matrix: $W_e$ and $W_d$ are learned,
# and the basis of z means nothing.)


# %%
def neighbours(z, side, step=1):
    """The `side x side` tokens around each, `step` apart: z `B r H W` to `n m`."""
    found = F.unfold(z, side, dilation=step, padding=step * (side // 2))
    return found.transpose(1, 2).flatten(0, 1)


def left_over(y, heard):
    """Share of the energy of y `n d` that no linear map of `heard` `n m` explains."""
    said = heard @ torch.linalg.lstsq(heard, y).solution
    return ((y - said).square().sum() / y.square().sum()).item()


# %%
images, _ = to_batch(data.train[: 2 * setting.batch], setting.image_size)
layers = [block.attn.qkv for block in model.sam.image_encoder.blocks]
layer = layers[-1]
with torch.no_grad():
    z = (qkv_inputs(model, images)[-1] @ layer.We.T).permute(0, 3, 1, 2).double()
    y = neighbours(F.conv2d(z, layer.cell.kernel().double(), padding=2), 1)
    y = y @ layer.Wd.T.double()

# %% tags=["nbval-ignore-output"]
hears = {
    "skip": neighbours(z, 1),
    "avg_pool_3x3": neighbours(F.avg_pool2d(z, 3, 1, 1), 1),
    "conv_3x3": neighbours(z, 3),
    "dil_conv_3x3": neighbours(z, 3, step=2),
    "conv_5x5": neighbours(z, 5),
}
by_hand = {name: left_over(y, heard) for name, heard in hears.items()}
read = choose_operators(model, images)
last = list(read)[-1]
assert all(abs(by_hand[n] - read[last].residual[n]) < 1e-3 for n in hears)
{name: f"{share:.2%}" for name, share in by_hand.items()}

# %% [markdown]
# The core's `choices` finds the same, and knows separable kernels, too. The first class, cheap ones
# first, that leaves at most 1 % is the reading. If `skip` leaves little, the block hardly *needs*
# its neighbours, whatever alpha says.

# %% [markdown]
# ### Exercise 10.1 - the cheapest class
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `torch.linalg.lstsq`, `flatten`
#
# The same without images: fit the kernel itself, and compare sums of its squares. Each class is
# given by the kernels that span it, cheap classes first: `skip`, `conv_1x1`, `avg_pool_3x3` and a
# `cross` of five taps.


# %%
def cheapest(kernel, classes, tolerance=0.01):
    """The first class that leaves at most `tolerance` of a kernel, or "none fits".

    kernel: `r r 3 3`; classes: name -> spanning kernels `m r r 3 3`.
    """
    raise NotImplementedError("Exercise 10.1")


# %%
checks.ex_10_1(cheapest)

# %% [markdown]
# <details><summary>Hint</summary>
#
# With A of shape `9rr m` and k of `9rr 1`, `lstsq(A, k).solution` weighs the m spanning kernels.
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
# The best fit is always the largest class: order and tolerance make a choice of it. Both are ours,
# and with another tolerance another operator may be named.
# </details>

# %% [markdown]
# ## Side by side
# > **Predict first.** In how many blocks will both readings agree? Where they do not, which one
# > names the larger operator?


# %% tags=["nbval-ignore-output"]
def row(block, found):
    """Both readings of a block, and how sure they are."""
    number = int(block.block.split()[1])
    window = model.sam.image_encoder.blocks[number].window_size
    return {
        "sees": "a window" if window else "the whole map",
        "argmax": block.argmax,
        "argmax leaves": f"{found.residual[block.argmax]:.1%}",
        "projection": found.projection,
        "projection leaves": f"{found.residual[found.projection]:.1%}",
        "margin": f"{block.margin:.2f}",
        "entropy": f"{block.entropy:.2f}",
    }


Rows({b.block: row(b, read[b.block]) for b in genotype.blocks})

# %% [markdown]
# Read the columns *leaves*, what is left unexplained. An argmax that leaves nearly nothing is
# *possible*, not proven: large classes can be anything. One that leaves 1.0 % may have missed the
# tolerance by a digit that is not shown. One that leaves much contradicts its own kernel. How can
# that be?
# - **Scale.** Doubling a kernel and halving its weight is the same cell. Alpha sees only the
#   weight.
# - **Nesting.** The 5x5 can do what any other should have done (lesson 08 dressed one function in
#   nine alphas).
# - **The skip beside.** Our start keeps z outside the softmax. There `none` means "nothing *more*":
#   the path lives on, and projection calls the same cell `skip`.
#
# So alpha is where a free parameter came to rest; projection speaks of the function, on this data,
# within 1 %.

# %% [markdown]
# ## A genotype is a file
# It names the operator set (with a hash), schedule, data and seed: without them an alpha is nine
# numbers.

# %%
with TemporaryDirectory() as folder:
    path = Path(folder) / "genotype.json"
    genotype.save(path)
    again, fields = Genotype.load(path), list(json.loads(path.read_text()))
assert again == genotype
fields


# %% [markdown]
# Now two of them. What changed from one domain to the other?


# %% tags=["nbval-ignore-output"]
def changes(one, other, reading):
    """By block what a reading says in two genotypes; equal ones as one word."""
    said = {b.block: getattr(b, reading) for b in other.blocks}
    pairs = {b.block: (getattr(b, reading), said[b.block]) for b in one.blocks}
    return {b: " → ".join(dict.fromkeys(map(str, pair))) for b, pair in pairs.items()}


other = runs[OTHER, SEED].genotype
Rows({name: changes(genotype, other, name) for name in ("argmax", "projection")})

# %% [markdown]
# Arrows invite a story ("thin lines want ..."). Resist. First a number, the distance of two
# softmaxes: half the sum of $|p_i - q_i|$ over operators, mean over blocks.
#
# ### Exercise 10.2 - a bug hunt: a search unlike itself
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 10 minutes ·
# use `dict`, `zip`
#
# Somebody wrote that distance, and it passed a test: zero for a genotype and its copy. `reordered`
# is the same search again, its operators and blocks listed backwards, as another release might.
# Mend it; an operator that one genotype does not know has probability 0 there.


# %%
def hasty(one, other):
    """The distance of two genotypes."""
    pairs = zip(one.blocks, other.blocks, strict=True)
    return np.mean(
        [np.abs(np.subtract(a.probability, b.probability)).sum() / 2 for a, b in pairs]
    )


twice = genotype, reordered(genotype)
{"copy": bool(hasty(genotype, again) == 0), "backwards": bool(hasty(*twice) == 0)}


# %%
def mended(one, other):
    """The distance of two genotypes, in whatever order they list things."""
    raise NotImplementedError("Exercise 10.2: mend hasty")


# %%
checks.ex_10_2(mended)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `dict(zip(one.operators, block.probability))`, and a dict of the other's blocks by `.block`.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def mended(one, other):
#     theirs, found = {b.block: b for b in other.blocks}, []
#     for block in one.blocks:
#         p = dict(zip(one.operators, block.probability))
#         q = dict(zip(other.operators, theirs[block.block].probability))
#         found.append(sum(abs(p.get(n, 0) - q.get(n, 0)) for n in p | q) / 2)
#     return np.mean(found)
# ```
# A place is not a name. The copy could not show it, for its places agree; `operator_hash` exists to
# refuse such comparisons early.
# </details>

# %% [markdown]
# ## Fingerprint of a domain, or of a seed?
# Two domains, two seeds: six pairs. If genotypes speak of the data, searches on the *same domain*
# are near each other. But the seed draws the kernels that alpha learns about.
#
# > **Predict first.** Which pairs are closest: same domain, same seed, or neither?


# %% tags=["nbval-ignore-output"]
def shared(a, b):
    """What two searches have in common."""
    return "same domain" if a[0] == b[0] else "same seed" if a[1] == b[1] else "neither"


def apart(a, b):
    """Distance of their softmaxes, and the share of blocks with another projection."""
    one, other = runs[a].genotype, runs[b].genotype
    said = changes(one, other, "projection").values()
    return distance(one, other), np.mean(["→" in change for change in said])


pairs = {"same domain": [], "same seed": [], "neither": []}
for pair in combinations(runs, 2):
    pairs[shared(*pair)].append(apart(*pair))
kinship(pairs)

# %% [markdown]
# Dots are pairs, the stroke is their mean. Only if the first row lay clearly left of the others
# would an arrow above be about the domain. If *same seed* is as near, alpha remembers its start; if
# all rows overlap, there is nothing to explain. Two pairs a row decide little, so also longer
# searches on real polyps (Kvasir), recorded: in how many blocks do two seeds agree?


# %% tags=["nbval-ignore-output"]
def agreement(searches, reading):
    """Share of blocks in which two seeds agree, and what shuffled blocks would give."""
    said = [[b[reading] for b in s["genotype"]["blocks"]] for s in searches]
    hits, by_chance = [], []
    for one, other in combinations(said, 2):
        hits += [a == b for a, b in zip(one, other, strict=True)]
        by_chance += [a == b for a in one for b in other]
    return {"agree": f"{np.mean(hits):.0%}", "shuffled": f"{np.mean(by_chance):.0%}"}


searches = [r for r in recorded("kvasir_polyp") if r["method"] == "nas_lora"]
made = {s["provenance"]["device"] + ", " + s["provenance"]["date"] for s in searches}
made = {"seeds": len(searches), "recorded on": "; ".join(made)}
Rows({n: agreement(searches, n) | made for n in ("argmax", "projection")})

# %% [markdown]
# Compare each row with *its* shuffle: a reading that names the same few classes everywhere agrees
# often by habit.

# %% [markdown]
# ## Take operators out
# What would an operator's *worth* be? Leave it out and measure again, on images that trained
# nothing: set its alpha to minus infinity, so that the others share its weight.


# %%
@torch.no_grad()
def rise(model, cell, number, images, masks):
    """How much the loss rises without operator `number` of a cell."""
    whole = cross_entropy_dice(model(images).masks, masks)
    before = cell.arch_alpha.clone()
    cell.arch_alpha[number] = -torch.inf
    without_it = cross_entropy_dice(model(images).masks, masks)
    cell.arch_alpha.copy_(before)
    return (without_it - whole).item()


# %% tags=["nbval-ignore-output"]
judged = to_batch(data.val[: setting.batch], setting.image_size)
found = importance(model, *judged)  # every operator of every block
favourite = int(cells(model)[last].arch_alpha.argmax())
by_hand = rise(model, cells(model)[last], favourite, *judged)
assert np.isclose(by_hand, found[last][genotype.operators[favourite]], atol=1e-5)
round(by_hand, 4)

# %% [markdown]
# A third guide, beside alpha and masking, is how *loud* an operator is, $|a_i O_i(z)| / |z|$.
#
# > **Predict first.** Rank the operators of each block by alpha, by loudness and by importance (the
# > rise). How well do the first two guess the third? (1: perfectly, 0: not at all, -1: backwards.)


# %% tags=["nbval-ignore-output"]
def guess(values, target):
    """Correlation of ranks within blocks, both `blocks operators`."""
    ranks = [v.argsort(1).argsort(1).ravel() for v in (values, target)]
    return np.corrcoef(*ranks)[0, 1]


names, loud = genotype.operators, norms(model, judged[0])
rises, volume = (np.array([[d[b][n] for n in names] for b in d]) for d in (found, loud))
p = np.array([block.probability for block in genotype.blocks])
measures = {"probability": p, "loudness": volume}
rng = np.random.default_rng(SEED)
shuffled = [guess(rng.permuted(p, axis=1), rises) for _ in range(1000)]
rho = {name: guess(values, rises) for name, values in measures.items()}
worth(names, measures, rises, rho, np.quantile(np.abs(shuffled), 0.95))

# %% [markdown]
# A point below zero is an operator the model does *better* without. Beware: without a loud operator
# the whole path is quieter, so masking measures an operator and a volume at once. The honest test
# is to act on it. Leave one operator out of *every* block, chosen by each ranking, and score the
# test images; positive is lost Dice, with its interval over images:


# %%
def interval(values, draws=2000):
    """Mean, and where 95 % of means lie when images are drawn again."""
    picks = np.random.default_rng(SEED).integers(len(values), size=(draws, len(values)))
    means = np.nanmean(values[picks], 1)
    return np.nanmean(values), *np.quantile(means, [0.025, 0.975])


def told(values):
    """The mean and its interval, as text."""
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*interval(values))


# %% tags=["nbval-ignore-output"]
def dice_without(numbers):
    """Dice of the test images with one operator left out of every block."""
    with ExitStack() as stack:
        for cell, number in zip(cells(model).values(), numbers, strict=True):
            stack.enter_context(without(cell, int(number)))
        return evaluate(model, data.test, classes=classes).dice


mixture = evaluate(model, data.test, classes=classes).dice
left_out = {"largest alpha": p.argmax(1), "loudest": volume.argmax(1)}
left_out |= {"most important": rises.argmax(1), "least important": rises.argmin(1)}
drops = {name: mixture - dice_without(numbers) for name, numbers in left_out.items()}
{name: told(drop) for name, drop in drops.items()}

# %% [markdown]
# A good ranking tears a hole with its first choice. Is "most important" still the worst loss, on
# images that did not choose it? Where it loses *least*, masking on a few validation images did not
# carry over; where intervals overlap, these images cannot rank the rankings. If all four hold zero,
# no single operator is shown to matter, and the genotype describes a crowd.

# %% [markdown]
# ## The gap of choosing
# To *choose* is to keep one operator a block: `discretise` puts the nearest member of the named
# class there, and nothing is retrained.


# %% tags=["nbval-ignore-output"]
gaps, rows = {}, {"mixture": {"Dice": f"{mixture.mean():.3f}", "to the mixture": "-"}}
for reading in ("projection", "argmax"):
    kept = discretise(sam, model, images, reading)
    dice = evaluate(kept, data.test, classes=classes).dice
    gaps[reading] = np.nanmean(dice - mixture)
    rows[reading] = {
        "Dice": f"{dice.mean():.3f}",
        "to the mixture": told(dice - mixture),
    }
Rows(rows)

# %% [markdown]
# Projection may lose a per cent of *energy* a block, by definition; the row says what that is in
# Dice. Argmax promises nothing: where its class left much above, the mixture's work is thrown away.
# Training on would repair some of it, at the price of passes.

# %% [markdown]
# ## Before and after
# The median test images of LoRA and of NAS-LoRA, so that neither shows off. Truth is outlined.

# %% tags=["nbval-ignore-output"]
models = {"base": Segmenter(sam), "LoRA": lora, "NAS-LoRA": model}
scores = {n: evaluate(m, data.test, classes=classes) for n, m in models.items()}
medians = dict.fromkeys(scores[name].median_image for name in ("LoRA", "NAS-LoRA"))


def draw(axes, image):
    """One test image under all models."""
    for ax, (name, found) in zip(axes, scores.items(), strict=True):
        sample = data.test[image]
        figures.overlay(ax, sample.image, found.masks[image], sample.mask)
        ax.set_title(f"{name}, Dice {found.dice[image]:.2f}")
    return axes[0].get_title(loc="left")


means = ", ".join(f"{name} {found.dice.mean():.2f}" for name, found in scores.items())
figures.panel(draw, list(medians), title=f"Mean Dice without a prompt: {means}", axes=3)

# %% [markdown]
# Two images are a look, not a result; the title has the mean over all.
#
# ## What the operator did
# In LoRA every token speaks for itself. Split what NAS-LoRA's last cell adds to its layer: the
# kernel's centre tap hears the token, all other taps its neighbours. (Norms behind $W_d$ do not
# depend on the basis of z.)


# %%
@torch.no_grad()
def parts(layer, x):
    """Norms `H W` of what a token and its neighbours add; x `1 H W d`."""
    K, z = layer.cell.kernel(), (x @ layer.We.T).permute(0, 3, 1, 2)
    own, c = torch.zeros_like(K), K.shape[-1] // 2
    own[..., c, c] = K[..., c, c]
    heard = {"own token": own, "neighbours": K - own}
    said = {n: F.conv2d(z, k, padding=c)[0].permute(1, 2, 0) for n, k in heard.items()}
    return {n: (y @ layer.Wd.T).norm(dim=-1).cpu().numpy() for n, y in said.items()}


# %% [markdown]
# And its frequency response: how strongly does the whole path, $W_d \hat K(\omega) W_e$, pass waves
# across and down? A path without neighbours passes all alike.


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
middle = data.test[scores["NAS-LoRA"].median_image]
one, _ = to_batch([middle], setting.image_size)
added = parts(layer, qkv_inputs(model, one)[-1])
waves = np.linspace(0, 0.5, 17)
paths = [b.attn.qkv for b in model.sam.image_encoder.blocks]
curves = [response(path) for path in paths if hasattr(path, "cell")]
passed = {"LoRA": np.ones(17)} | dict(zip(cells(model), curves, strict=True))
listening(middle, added, waves, passed)

# %% [markdown]
# The median image again, both maps on one colour scale. A line that falls is a smoother, one that
# rises an edge finder, a flat one a LoRA with a longer name: what the search *did*, without an
# operator's name. Set the share in the title against what `skip` left of this block above:
# neighbours resemble the token, so a pointwise map can imitate most of what they add.

# %% [markdown]
# ## Easier to read?
# NAS-LoRA is meant to let the encoder learn semantics gradually. Then the answer should be easier
# to read off its features. Ask the simplest reader: a linear probe from one token of the embedding
# to the share of foreground in that token's patch. Fitted on training images; scored on test images
# by the correlation of the two, image by image.


# %%
@torch.no_grad()
def tokens(model, samples):
    """Embedding with a constant `n t C+1`, and every token's foreground share `n t`."""
    images, masks = to_batch(samples, setting.image_size)
    e = model.encode(model.preprocess(images)).double().cpu()
    share = F.adaptive_avg_pool2d((masks > 0).double()[:, None], e.shape[-2:])
    return F.pad(e.flatten(2).transpose(1, 2), (0, 1), value=1), share.flatten(1)


def probe(model, ridge=10):
    """Of every test image the correlation of the probe with the truth."""
    x, y = tokens(model, data.train[:])
    gram = torch.einsum("nti,ntj->ij", x, x) + ridge * torch.eye(x.shape[-1])
    w = torch.linalg.solve(gram, torch.einsum("nti,nt->i", x, y))
    x, y = tokens(model, data.test[:])
    pairs = zip((x @ w).numpy(), y.numpy(), strict=True)
    return np.array([np.corrcoef(*pair)[0, 1] for pair in pairs])


# %% [markdown]
# > **Predict first.** LoRA trained on these labels, so it should beat the base. Does NAS-LoRA beat
# > LoRA? By more than its own next seed differs from it?

# %% tags=["nbval-ignore-output"]
models |= {"NAS-LoRA, next seed": runs[DATA, SEED + 1].model}
tested = {name: probe(m) for name, m in models.items()}
gains = {
    "LoRA over base": tested["LoRA"] - tested["base"],
    "NAS-LoRA over LoRA": tested["NAS-LoRA"] - tested["LoRA"],
    "next seed over LoRA": tested["NAS-LoRA, next seed"] - tested["LoRA"],
}
each, paired = ({n: interval(v) for n, v in d.items()} for d in (tested, gains))
probed(each, paired, "correlation with the truth, test images")

# %% [markdown]
# Intervals are over images, *not* over seeds: only where both seeds agree is there more than an
# anecdote. And both are held against one and the same LoRA, whose seed moves both rows.

# %% tags=["nbval-ignore-output"]
near = {k: float(np.mean([d for d, _ in v])) for k, v in pairs.items()}
record(
    readings_agree=sum(b.argmax == b.projection for b in genotype.blocks),
    **{f"distance_{k.replace(' ', '_')}": d for k, d in near.items()},
    rank_correlation_alpha=float(rho["probability"]),
    rank_correlation_loudness=float(rho["loudness"]),
    gap_projection=float(gaps["projection"]),
    gap_argmax=float(gaps["argmax"]),
    probe_nas_lora_over_lora=float(paired["NAS-LoRA over LoRA"][0]),
)

# %% [markdown]
# ## Recap
# *What did the search choose, can one believe it, and what did it do?* It trained a kernel; its
# alpha names an operator, which may have little to do with that kernel.
# - Projection says which neighbours the kernel needs, within a tolerance; argmax says where a free
#   parameter came to rest.
# - A genotype is compared by names, and beside another seed.
# - A large alpha is a guess at importance; masking measures it, and acting on the ranking tests the
#   measure.
# - Choosing may lose something; the gap says how much, reading by reading.
# - The kernel's response and a linear probe say what was done, without naming an operator.

# %% [markdown]
# ## In practice
# - Report both readings, a second seed, and what choosing loses. `naslora_workbook.research.diagnose`
#   has norms, masking, and the curvature in alpha, an early warning that costs too much for this lesson.
# - Mask on images that trained nothing, in `eval()`: on others an operator that memorised looks
#   important.
# - Tokens of one image are no independent witnesses: draw by image, here as everywhere.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`, or `PROFILE` to
# `laptop`, and see whether the rows of the kinship figure part.
#
# ## Further reading
# - [Rethinking architecture selection](https://arxiv.org/abs/2108.04392): masking against magnitude, for DARTS.
# - [DARTS](https://arxiv.org/abs/1806.09055): where argmax comes from.
# - [RobustDARTS](https://arxiv.org/abs/1909.09656): curvature in alpha, and the gap of choosing.
# - [Linear probes](https://arxiv.org/abs/1610.01644): what they can say of a layer, and what not.
# - [NAS-LoRA](https://arxiv.org/abs/2512.03499): the claim about semantics, in its words.
#
# Next: the mixture needs no choosing to be shipped. What folds into the base, exactly, and what
# does not?
#
# [<- 09](09_stage_wise_search.ipynb) | [index](README.md) | [11 ->](11_fold_and_ship.ipynb)
