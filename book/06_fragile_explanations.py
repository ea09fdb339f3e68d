# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Fragile explanations
#
# **What you will learn.** How to find a change of the input that leaves the prediction as it is and turns the explanation
# round. How to compare two explanations. How a rough model makes this possible. And why an explanation that never changes
# is no better.
#
# **Time.** Forty minutes to read and try. The code takes a few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# Suppose a reviewer writes: *"The plot is thin, but the acting is superb."* The classifier says positive, and its
# explanation points at *"superb"*. The reviewer inserts *"really"* somewhere. The classifier still says positive, and just
# as surely. Now the explanation points at *"plot"*.
#
# Which of the two explanations would you show to the reviewer? If a change without a meaning changes the explanation, then
# the explanation was about something other than the meaning. Such explanations are called {term}`fragile`
# {cite:p}`ghorbani-etal-2019-fragile`. They can also be *made* to say what somebody wants
# {cite:p}`dombrowski-etal-2019-geometry`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU. The data must have
# two classes.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
max_train: "Optional[int]" = None  # train on so many texts; None takes all
epochs: float = 3
learning_rate: float = 1e-4
explained: int = 64  # so many test texts are explained, and attacked
steps: int = 20  # steps of an attack
size: float = 0.05  # of a change, as a share of the embeddings' norm
seed: int = 0

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats

from regex_lib import metrics
from regex_lib.attributions import (
    METHODS,
    attribute,
    baseline_embeddings,
    input_x_gradient,
    integrated_gradients,
)
from regex_lib.book import check_answer
from regex_lib.checks import stability, summarise
from regex_lib.data import load_data
from regex_lib.losses import virtual_adversarial_perturbation
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, figure_style, heatmap, perturbation_slider
from regex_lib.training import train

