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
# # 03 · Train one model, and measure it honestly
#
# > Open the first black box, a training loop of five lines. Then look at the numbers that
# > come out of it, and at the ways in which a correct number can mislead.
#
# [![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)](https://colab.research.google.com/github/naslora/nas-lora-workbook/blob/main/notebooks/03_train_and_measure.ipynb)
# [![Open in Binder](https://mybinder.org/badge_logo.svg)](https://mybinder.org/v2/gh/naslora/nas-lora-workbook/main?urlpath=lab/tree/notebooks/03_train_and_measure.ipynb)
#
# **Cost** 16 s · 0.7 GB, profile `smoke`, measured on AMD EPYC (2 cores)
#
# Needs [02](02_adapt_end_to_end.ipynb).

# %% [markdown]
# **The question:** one model scores .48, another .47. What must be true before we believe
# that the first one is better?
#
# **You will build** a training loop whose step equals a step of `fit`, and the interval
# that belongs beside every difference of scores.
#
# **You will be able to**
# - write the loop, and say what training, validation and test images are for;
# - compute IoU and Dice by hand, and show two averages that rank models differently;
# - find a loss that ignores its own weights;
# - show that a split leaks;
# - compute an interval for a difference, over images and seeds.
#
# | you need | where | minutes |
# |---|---|---|
# | what decoder-only trains | [02](02_adapt_end_to_end.ipynb) | 55 |
# | embedding, mask decoder | [01](01_see_sam.ipynb) | 65 |
# | a gradient step, a mean | any introduction | - |

# %%
import importlib.util
import subprocess
import sys

if "google.colab" in sys.modules and not importlib.util.find_spec("naslora_workbook"):
    source = "git+https://github.com/naslora/nas-lora-workbook@main"
    pip = [sys.executable, "-m", "pip", "install", "-q"]
    subprocess.run([*pip, f"naslora-core[lessons] @ {source}"], check=True)

# %%
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from naslora_workbook import figures as figures
from naslora_workbook import profile
from naslora_workbook.figures.mixing import Rows
from naslora_workbook.lessons import checks
from naslora_workbook.lessons.headline import record
from naslora_workbook.research.compare import recorded
from naslora_workbook.research.token_head import token_head_dice
from naslora_workbook.results.labels import LABELS

from naslora_core import DecoderOnly, adapt, evaluate, load_sam
from naslora_core.data import Sample, open_data, to_batch
from naslora_core.sam import Segmenter
from naslora_core.training import losses
from naslora_core.training.ceilings import ceiling, grid_of
from naslora_core.training.data_loading import batch_indices
from naslora_core.training.fitting import fit
from naslora_core.training.metrics import dice, iou

# %% tags=["parameters"]
PROFILE = "smoke"
SEED = 0
DATA = "polyp"  # an embedded domain of one class, or a folder
RUNS = 12  # seeds of each rival in the roulette

# %% [markdown]
# ## What each setting decides
# `PROFILE` sets the model, the number of images and the steps. `SEED` fixes images and
# batches. `RUNS` is the number of seeds in the last section; each costs half a second.

# %%
setting = profile(PROFILE)
sam = load_sam(setting.model).to(setting.device)
data = open_data(DATA, setting, seed=SEED)
data

# %% [markdown]
# ## The loop
# Decoder-only training never changes the encoder. So each image is encoded once, and every
# step starts from the stored embeddings.

# %%
model = adapt(sam, DecoderOnly(), seed=SEED)


@torch.no_grad()
def embed(samples):
    """Embeddings `B C h w` and labels `B S S`."""
    images, labels = to_batch(samples, setting.image_size)
    each = [model.encode(model.preprocess(x[None])).cpu() for x in images]
    return torch.cat(each), labels


stored = {part: embed(getattr(data, part)) for part in ("train", "val", "test")}
{part: tuple(embedding.shape) for part, (embedding, _) in stored.items()}