# %%
corpus = load_data(data)
classifier = load_classifier("minilm", layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
run = train(classifier, corpus, "vanilla", epochs=epochs, batch_size=16,
            learning_rate=learning_rate, max_train=max_train, seed=seed)
print(f"{data}: trained on {run.settings['train_texts']} texts, "
      f"accuracy on the validation texts {run.validation['accuracy']:.3f}")

# %% [markdown]
# ## Explanations as functions
#
# To attack an explanation, you need it as a function of the input. Take three ({doc}`04_attributions`). With $f$ the logit
# of the predicted class and $g(e) = \nabla_e f(e)$, *input times gradient* is
#
# $$
# a_i(e) = e_i \cdot g_i(e)
# $$ (eq-06-ixg)
#
# *Integrated Gradients* averages the gradient over the way from a {term}`baseline` $b$, here at the middles of four pieces
# of the way. *Attention* is the third. All texts are handled at once, and each function keeps what is needed to
# differentiate the explanation itself: a gradient of a gradient.

# %%
rows = [text for text in corpus["test"]["text"] if len(text.split()) > 5][:explained]
batch = classifier.tokenize(rows)
attended, content = batch.attention_mask, batch.content_mask
embeddings = classifier.embed(batch.input_ids).detach()
start = baseline_embeddings(classifier, batch)


def logits_of(point):
    return classifier(point, attended, double_backward=True).logits


def gradient(point):
    """Of the logit of each text's predicted class; it can be differentiated again."""
    point = point if point.requires_grad else point.detach().requires_grad_()
    chosen = logits_of(point).gather(1, target[:, None]).sum()
    return torch.autograd.grad(chosen, point, create_graph=True)[0]


before = logits_of(embeddings).softmax(dim=-1).detach()
target = before.argmax(dim=-1)
middles = (0.125, 0.375, 0.625, 0.875)

# %%
explainers = {
    "input_x_gradient": lambda e: (e * gradient(e)).sum(dim=-1) * content,
    "integrated_gradients": lambda e: sum(
        ((e - start) * gradient(start + middle * (e - start))).sum(dim=-1) for middle in middles) / 4,
    "attention": lambda e: classifier.pooling_attention(e, attended) * content,
}
clean = {name: explain(embeddings).detach() for name, explain in explainers.items()}

forward = classifier.forward_func()
theirs = input_x_gradient(forward, embeddings, attended, target) * content
torch.testing.assert_close(clean["input_x_gradient"], theirs, atol=1e-4, rtol=1e-3)
theirs = integrated_gradients(
    forward, embeddings, start, attended, target, n_steps=4, quadrature="midpoint")
torch.testing.assert_close(clean["integrated_gradients"], theirs, atol=1e-4, rtol=1e-3)
print(f"{len(rows)} texts explained, as the package does")

# %% [markdown]
# ## Comparing two explanations
#
# Scores have no unit that means anything to a reader. Their *order* does: which token is the strongest, which comes next.
# Spearman's correlation compares orders. Replace each score by its rank, tokens with equal scores sharing the mean of
# their ranks, and take the ordinary correlation of the ranks $R$ and $R'$:
#
# $$
# \rho = \frac{\sum_i (R_i - \bar R)(R'_i - \bar R')}
#             {\sqrt{\sum_i (R_i - \bar R)^2 \sum_i (R'_i - \bar R')^2}}
# $$ (eq-06-spearman)
#
# It is 1 for the same order, $-1$ for the reversed one, and 0 on average for two random ones. The function is
# {py:func}`regex_lib.metrics.rank_correlation`.

# %%
def spearman(first, second):
    """The correlation of the ranks of two lists of scores."""
    ranks = [[(values < value).sum() + ((values == value).sum() - 1) / 2 for value in values]
             for values in map(np.asarray, (first, second))]
    return np.corrcoef(*ranks)[0, 1]


first = clean["input_x_gradient"][0][content[0]].cpu()
second = torch.randn(len(first), generator=torch.Generator().manual_seed(seed)).round(decimals=1)
ours = spearman(first, second)
whole = torch.ones(1, len(first), dtype=torch.bool)
assert abs(ours - metrics.rank_correlation(first[None], second[None], whole).item()) < 1e-5
assert abs(ours - stats.spearmanr(first, second).statistic) < 1e-5
print(f"from scratch, by the package and by scipy: {ours:.4f}")

# %% [markdown]
# ## The attack
#
# You look for a small change $r$ of the embeddings that keeps the predicted class and changes the explanation as much as
# it can:
#
# $$
# \min_r \ \rho\big(a(e), a(e + r)\big)
# \quad\text{so that}\quad \lVert r \rVert_2 = \epsilon \lVert e \rVert_2
# \ \text{ and }\ \hat y(e + r) = \hat y(e)
# $$ (eq-06-attack)
#
# Three tricks make it work.
#
# - Ranks jump, so that $\rho$ has no useful gradient. The correlation of the *scores* has one. Follow that, and judge by
#   the ranks.
# - At $r = 0$ the correlation is 1. That is its maximum, and there the gradient vanishes. So start at a random change of
#   the full size.
# - To keep the prediction, take out of each step the part along the gradient of the log-probability.
#
# Of all the changes on the way, keep the one with the lowest $\rho$ among those that leave the class as it was.

# %%
def correlation(first, second):
    """Of the scores of the content tokens, for each text."""
    count = content.sum(dim=1, keepdim=True)
    first, second = ((x - (x * content).sum(dim=1, keepdim=True) / count) * content
                     for x in (first, second))
    return (first * second).sum(dim=1) / (first.norm(dim=1) * second.norm(dim=1))


def random_change(size, draw):
    """A change in a random direction, of norm `size` times that of the content's embeddings."""
    seeds = torch.arange(len(rows)) + 1000 * (draw + seed)
    return metrics.embedding_noise(embeddings, content, size=size, seeds=seeds)


def compare(change, name="input_x_gradient"):
    """Rank correlation with the clean explanation (NaN if the class changed), change of probability."""
    after = logits_of(embeddings + change).softmax(dim=-1).detach()
    rho = metrics.rank_correlation(clean[name], explainers[name](embeddings + change).detach(), content)
    moved = (after - before).gather(1, target[:, None]).squeeze(1).abs()
    return torch.where(after.argmax(dim=-1) == target, rho, torch.nan).cpu(), moved.cpu()


# %%
def attack(size, name="input_x_gradient"):
    """For each text, of the changes on the way, the one with the lowest correlation and the same class."""
    change = random_change(size, draw=100)
    length = change.flatten(1).norm(dim=1)[:, None, None]
    best, lowest = change.clone(), torch.full((len(rows),), torch.inf, device=change.device)
    for _ in range(steps + 1):
        point = (embeddings + change).requires_grad_()
        scores, logits = explainers[name](point), logits_of(point)
        rho = metrics.rank_correlation(clean[name], scores.detach(), content)
        better = (logits.argmax(dim=-1) == target) & (rho < lowest)
        best[better], lowest[better] = change[better], rho[better]
        log_p = logits.log_softmax(dim=-1).gather(1, target[:, None]).sum()
        (keep,) = torch.autograd.grad(log_p, point)
        (away,) = torch.autograd.grad(-correlation(clean[name], scores).sum(), point)
        along = (away * keep).sum((1, 2), keepdim=True) / keep.square().sum((1, 2), keepdim=True)
        step = (away - along.nan_to_num() * keep) * content[..., None]
        change = change + 0.5 * length * step / step.flatten(1).norm(dim=1)[:, None, None]
        change = length * change / change.flatten(1).norm(dim=1)[:, None, None]
    return best


# %% [markdown]
# ## Result, with its control
#
# The {term}`control` is a *random* change of the same size. If it did as much, there would be no attack, only noise. Here
# are both for three sizes, against input times gradient. The random one is drawn three times.

# %%
sizes, attacks, table = (0.02, 0.05, 0.1), {}, []
for each in sizes:
    attacks[each] = attack(each)
    draws = [compare(random_change(each, draw)) for draw in range(3)]
    kinds = {"random": tuple(torch.stack(part).nanmean(dim=0) for part in zip(*draws, strict=True)),
             "attack": compare(attacks[each])}
    for kind, (rho, moved) in kinds.items():
        kept = ~rho.isnan()
        interval = metrics.bootstrap_interval(rho, seed=seed)
        table.append({"size": each, "change": kind, "same class": kept.double().mean().item(),
                      "rank correlation": interval.estimate, "low": interval.low, "high": interval.high,
                      "change of probability": moved[kept].mean().item()})
table = pd.DataFrame(table)
table.round(3)

# %% mystnb={"image": {"alt": "Two panels over the size of the change. Left: rank correlation with the clean explanation, with intervals, for random changes and for attacks. Right: the mean change of the predicted probability."}, "figure": {"name": "fig-06-attack", "caption": "How far the explanation moves (left; 1 is not at all) and how far the prediction moves (right), under attacks on the explanation and under random changes of the same size. Texts whose class stayed; 95 % intervals over texts."}}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), layout="constrained")
    looks = {"random": ("#6b6b6b", "o", "--"), "attack": ("#d55e00", "s", "-")}
    for kind, (colour, marker, line) in looks.items():
        part = table[table["change"] == kind]
        mean = part["rank correlation"]
        axes[0].errorbar(part["size"], mean, yerr=[mean - part["low"], part["high"] - mean],
                         color=colour, marker=marker, linestyle=line, capsize=3, label=kind)
        axes[1].plot(part["size"], part["change of probability"], color=colour, marker=marker,
                     linestyle=line)
    axes[0].set(ylabel="rank correlation", xlabel="size of the change")
    axes[1].set(ylabel="change of probability", xlabel="size of the change", ylim=(0, 0.5))
    axes[0].legend()
plt.show()

# %%
for each, part in table.groupby("size"):
    part = part.set_index("change")
    gap = part.loc["random", "rank correlation"] - part.loc["attack", "rank correlation"]
    apart = part.loc["attack", "high"] < part.loc["random", "low"]
    print(f"size {each:g}: the attack's correlation is {gap:.2f} below the control's, "
          f"{'with' if apart else 'without'} a gap between the intervals")

# %% [markdown]
# Read the two panels together. Where the attack's line falls on the left and stays low on the right, the prediction is the
# same for all practical purposes, and its explanation is another.
#
# Here is one text. Of those predicted with a probability above 0.8, if there are any, it is the one whose explanation moved
# the most at the size of the settings. So it is **not** typical: {numref}`fig-06-attack` shows the means.

# %%
change = attacks[size] if size in attacks else attack(size)
rho, _ = compare(change)
sure = before.amax(dim=-1).cpu() > 0.8
rho = torch.where(sure, rho, torch.nan) if sure.any() else rho
worst = int(rho.nan_to_num(nan=2.0).argmin())
text = rows[worst]
original = attribute(classifier, [text], "input_x_gradient", target=int(target[worst]))[0]
pictures = {"before": original}
for title, moved in (("after the attack", change), ("after a random change", random_change(size, 0))):
    scores = explainers["input_x_gradient"](embeddings + moved).detach()
    logits = logits_of(embeddings + moved).detach()
    pictures[title] = replace(
        original, scores=scores[worst][content[worst]].tolist(), prediction=int(logits[worst].argmax()),
        probability=logits[worst].softmax(dim=-1).max().item())
    agreement = metrics.rank_correlation(clean["input_x_gradient"], scores, content)[worst]
    print(f"{title}: rank correlation with before {agreement:+.2f}")
heatmap(pictures, classifier.label_names)

# %% [markdown]
# ## Which attributions are fragile?
#
# An attack on one attribution says little about another. So attack each of the three by itself, with the same size and the
# same number of steps. The last column is the attack on input times gradient, seen by the others: does it carry over?

# %%
attacked = {name: change if name == "input_x_gradient" else attack(size, name) for name in explainers}
compared = pd.DataFrame({
    name: {"random change": compare(random_change(size, 0), name)[0].nanmean().item(),
           "own attack": compare(attacked[name], name)[0].nanmean().item(),
           "attack on input_x_gradient": compare(change, name)[0].nanmean().item()}
    for name in explainers}).T
print(f"rank correlation with the clean explanation, mean over the texts, size {size:g}")
compared.round(3)

# %%
order = compared["own attack"].sort_values()
print("from the most fragile to the least, by their own attacks:", " < ".join(order.index))
for name, row in compared.iterrows():
    drop = row["random change"] - row["own attack"]
    print(f"{name}: the attack moves it {drop:.2f} further than a random change of the same size")

# %% [markdown]
# Read this table with care. An attack is a search, and a search may fail: a value near the control says that *this* search,
# with so many steps, found nothing.
#
# And a score may be fragile because of the way it is made. A score by gradients is a sum over the dimensions, of products
# of both signs. If these mostly cancel, a small rest decides the order. How much is left after summing, and how much would
# random signs leave?

# %%
slope = gradient(embeddings).detach()
signs = torch.randn(slope.shape, generator=torch.Generator().manual_seed(seed)).sign().to(slope)
for name, factor in {"e times gradient": embeddings, "(e - b) times gradient": embeddings - start}.items():
    left = [(part[content].sum(dim=-1).abs().sum() / part[content].abs().sum()).item()
            for part in (factor * slope, factor * slope * signs)]
    print(f"{name}: {left[0]:.1%} of the magnitudes are left; with random signs {left[1]:.1%}")

# %% [markdown]
# Where hardly more is left than random signs leave, the scores are small rests of large terms. Then a small change of the
# terms can turn their order round.
#
# ## A prediction that does not stay
#
# The attacks went along directions in which the prediction stays. There are others. The slider moves the same text along
# the direction that changes the *prediction* most, and along a random one.

# %%
perturbation_slider(classifier, text, seed=seed)

# %% [markdown]
# ## A change that a person could make
#
# Embeddings that were moved belong to no text. So do it with words: insert one that hardly means anything, at each place in
# turn. Keep the changes that leave the class as it is. Compare the scores of the tokens that were there before. The
# attribution is now Integrated Gradients, the default.

# %%
words = text.split()
inserted = []
for place in range(len(words)):
    for filler in ("also", "there", "really"):
        begin = len(" ".join([*words[:place], ""]))
        inserted.append((" ".join([*words[:place], filler, *words[place:]]), begin, len(filler) + 1))
reference = attribute(classifier, [" ".join(words)], target=int(target[worst]))[0]
edited = attribute(classifier, [sentence for sentence, _, _ in inserted], target=int(target[worst]))
found = []
for (_, begin, shift), after in zip(inserted, edited, strict=True):
    places = dict(zip(after.offsets, after.scores, strict=True))
    moved = [(a + shift * (a >= begin), b + shift * (a >= begin)) for a, b in reference.offsets]
    if after.prediction == reference.prediction and all(span in places for span in moved):
        found.append((spearman(reference.scores, [places[span] for span in moved]), after))
found = sorted(found, key=lambda pair: pair[0]) or [(1.0, reference)]
mean = np.mean([rho for rho, _ in found])
print(f"{len(found)} of {len(inserted)} insertions keep the class; "
      f"rank correlation: mean {mean:.2f}, lowest {found[0][0]:.2f}")
heatmap({"before": reference, "one word more": found[0][1]}, classifier.label_names)

# %% [markdown]
# The mean is the control: what *any* such insertion does. The lowest is what somebody gets who is looking for it.
#
# If the lowest is still high, as in the published run, the story of the beginning did not happen here. A change of the
# embeddings that turns an explanation round need not have a counterpart among words. It is another attribution, too,
# Integrated Gradients, and a few fillers are a small search.
#
# ## With the package
#
# {py:func}`regex_lib.checks.stability` makes such changes for many texts and attributions: tokens put in, typing errors,
# noise on the embeddings. The changes are random, not attacks. It leaves out the changes that alter the class, and it
# never gives a number without {term}`comprehensiveness` beside it. You will see why. (There is one classifier here, so the
# accuracy is the one printed at the beginning, for all rows.)
#
# One method in the list is new: `smooth_grad` averages the gradient over noisy copies of the text
# {cite:p}`smilkov-etal-2017-smoothgrad`. And two are there as a warning: `random`, and `by_position`, which says
# that the first token matters most, then the second, whatever they are. **Predict, before you run:** which attribution will
# be the most stable one?

# %%
METHODS["by_position"] = lambda _model, batch, _target: -batch.attention_mask.float().cumsum(dim=1)
names = ["random", "by_position", "attention", "scaled_attention", "input_x_gradient", "smooth_grad",
         "integrated_gradients"]
frame = stability(classifier, rows, names, perturbations=["noise", "typo", "insertion"], samples=1,
                  noise_size=size, seed=seed,
                  options={"smooth_grad": {"n_samples": 10}, "integrated_gradients": {"n_steps": 10}})
del METHODS["by_position"]
summary = summarise(frame)
stable = summary.pivot(index="attribution", columns="perturbation", values="spearman").loc[names]
stable = stable[["noise", "typo", "insertion"]].join(
    summary.groupby("attribution")["comprehensiveness"].mean())
stable.round(3)

# %% mystnb={"image": {"alt": "Seven attributions as points: across, how comprehensive they are; upwards, the rank correlation of their scores before and after a typing error."}, "figure": {"name": "fig-06-stable", "caption": "Stability under a typing error against comprehensiveness, for five attributions and two that know nothing of the model. Only the upper right is worth having."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 3.8), layout="constrained")
    for (name, row), marker in zip(stable.iterrows(), "XPovs*D", strict=True):
        colour = ATTRIBUTION_COLOURS.get(name, "#000000" if name == "by_position" else "#009e73")
        axis.scatter(row["comprehensiveness"], row["typo"], marker=marker, s=80, color=colour,
                     label=name.replace("_", " "))
    axis.set(xlabel="comprehensiveness", ylabel="rank correlation", ylim=(-0.4, 1.1))
    figure.legend(loc="outside right center", fontsize="x-small")
plt.show()

# %%
for kind in ("noise", "typo", "insertion"):
    order = stable[kind].sort_values(ascending=False)
    ahead = [name for name in order.index if order[name] >= order["by_position"] - 1e-9]
    print(f"{kind}: as stable as by_position or more: {', '.join(ahead)}")
gain = stable["comprehensiveness"] - stable.loc["random", "comprehensiveness"]
print(f"comprehensiveness of by_position minus random: {gain['by_position']:+.3f}; "
      f"the best is {gain.idxmax()} with {gain.max():+.3f}")

# %% [markdown]
# `by_position` does not look at the model, and so nothing that happens to the model's input can move it. Even `random` is
# perfectly stable under noise: its scores are drawn from the tokens, and noise changes none. **Stability alone is
# worthless.** A constant is its optimum.
#
# This is more than a curiosity. Training for robustness makes a model react less to small changes, and so its
# explanations move less *by construction*. A paper that reports nothing else has shown that the training did its job, and
# nothing about the explanations. The same goes for {py:func}`regex_lib.metrics.max_sensitivity`, the largest change of the
# scores under noise {cite:p}`yeh-etal-2019-infidelity`: never report it alone.
#
# Two more cautions. `smooth_grad` draws the same noise before and after where the tokens are the same: part of its stability
# under `noise` is borrowed.
# And `attention` has no sign, so its order answers a simpler question than that of the others: how much, not for or
# against. Compare the rows of one column, never two columns: the changes are not of one size.
#
# ## Why: the model is rough
#
# How can the prediction stay, while its gradient turns round? Think of a straight line with a small ripple on it, of
# height $h$ and width $w$:
#
# $$
# f(x) = x + h \sin(x / w), \qquad f'(x) = 1 + \frac{h}{w} \cos(x / w)
# $$ (eq-06-ripple)
#
# The ripple moves the value by $h$ at most. It moves the slope by $h / w$. A ripple that is low *and* narrow is invisible
# in the value, and is all that you see in the slope.

# %% mystnb={"image": {"alt": "Left: a straight line and the same line with a ripple, hardly different. Right: their slopes, one constant, the other swinging between positive and negative values."}, "figure": {"name": "fig-06-ripple", "caption": "A ripple that is hardly visible in a function turns its slope round."}}
h, w = 0.004, 0.002
x = torch.linspace(0.0, 0.3, 2000, requires_grad=True)
value = x + h * (x / w).sin()
(steepness,) = torch.autograd.grad(value.sum(), x)
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    axes[0].plot(x.detach(), value.detach(), color="#d55e00", label="with a ripple")
    axes[0].plot(x.detach(), x.detach(), color="black", linestyle="--", label="without")
    axes[1].plot(x.detach(), steepness, color="#d55e00")
    axes[1].plot(x.detach(), torch.ones(len(x)), color="black", linestyle="--")
    axes[0].set(xlabel="x", title="value")
    axes[1].set(xlabel="x", title="slope")
    axes[0].legend(fontsize="x-small")
plt.show()

# %% [markdown]
# With many dimensions it is worse. Near $e$, with $H$ the matrix of second derivatives,
#
# $$
# f(e + r) \approx f(e) + g(e) \cdot r, \qquad g(e + r) \approx g(e) + H r
# $$ (eq-06-taylor)
#
# The prediction reacts to *one* direction, that of $g$. All others are free, and there are thousands. The explanation
# reacts through $H$, in every direction in which the model is curved {cite:p}`ghorbani-etal-2019-fragile`. If $\beta$ is
# the largest curvature, the largest eigenvalue of $H$ in magnitude, then
#
# $$
# \frac{\lVert g(e + r) - g(e) \rVert_2}{\lVert g(e) \rVert_2}
# \ \lesssim\ \frac{\beta \, \lVert r \rVert_2}{\lVert g(e) \rVert_2}
# $$ (eq-06-bound)
#
# The left side can be measured, for different changes of about one size (the last one counts and moves `[CLS]` and
# `[SEP]` too): a random one, the two attacks, and the change that moves the *prediction* most
# ({py:func}`regex_lib.losses.virtual_adversarial_perturbation`, from {doc}`08_virtual_adversarial_training`).

# %%
worst_for_prediction = virtual_adversarial_perturbation(
    classifier.forward_func(), embeddings, attended, logits_of(embeddings), epsilon=size,
    power_iterations=2, generator=torch.Generator(embeddings.device).manual_seed(seed))
kinds = {"random": random_change(size, 0), "worst for the prediction": worst_for_prediction}
kinds |= {f"attack on {name}": attacked[name] for name in ("input_x_gradient", "integrated_gradients")}
measured = {}
for kind, moved in kinds.items():
    turned = (gradient(embeddings + moved).detach() - slope).flatten(1).norm(dim=1)
    rho, by = compare(moved)
    measured[kind] = {"turn of the gradient": (turned / slope.flatten(1).norm(dim=1)).mean().item(),
                     "change of probability": by.mean().item(), "rank correlation": rho.nanmean().item()}
turns = pd.DataFrame(measured).T
turns.round(3)

# %%
ratio = turns["turn of the gradient"] / turns.loc["random", "turn of the gradient"]
moved = turns["change of probability"]
print(f"the attack turns the gradient {ratio['attack on input_x_gradient']:.1f} times as far as a random change does")
further = "further" if moved["worst for the prediction"] > moved["attack on input_x_gradient"] else "no further"
print(f"the change that is worst for the prediction moves it {further} than that attack")

# %% [markdown]
# If the first number is well above 1, the model is curved in few directions, and strongly: random noise misses them, and an
# attack finds them. And the direction that is worst for the prediction need not be the one that is worst for its
# explanation. A model can be {term}`robust` in what it says and fragile in why.
#
# Do not read *turn* as rank correlation. It is the length of the change beside the gradient's own length. Where the
# prediction moves, the gradient may also grow, which makes all scores larger and can leave their order. And it is a mean
# over all texts, while the correlation leaves out those whose class changed.
#
# Now a trap. Input gradient regularisation, the next chapter's subject, makes the gradient *small*. But {eq}`eq-06-bound`
# divides by that size. A model whose logits are divided by ten has a gradient ten times smaller, and exactly as fragile
# explanations (try it in the exercises). What helps is a function that is *smooth*: a gradient that is nearly the same all
# around the text. A penalty on the gradient at all training texts, and virtual adversarial training, may push towards that,
# because a function without ripples is one way to be flat nearly everywhere. Whether they get there is measured in
# {doc}`07_input_gradient_regularisation` and {doc}`08_virtual_adversarial_training`.
#
# ## What can go wrong
#
# - **No control.** Any explanation that reads the model moves a little under noise. An attack deserves its name only if it
#   does more than a random change of its size.
# - **A changed prediction.** If the class changes, the explanation *should* change. Here such cases are left out, and the
#   share of those kept stands in the table. Leaving out is a choice too: a brittle model keeps its easiest texts.
# - **The best of many tries.** The text shown above is the worst of the sure ones. Look at the mean before you tell the story.
# - **Ties.** Where all scores are equal there is no order, and no correlation.
# - **Stability as a goal.** See `by_position`.
#
# ## Strengths and limitations
#
# **Strengths.** A fragility test needs no labels and no notion of a right explanation. It finds explanations that nobody
# should rely on.
#
# **Limitations.** Passing it proves little. The attack was made for one attribution and one way of comparing; another
# attribution needs its own. And a change of embeddings is not a change of meaning, nor even of a text: what a small
# change *is* for words remains open {cite:p}`alvarez-melis-jaakkola-2018-robustness`. Finally, a fragile explanation may
# be faithful: if the model's gradient does turn round, an explanation by gradients must tell so. Then the model is to
# blame, and the model is what the next two chapters change.
#
# ## Summary
#
# You found changes of the embeddings that keep a prediction and move its explanation, and compared them with random
# ones. You inserted words, too, and saw whether the worst one goes much further than the mean. You saw that stability is
# worthless alone. And you saw the cause: a gradient may turn where the value hardly moves, if the function is rough. So
# smooth the function.
#
# ## Exercises
#
# ```{exercise} The textbook formula
# :label: ex-06-1
#
# Without ties, Spearman's correlation is $1 - 6 \sum_i d_i^2 / (n (n^2 - 1))$, with $d_i$ the difference of the ranks of
# token $i$. Compute it for the two lists below. Set `answer` to the number.
# ```

# %%
one, other = torch.tensor([[0.9, 0.1, 0.4, -0.3, 0.2]]), torch.tensor([[0.5, 0.3, -0.1, -0.2, 0.4]])
answer = ...  # replace the dots
check_answer(answer, metrics.rank_correlation(one, other, torch.ones_like(one) > 0).item())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `one.argsort().argsort()` gives the ranks, counted from 0. Only differences of ranks matter.
# ```
#
# ````{solution-start} ex-06-1
# :class: dropdown
# ````

# %%
d = (one.argsort().argsort() - other.argsort().argsort()).double()
count = one.shape[1]
answer = (1 - 6 * d.square().sum() / (count * (count**2 - 1))).item()
check_answer(answer, metrics.rank_correlation(one, other, torch.ones_like(one) > 0).item())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} How high may a ripple be?
# :label: ex-06-2
#
# In {eq}`eq-06-ripple`, let the ripple have the width $w = 0.005$. How high may it be before the slope becomes negative
# somewhere? Set `answer` to the largest height $h$ at which it does not.
# ```

# %%
answer = ...  # replace the dots
grid = torch.linspace(0.0, 0.1, 10001, dtype=torch.float64)
heights = torch.linspace(0.0, 0.01, 2001, dtype=torch.float64)
lowest = torch.stack([(1 + h / 0.005 * (grid / 0.005).cos()).amin() for h in heights])
check_answer(answer, heights[lowest >= -1e-6].amax().item(), tolerance=1e-5)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The cosine is $-1$ at its lowest.
# ```
#
# ````{solution-start} ex-06-2
# :class: dropdown
# ````
#
# $1 - h / w \ge 0$ asks for $h \le w$. The narrower the ripple, the lower it must be.

# %%
answer = 0.005
check_answer(answer, heights[lowest >= -1e-6].amax().item(), tolerance=1e-5)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A tenth of the gradient
# :label: ex-06-3
#
# Divide a model's logits by ten. By what factor does the squared norm of the logit's gradient change? And what becomes
# of the rank correlation between the explanations before and after a large random change? For the first text it was
# `rho`, which the cell computes. Set `answer` to the pair of the factor and the new correlation.
# ```

# %%
def tenth(point):
    """Input times gradient of the divided logits, and the gradient."""
    point = point.detach().requires_grad_()
    (found,) = torch.autograd.grad((logits_of(point) / 10).gather(1, target[:, None]).sum(), point)
    return (point * found).sum(dim=-1).detach() * content, found