# %%
def mask_logits(model, embedding):
    """Prompt-free logits `B 1 S S`: above 0 a pixel belongs to the mask."""
    low_res, _ = model.decode(embedding.to(sam.device))
    size = (setting.image_size, setting.image_size)
    return F.interpolate(low_res.cpu(), size, mode="bilinear")


def bce_and_dice(logits, labels):
    """Cross-entropy scores every pixel, soft Dice scores the overlap."""
    truth, p = (labels == 1)[:, None].float(), logits.sigmoid()
    overlap = (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, truth) + 1 - overlap


# %% [markdown]
# The loop has five lines: compute the loss, clear the old gradients, compute the new ones,
# limit their norm, take a step. Training repeats them many times.

# %%
weights = list(model.trainable().values())
optimiser = torch.optim.AdamW(weights, lr=2e-3, weight_decay=1e-4)


def step(embedding, labels):
    """Update the trained weights once; returns the loss before the update."""
    loss = bce_and_dice(mask_logits(model, embedding), labels)
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimiser.step()
    return loss.item()


# %% [markdown]
# Does `fit` do the same? It chooses a batch by seed and step, and flips some of its images.
# We give both the same batch. Then we compare the loss, *and* the logits after the step.

# %%
chosen = batch_indices(len(data.train), None, 0, setting.batch, SEED)
keys = [(SEED, 0, i) for i in chosen]  # seed, step, image: they decide the flips
batch = [data.train[i] for i in chosen]
images, labels = to_batch(batch, setting.image_size, augment_keys=keys)
with torch.no_grad():
    flipped = model.encode(model.preprocess(images))
by_hand = step(flipped, labels)
twin = adapt(sam, DecoderOnly(), seed=SEED)
first = fit(twin, data, steps=1, batch=setting.batch, seed=SEED, progress=False)

# %%
with torch.no_grad():
    gap = (mask_logits(model, flipped) - mask_logits(twin, flipped)).abs().max()
same_loss = abs(by_hand - first.history[0]["loss"]) < 2e-5
assert same_loss and gap < 1e-2
{"same loss": same_loss, "same logits after": bool(gap < 1e-2)}

# %% [markdown]
# Both agree up to rounding. (The logits are compared to one hundredth: the first step of
# AdamW divides each gradient by its own size, which enlarges the rounding of tiny ones.)
# `fit` adds what long runs need: warm-up and decay of the learning rate, stages, and a run
# that can be resumed after an interruption.
#
# > **Predict first.** We continue on the same few images. The training loss will fall. What
# > will the loss of the validation images do, which no step uses: fall too, stop, or rise?


# %% tags=["nbval-ignore-output"]
def validation_loss():
    """The loss of the validation images with the present weights."""
    embedding, labels = stored["val"]
    with torch.no_grad():
        return bce_and_dice(mask_logits(model, embedding), labels).item()


batches = torch.Generator().manual_seed(SEED)
embeddings, labels = stored["train"]
history = [{"step": 0, "val": validation_loss()}]  # after the step by hand
for number in range(1, setting.steps + 1):
    pick = torch.randperm(len(data.train), generator=batches)[: setting.batch]
    event = {"step": number, "loss": step(embeddings[pick], labels[pick])}
    if number in (2, 4, 6, 8) or number % 10 == 0:
        event["val"] = validation_loss()
    history.append(event)
figures.watched(history)

# %% [markdown]
# Where the blue line no longer follows the grey one, further steps fit these training images,
# and new images of the domain gain nothing. Stopping at the dotted line would be a *choice* made with the
# validation images. Their loss at this step is then too optimistic, because it is the
# lowest of several. So a third part is needed: the *test images*. A model is scored on them
# once, when nothing is left to choose. In this lesson we score the model of the last step.
# The number of steps was fixed beforehand, as in all recorded runs.
#
# ## Two overlaps
# What does a score count? On 4 × 4 pixels it can be computed by hand:

# %%
truth = np.zeros((4, 4), bool)
truth[1:3, 0:3] = True
too_small = truth.copy()
too_small[:, 2] = False
moved = np.roll(truth, 1, axis=1)
too_large = np.ones_like(truth)
drawn = {"too small": too_small, "moved": moved, "too large": too_large}


# %%
def by_counting(mask):
    """IoU and Dice of a mask and the truth."""
    shared, either = (mask & truth).sum(), (mask | truth).sum()
    return shared / either, 2 * shared / (mask.sum() + truth.sum())


captions = {}
for name, mask in drawn.items():
    by_iou, by_dice = by_counting(mask)
    captions[name] = f"IoU {by_iou:.2f}, Dice {by_dice:.2f}"
figures.pixels(truth, drawn, captions)

# %% [markdown]
# IoU divides the shared pixels by all coloured ones: 4 of 8 for `moved`. Dice divides twice
# the shared pixels by the sizes of both masks: 8 of 12. The two are connected by a fixed
# rule, Dice = 2 IoU / (1 + IoU). So Dice is the higher number, and for *one* image both
# rank two masks in the same order. Drag the largest object of the test images off its truth
# and watch both:

# %%
sizes = [(sample.mask == 1).sum() for sample in data.test]
largest = data.test[int(np.argmax(sizes))].mask == 1
figures.dragged(largest, range(0, 41, 2))

# %% [markdown]
# Where a kernel runs, and on the pages of `make workbook`, this is a slider. And what is the
# score where there is no object?

# %%
for mask in drawn.values():
    by_iou, by_dice = by_counting(mask)
    assert np.isclose(by_dice, 2 * by_iou / (1 + by_iou))
    assert by_iou == iou(mask, truth)
empty = np.zeros_like(truth)
{"both empty": iou(empty, empty), "mask without object": iou(truth, empty)}

# %% [markdown]
# Zero divided by zero must be *defined*. Here an empty mask for an empty truth scores 1.
# Tools differ in this, and with many empty masks the definition can decide a ranking.
#
# Now a set of images. We can average the images' IoUs, or count the pixels of all images
# together:

# %% tags=["nbval-ignore-output"]
scores = evaluate(model, data.test)
beside = {
    "no prompt": evaluate(Segmenter(sam), data.test, classes=1),
    "this model": scores,
    "box": evaluate(sam, data.test, prompt="box"),
}
rows = Rows()
for name, score in beside.items():
    two = {"mean over images": score.mean["iou"], "all pixels": score.overall["iou"]}
    rows[name] = {column: f"{value:.3f}" for column, value in two.items()}
best = [ceiling(sample.mask > 0, grid_of(sam)) for sample in data.test[:4]]
rows["resolution ceiling"] = {"mean over images": f"{np.mean(best):.3f}"}
rows

# %% [markdown]
# Every row has two correct scores of the same masks, and they differ. In the mean over
# images, small polyps count as much as large ones; among all pixels, large ones decide. "Box"
# means a box around every object. The ceiling (of four images) is 1: whatever is missing in
# the rows above it, the resolution of the masks is not the reason.
#
# Our model scores low, although it is above "no prompt". It trains the decoder alone, at a
# constant learning rate, and the second half of its 80 steps fitted the training images
# only, as the figure above shows. Every adapter has to do better than that.

# %% [markdown]
# ### Exercise 3.1 - two models, two rankings
# Difficulty 2 of 5 ·
# importance 5 of 5 ·
# 8 minutes ·
# use a large object and a small one
#
# Build truths and the masks of two models, a and b. Model a must be ahead in the mean of the
# images' IoUs, and model b in the IoU of all pixels.


# %%
def opposed():
    """Three lists of boolean masks `H W`: truths, those of a, those of b."""
    raise NotImplementedError("Exercise 3.1")


# %%
checks.ex_3_1(opposed)

# %% [markdown]
# <details><summary>Hint</summary>
#
# Let a find the small object and miss part of the large one.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def opposed():
#     large, small = np.ones((10, 10), bool), np.zeros((10, 10), bool)
#     small[4, 4] = True
#     half = large.copy()
#     half[:4] = False
#     nothing = np.zeros((10, 10), bool)
#     return [large, small], [half, small], [large, nothing]
# ```
# Model b misses a whole object, but this object is one pixel of a hundred. In a clinic it
# may be the polyp.
# </details>
#
# <details><summary>Further: other measures, and the size at which a mask is scored</summary>
#
# - *BER*: the share of object pixels missed and of background pixels drawn, averaged.
# - *MAE*: the mean error of the probabilities.
# - *S-measure*: similarity inside and outside the object, and in four quarters around it.
# - *Weighted F*: precision and recall in which errors far from the object count double.
# - *E-measure*: agreement after both means are subtracted, averaged over 256 thresholds.
#
# `evaluate(model, data.test, metrics=["ber", "mae", ...])` computes them. All are tested
# against other code in [test_metric_oracles.py](../tests/test_metric_oracles.py). Choose
# the measure before you look at results. Scores here are computed at the image's own size.
# Some tools shrink the truth to the network's square and score there. For thin objects this
# hides most of the error.
# </details>

# %% [markdown]
# ## A loss that ignores its weights
# Polyp models are often trained with the *structure loss*: cross-entropy and IoU in which
# pixels near an outline have up to six times the weight. The released code contains
# `reduce="none"`, and other code has copied it. PyTorch's argument is `reduction="none"`.
# What does it make of the other one?

# %%
tiny = torch.zeros(2, 1, 4, 4)
with warnings.catch_warnings(action="ignore"):
    released = F.binary_cross_entropy_with_logits(tiny, tiny, reduce="none")
intended = F.binary_cross_entropy_with_logits(tiny, tiny, reduction="none")
tuple(released.shape), tuple(intended.shape)

# %% [markdown]
# A non-empty string counts as true, so `reduce="none"` means "take the mean". The result is
# one number m, and the weights come too late: $\sum w\,m / \sum w = m$. The weights cancel.
# The figure shows the weight that each pixel was meant to have, and the one that it has:

# %%
images, labels = to_batch(data.test, setting.image_size)
image, label = images[scores.median_image], labels[scores.median_image]
weight = losses.boundary_weight((label == 1)[None, None].float())[0, 0]
maps = {"intended": weight, "released": torch.full_like(weight, weight.mean())}
figures.weighing(image.permute(1, 2, 0).byte(), label, maps)

# %% [markdown]
# Now the term itself, on the validation images. We vary the factor of the weights: 0 means
# equal weights, 5 is the factor of the paper.

# %% tags=["nbval-ignore-output"]
embedding, labels = stored["val"]
truths = (labels == 1)[:, None].float()
logits = mask_logits(model, embedding).detach()
each = F.binary_cross_entropy_with_logits(logits, truths, reduction="none")


def terms(factor):
    """The weighted cross-entropy as intended and as released."""
    w = losses.boundary_weight(truths, factor=factor)
    intended = (w * each).sum() / w.sum()
    released = (w * each.mean()).sum() / w.sum()
    return {
        "intended": round(float(intended), 3),
        "released": round(float(released), 3),
    }


{f"factor {factor:g}": terms(factor) for factor in (0.0, 5.0, 50.0)}

# %% [markdown]
# The intended term changes with the factor. The released term is plain cross-entropy,
# whatever the factor. There was no error message, and papers used this code. (The IoU term
# of the structure loss keeps its weights.)

# %% [markdown]
# ### Exercise 3.2 - repair the term
# Difficulty 2 of 5 ·
# importance 4 of 5 ·
# 6 minutes ·
# use `reduction=` and sums over the last two axes
#
# This is the released term. Correct it:
#
# ```python
# def released(logits, truth, weight):
#     cross = F.binary_cross_entropy_with_logits(logits, truth, reduce="none")
#     return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()
# ```


# %%
def corrected(logits, truth, weight):
    """The weighted cross-entropy of `B 1 h w` each, mean over masks: a scalar."""
    raise NotImplementedError("Exercise 3.2")