noise = random_change(10 * size, 0)
turned = explainers["input_x_gradient"](embeddings + noise).detach()
rho = metrics.rank_correlation(clean["input_x_gradient"], turned, content)[0].item()
(scores, small), (moved, _) = tenth(embeddings), tenth(embeddings + noise)
expected = ((small.norm() / slope.norm()).square().item(),
            metrics.rank_correlation(scores, moved, content)[0].item())
answer = ...  # replace the dots
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The gradient of a tenth is a tenth of the gradient. What does that do to an order?
# ```
#
# ````{solution-start} ex-06-3
# :class: dropdown
# ````
#
# The squared norm falls to a hundredth. No rank changes, and so neither does the correlation: as fragile as before.

# %%
answer = (0.01, rho)
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Max-sensitivity by hand
# :label: ex-06-4
#
# Max-sensitivity is $\max_r \lVert a(e + r) - a(e) \rVert_2 / \lVert a(e) \rVert_2$ over some changes $r$. Compute it for
# input times gradient and the three changes below. Set `answer` to a tensor with one number for each text. Then say which
# attribution has the best possible value, 0.
# ```

# %%
changes = torch.stack([random_change(size, draw) for draw in range(3)])
answer = ...  # replace the dots
explain = explainers["input_x_gradient"]
expected = metrics.max_sensitivity(lambda point: explain(point).detach(), embeddings, changes)
check_answer(answer, expected, tolerance=1e-2)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `explain(embeddings + change).detach()` gives the scores after a change, `clean["input_x_gradient"]` are those before.
# Take norms over tokens.
# ```
#
# ````{solution-start} ex-06-4
# :class: dropdown
# ````
#
# A constant attribution has the value 0, and so has every one that does not look at the embeddings.

# %%
was = clean["input_x_gradient"]
distances = torch.stack([(explain(embeddings + each).detach() - was).norm(dim=1) for each in changes])
answer = distances.amax(dim=0) / was.norm(dim=1)
check_answer(answer, expected, tolerance=1e-2)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`ghorbani-etal-2019-fragile` showed fragility for images, and gave the argument by curvature.
# {cite:t}`dombrowski-etal-2019-geometry` turn explanations into any picture they like, and explain by geometry why they can.
# {cite:t}`yeh-etal-2019-infidelity` define sensitivity. {cite:t}`alvarez-melis-jaakkola-2018-robustness` argue that
# explanations should be robust. {cite:t}`smilkov-etal-2017-smoothgrad` smooth the explanation rather than the model.