# %%
checks.ex_3_2(corrected)

# %% [markdown]
# <details><summary>Hint</summary>
#
# One word is wrong.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def corrected(logits, truth, weight):
#     cross = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
#     return ((weight * cross).sum((2, 3)) / weight.sum((2, 3))).mean()
# ```
# A test that changes the weights and expects another loss would have found the bug on the
# first day.
# </details>

# %% [markdown]
# ## A split that leaks
# Videos contain near-duplicates, and so do folders with augmented copies. We take every
# training image twice: once as it is, and once shifted, darker and noisy. Then we use a
# model that cannot segment at all: it returns the mask of the most similar known image.
#
# > **Predict first.** How much does its Dice rise if an image and its copy may be on
# > different sides of the split?


# %%
def copied(sample, rng):
    """A near-duplicate: moved by a few pixels, darker, noisy."""
    image = np.roll(sample.image, (2, 3), (0, 1))
    mask = np.roll(sample.mask, (2, 3), (0, 1))
    noisy = 0.9 * image + rng.normal(0, 4, image.shape)
    return Sample(noisy.clip(0, 255).astype(np.uint8), mask, sample.name)


rng, count = np.random.default_rng(SEED), len(data.train)
both = [stored["train"], embed([copied(s, rng) for s in data.train])]
vectors = torch.cat([embedding for embedding, _ in both]).flatten(1)
masks = torch.cat([labels for _, labels in both]).numpy() == 1


# %%
def nearest_dice(known, asked):
    """Mean Dice of masks copied from the nearest known embedding."""
    distances = torch.cdist(vectors[asked], vectors[known])
    nearest = known[distances.argmin(1).numpy()]
    pairs = zip(nearest, asked, strict=True)
    return float(np.mean([dice(masks[j], masks[i]) for j, i in pairs]))


# %% tags=["nbval-ignore-output"]
known, asked = np.split(rng.permutation(2 * count), 2)
leaking = nearest_dice(known, asked)
known, asked = np.split(rng.permutation(count), 2)
with_copies = [np.concatenate([ids, ids + count]) for ids in (known, asked)]
clean = nearest_dice(*with_copies)
{"split by file": round(leaking, 3), "split by origin": round(clean, 3)}

# %% [markdown]
# Images and model are the same, and only the split differs. In the split by file, about
# half of the images find their own copy on the other side. For these the model returns a
# mask that it has stored, and the score counts this as skill. So split by the origin of the
# images: patient, video, scene.

# %% [markdown]
# ## One seed is not enough
# Lesson 02 showed recorded runs on photographs, five seeds for each method. A mean hides
# that both seeds and test images are samples: others would give other means. We take the
# recorded Dice of every seed and test image:

# %%
photographs = recorded("kvasir_polyp")


def dices(method):
    """Test Dice of a method, `seeds images`."""
    runs = [run for run in photographs if run["method"] == method]
    return np.array([[pair[0] for pair in run["images"].values()] for run in runs])


adapters = ("lora", "fixed_conv", "nas_lora")
shown = ("base_unprompted", "decoder_only", *adapters, "base_boxed")
found = {LABELS[name]: dices(name).mean(1).round(3).tolist() for name in shown}
unprompted = next(r for r in photographs if r["method"] == "base_unprompted")
found | {"resolution ceiling, IoU": unprompted["ceiling"]}

# %% [markdown]
# A list holds the mean test Dice of each seed. The base is not trained, so it has one number.
# `fixed_conv` is the fixed 3x3: LoRA with one convolution inside (lesson 06). All adapters lie
# far above the base without a prompt, and far below the base with a box around every object.
#
# The *bootstrap* estimates how far a mean could move. It draws seeds and images again, with
# replacement, many times. It then takes the range in which 95 % of the means lie. For a
# *difference* of two methods there are two ways. *Unpaired*: draw separately for each
# method. *Paired*: draw once, and use the same seeds and images for both.
#
# > **Predict first.** Some images are hard for every method. Which interval is narrower?


# %%
def drawn_means(differences, draws=2000, seed=SEED):
    """Means of `seeds images`, seeds and images drawn again, `draws` times."""
    rng = np.random.default_rng(seed)
    seeds, images = differences.shape
    means = []
    for _ in range(draws):
        rows = rng.integers(seeds, size=seeds)
        columns = rng.integers(images, size=images)
        means.append(differences[np.ix_(rows, columns)].mean())
    return np.array(means)


def interval(means):
    """The range of 95 % of the means."""
    return np.quantile(means, [0.025, 0.975]).round(3).tolist()


# %%
nas, lora = dices("nas_lora"), dices("lora")
paired = interval(drawn_means(nas - lora))
unpaired = interval(drawn_means(nas) - drawn_means(lora, seed=SEED + 1))
difference = round(float((nas - lora).mean()), 3)
{"NAS-LoRA minus LoRA": difference, "paired": paired, "unpaired": unpaired}

# %% [markdown]
# The mean difference is the same, but the unpaired interval is almost four times as
# wide. Pairing removes what both methods have in common: the difficulty of the images.
# So always subtract on the *same* image and the *same* seed first.

# %% [markdown]
# ### Exercise 3.3 - two intervals for one difference
# Difficulty 3 of 5 ·
# importance 5 of 5 ·
# 10 minutes ·
# use `np.ix_` and `np.quantile`
#
# Write both intervals yourself. To make them repeatable, the draws are given: `picks` and
# `others` are lists of pairs (seeds, images) of indices, drawn with replacement.


# %%
def two_intervals(a, b, picks, others):
    """[paired, unpaired]: the quantiles .025 and .975 of a - b, `seeds images`.

    Paired: `picks` for both. Unpaired: `picks` for a, `others` for b.
    """
    raise NotImplementedError("Exercise 3.3")


# %%
checks.ex_3_3(two_intervals)

# %% [markdown]
# <details><summary>Hint</summary>
#
# `(a - b)[np.ix_(rows, columns)].mean()` is the paired difference of one draw.
# </details>
#
# <details><summary>Solution and why</summary>
#
# ```python
# def two_intervals(a, b, picks, others):
#     ends = [0.025, 0.975]
#     paired = [(a - b)[np.ix_(*pick)].mean() for pick in picks]
#     unpaired = [
#         a[np.ix_(*pick)].mean() - b[np.ix_(*other)].mean()
#         for pick, other in zip(picks, others, strict=True)
#     ]
#     return [np.quantile(paired, ends), np.quantile(unpaired, ends)]
# ```
# The two answer different questions. The unpaired interval treats the two methods as if they
# had been tested on different images.
# </details>

# %% [markdown]
# Now the adapters against decoder-only, and NAS-LoRA against LoRA, all paired:

# %%
pairs = [(name, "decoder_only") for name in adapters]
pairs.append(("nas_lora", "lora"))
gains = {(a, b): dices(a) - dices(b) for a, b in pairs}
ends = {pair: interval(drawn_means(gain)) for pair, gain in gains.items()}
means = {pair: gain.mean(1) for pair, gain in gains.items()}
figures.paired_gains(means, ends, margin=0.02, note=figures.source(photographs))

# %% [markdown]
# A dot is the mean of one seed. A bar is the interval of the *mean over all seeds*, so a
# single seed may lie outside of it, as one of the fixed 3x3 does.
#
# There are three possible statements about an interval:
# - It lies wholly on one side of zero. This is evidence for a difference, on such
#   photographs and with this budget. The first three rows are of this kind.
# - It includes zero. The runs *cannot tell* which method is better. The last row is of this
#   kind, although NAS-LoRA scores lower than LoRA with every seed: other photographs could
#   reverse the order.
# - It lies wholly inside a margin of differences that would not matter. This is *a tie*. The
#   grey band is such a margin, .02, which must be fixed before the runs. The last row
#   reaches beyond it, so it is no tie either.
#
# ## How wrong can few seeds be?
# To answer this we need many seeds, so the model must be tiny: two 1 × 1 convolutions on
# the stored embeddings. Two losses compete: structure, and balanced cross-entropy, in which
# object and background have equal weight. We score them on the test images many times. This
# is allowed here only because nothing is chosen from it.

# %% tags=["nbval-ignore-output"]
parts = stored["train"], stored["test"]
seeds = range(RUNS)
a = np.array([token_head_dice(losses.structure, *parts, i) for i in seeds])
b = np.array([token_head_dice(losses.balanced_bce, *parts, i) for i in seeds])
{"structure": round(float(a.mean()), 3), "balanced": round(float(b.mean()), 3)}

# %% [markdown]
# These are the mean Dice of both losses over all seeds.
#
# > **Predict first.** Somebody trains with each loss once, or with three seeds, and reports the
# > winner. How often will this be the loss whose mean above is lower?


# %% tags=["nbval-ignore-output"]
def reported(count, draws=4000):
    """Differences that a reader could have seen: `count` seeds for each loss."""
    rng = np.random.default_rng(SEED)
    mine, yours = rng.integers(RUNS, size=(2, draws, count))
    return a[mine].mean(1) - b[yours].mean(1)


overall = float((a - b).mean())
widest = float(np.abs(a[:, None] - b).max())  # the axes of all pictures end there


def wheel(ax, count):
    """The differences with this many seeds."""
    found = figures.roulette(ax, reported(count), overall, widest)
    return f"seeds {count}: {found}"


title = "With one seed the worse loss can win (red), with more seeds hardly"
figures.explore(wheel, [1, 3, 6], "seeds", title)

# %% [markdown]
# The plots show the difference "structure minus balanced" that such a person would see. The
# dashed line is the difference over all seeds. In the red draws the loss with the lower mean
# wins. More seeds make the distribution narrower. If little is red, the order is reliable *for
# this test set*. Other images can still change it.

# %% tags=["nbval-ignore-output"]
record(
    images=scores.mean["iou"],
    pixels=scores.overall["iou"],
    leaking=leaking,
    clean=clean,
    lora_gain=float(gains["lora", "decoder_only"].mean()),
)

# %% [markdown]
# ## Recap
# *What must be true before we believe that .48 is better than .47?* We must know what was
# counted and on which images. And the paired interval of the difference must not include zero.
# - The loop has five lines. One step by hand equals one step of `fit`.
# - Training images update weights, validation images are for choices, test images score a
#   model once. A duplicate on the other side of a split turns memory into a score.
# - Dice and IoU rank the masks of one image alike. Averages over images and over pixels can
#   rank models differently.
# - A loss can ignore its weights without an error. Test that a change of the weights changes
#   the loss.
# - Pairing by seed and image made the interval almost four times narrower. If an
#   interval includes zero, say that the runs cannot tell.

# %% [markdown]
# ## In practice
# - `evaluate(model, data.test, metrics=[...])` gives further measures, and `fit(...,
#   loss="structure")` trains with the intended loss.
# - Five seeds are few. The bootstrap describes the images better than the seeds.
#
# **Try it on your own data:** set `DATA` to a folder with `images/` and `masks/`. The split
# by file name does not know your patients, so write a `split.json`.
#
# ## Further reading
# - [Metrics reloaded](https://arxiv.org/abs/2206.01653): which measure fits which task, and
#   the pitfalls of each.
# - [F3Net](https://arxiv.org/abs/1911.11445): the source of the structure loss.
# - [Accounting for variance](https://arxiv.org/abs/2103.03098): what varies beside the
#   seed, and what to randomise.
#
# Next: every adapter must beat decoder-only. What could an adapter add that the frozen
# encoder lacks?
#
# [<- 02](02_adapt_end_to_end.ipynb) | [index](README.md) | [04 ->](04_missing_spatial_priors.ipynb)
