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
# round. How to compare two explanations. Why the roughness of the model is behind it. And why an explanation that never
# changes is no better.
#
# **Time.** Forty minutes to read and try. The code takes a few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# Suppose a reviewer writes: *"The plot is thin, but the acting is superb."* The classifier says positive, and its
# explanation points at *"superb"*. The reviewer inserts *"really"* somewhere. The classifier still says positive, and just
# as surely. Now the explanation points at *"plot"*.
#
# Which of the two explanations would you show to the reviewer? If a change that means nothing changes the explanation,
# then the explanation was about something other than the meaning. Such explanations are called {term}`fragile`
# {cite:p}`ghorbani-etal-2019-fragile`. They can also be *made* to say what somebody wants
# {cite:p}`dombrowski-etal-2019-geometry`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
max_train: "Optional[int]" = None  # train on so many texts; None takes all
epochs: float = 3
learning_rate: float = 1e-4
explained: int = 64  # so many test texts are explained, and attacked
steps: int = 20  # steps of an attack
size: float = 0.1  # of a change, as a share of the embeddings' norm
seed: int = 0

# %%
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import stats

from regex_lib import metrics
from regex_lib.attributions import METHODS, attribute, baseline_embeddings, input_x_gradient, integrated_gradients
from regex_lib.book import check_answer
from regex_lib.checks import stability, summarise
from regex_lib.data import load_data
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, figure_style, heatmap, perturbation_slider
from regex_lib.training import train

corpus = load_data(data)
classifier = load_classifier("minilm", layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
run = train(classifier, corpus, "vanilla", epochs=epochs, batch_size=16,
            learning_rate=learning_rate, max_train=max_train, seed=seed)
print(f"{data}: trained on {run.settings['train_texts']} texts, "
      f"accuracy on the validation texts {run.validation['accuracy']:.3f}")

# %% [markdown]
# ## An explanation as a function
#
# To attack an explanation, you need it as a function of the input. Take the simplest one that is signed: input times
# gradient ({doc}`04_attributions`). With $f$ the logit of the predicted class and $g(e) = \nabla_e f(e)$,
#
# $$
# a_i(e) = e_i \cdot g_i(e)
# $$ (eq-06-ixg)
#
# All texts are handled at once. `differentiable=True` keeps what is needed to differentiate the explanation itself: a
# gradient of a gradient.

# %%
rows = [text for text in corpus["test"]["text"] if len(text.split()) > 5][:explained]
batch = classifier.tokenize(rows)
content = batch.content_mask
with torch.no_grad():
    embeddings = classifier.embed(batch.input_ids)
    before = classifier(embeddings, batch.attention_mask).logits.softmax(dim=-1)
target = before.argmax(dim=-1)


def explain(embeddings, differentiable=False):
    """Input times gradient of the predicted classes, 0 outside the content, and the logits."""
    point = embeddings if differentiable else embeddings.detach().requires_grad_()
    logits = classifier(point, batch.attention_mask, double_backward=True).logits
    chosen = logits.gather(1, target[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, point, create_graph=differentiable)
    scores = (point * gradient).sum(dim=-1) * content
    return (scores, logits) if differentiable else (scores.detach(), logits.detach())


clean, _ = explain(embeddings)
theirs = input_x_gradient(classifier.forward_func(), embeddings, batch.attention_mask, target)
torch.testing.assert_close(clean, theirs * content, atol=1e-4, rtol=1e-3)
print(f"{len(rows)} texts explained; the package's input_x_gradient gives the same scores")

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


first = clean[0][content[0]].cpu()
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


def compare(change):
    """Rank correlation with the clean explanation (NaN if the class changed), change of probability."""
    scores, logits = explain(embeddings + change)
    after = logits.softmax(dim=-1)
    rho = metrics.rank_correlation(clean, scores, content)
    moved = (after - before).gather(1, target[:, None]).squeeze(1).abs()
    return torch.where(after.argmax(dim=-1) == target, rho, torch.nan).cpu(), moved.cpu()


# %%
def attack(size):
    """For each text, of the changes on the way, the one with the lowest correlation and the same class."""
    change = random_change(size, draw=100)
    length = change.flatten(1).norm(dim=1)[:, None, None]
    best, lowest = change.clone(), torch.full((len(rows),), torch.inf, device=change.device)
    for _ in range(steps + 1):
        point = (embeddings + change).detach().requires_grad_()
        scores, logits = explain(point, differentiable=True)
        rho = metrics.rank_correlation(clean, scores.detach(), content)
        better = (logits.argmax(dim=-1) == target) & (rho < lowest)
        best[better], lowest[better] = change[better], rho[better]
        log_p = logits.log_softmax(dim=-1).gather(1, target[:, None]).sum()
        (keep,) = torch.autograd.grad(log_p, point, retain_graph=True)
        (away,) = torch.autograd.grad(-correlation(clean, scores).sum(), point)
        along = (away * keep).sum((1, 2), keepdim=True) / keep.square().sum((1, 2), keepdim=True)
        step = (away - along.nan_to_num() * keep) * content[..., None]
        change = change + 0.5 * length * step / step.flatten(1).norm(dim=1)[:, None, None]
        change = length * change / change.flatten(1).norm(dim=1)[:, None, None]
    return best


# %% [markdown]
# ## Result, with its control
#
# The {term}`control` is a *random* change of the same size. If it did as much, there would be no attack, only noise. Here
# are both for four sizes. The random one is drawn three times.

# %%
sizes, attacks, table = (0.02, 0.05, 0.1, 0.2), {}, []
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
# Read the two panels together. Where the left line falls and the right one stays low, the prediction is the same for all
# purposes, and its explanation another one.
#
# Here is one text. Of those predicted with a probability above 0.8, if there are any, it is the one whose explanation moved
# the most at the size of the settings. So it is **not** typical: {numref}`fig-06-attack` shows the typical one.

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
    scores, logits = explain(embeddings + moved)
    pictures[title] = replace(
        original, scores=scores[worst][content[worst]].tolist(), prediction=int(logits[worst].argmax()),
        probability=logits[worst].softmax(dim=-1).max().item())
    agreement = metrics.rank_correlation(clean, scores, content)[worst]
    print(f"{title}: rank correlation with before {agreement:+.2f}")
heatmap(pictures, classifier.label_names)

# %% [markdown]
# ### Does the attack carry over?
#
# The attack looked at input times gradient only. What do the same changes do to other attributions of the same texts?
# The control is again the random change of the same size, for each attribution by itself.

# %%
forward, start = classifier.forward_func(), baseline_embeddings(classifier, batch)
methods = {
    "attention": lambda e: classifier.pooling_attention(e, batch.attention_mask).detach(),
    "input_x_gradient": lambda e: input_x_gradient(forward, e, batch.attention_mask, target),
    "integrated_gradients": lambda e: integrated_gradients(forward, e, start, batch.attention_mask, target),
}
changes = {"random": random_change(size, 0), "attack on input_x_gradient": change}
kept = ~torch.stack([compare(change)[0] for change in changes.values()]).isnan().any(dim=0)
carried = pd.DataFrame({
    kind: {name: metrics.rank_correlation(method(embeddings), method(embeddings + change),
                                          content)[kept.to(content.device)].nanmean().item()
           for name, method in methods.items()}
    for kind, change in changes.items()
})
print(f"rank correlation with the clean explanation, mean of {int(kept.sum())} texts, size {size:g}")
carried.round(3)

# %% [markdown]
# Where the second column is much below the first in a row that was not attacked, the attack has found a place where the
# model itself is rough, and not only a weakness of one method. Where it is not, that attribution may still be fragile:
# nobody has attacked *it* yet.
#
# ## A prediction that does not stay
#
# The attack went along a direction in which the prediction stays. There are others. The slider moves the same text along
# the direction that changes the *prediction* most, and along a random one.

# %%
perturbation_slider(classifier, text, seed=seed)

# %% [markdown]
# ## A change that a person could make
#
# Embeddings that were moved belong to no text. So do it with words: insert one that hardly means anything, anywhere. Keep
# the changes that leave the class as it is. Compare the scores of the tokens that were there before. The attribution is
# Integrated Gradients now, the default.

# %%
words = text.split()
inserted = []
for place in range(len(words)):
    for filler in ("also", "there", "really"):
        start = len(" ".join([*words[:place], ""]))
        inserted.append((" ".join([*words[:place], filler, *words[place:]]), start, len(filler) + 1))
reference = attribute(classifier, [" ".join(words)], target=int(target[worst]))[0]
edited = attribute(classifier, [sentence for sentence, _, _ in inserted], target=int(target[worst]))
found = []
for (_, start, shift), after in zip(inserted, edited, strict=True):
    places = dict(zip(after.offsets, after.scores, strict=True))
    moved = [(a + shift * (a >= start), b + shift * (a >= start)) for a, b in reference.offsets]
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
# ## With the package
#
# {py:func}`regex_lib.checks.stability` makes such changes for many texts and attributions: tokens put in, typing errors,
# noise on the embeddings. The changes are random, not attacks. It leaves out the changes that alter the class, and it
# never gives a number without {term}`comprehensiveness` beside it. You will see why.
#
# Two methods in the list are there as a warning: `random`, and `by_position`, which says that the first token matters
# most, then the second, whatever they are. **Predict, before you run:** which attribution will be the most stable one?

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
# explanations move less *by construction*. A paper that reports only that has reported that the training did what it
# does. The same goes for {py:func}`regex_lib.metrics.max_sensitivity`, the largest change of the scores under noise
# {cite:p}`yeh-etal-2019-infidelity`: the package refuses to put it into a table alone.
#
# Two more cautions. `smooth_grad` averages the gradient over noisy copies {cite:p}`smilkov-etal-2017-smoothgrad`, and
# draws the same noise before and after where the tokens are the same: part of its stability under `noise` is borrowed.
# And `attention` has no sign, so that its order is made of one kind of thing only. Compare the rows of one column, never
# two columns.
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
x = torch.linspace(0.0, 0.1, 1000, requires_grad=True)
value = x + h * (x / w).sin()
(slope,) = torch.autograd.grad(value.sum(), x)
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 2.8), layout="constrained")
    axes[0].plot(x.detach(), value.detach(), color="#d55e00", label="with a ripple")
    axes[0].plot(x.detach(), x.detach(), color="black", linestyle="--", label="without")
    axes[1].plot(x.detach(), slope, color="#d55e00")
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
# The left side can be measured. If the argument holds, then texts at which the gradient turns more should have the more
# fragile explanations. Take random changes for both, but different ones. The control shuffles the texts.

# %%
def gradient(point):
    """Of the predicted class's logit, for each text in one row."""
    point = point.detach().requires_grad_()
    logits = classifier(point, batch.attention_mask).logits
    (found,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), point)
    return (found * content[..., None]).flatten(1)


still = gradient(embeddings)
turned = (gradient(embeddings + random_change(size, 7)) - still).norm(dim=1) / still.norm(dim=1)
fragility = 1 - torch.stack([compare(random_change(size, draw))[0] for draw in range(3)]).nanmean(dim=0)
kept = ~fragility.isnan()
shuffle = torch.Generator().manual_seed(seed)
causes = {"turning of the gradient": turned.cpu(), "size of the gradient": still.norm(dim=1).cpu()}
for name, cause in causes.items():
    cause, effect = cause[kept].expand(500, -1), fragility[kept].expand(500, -1)
    shuffled = torch.stack([row[torch.randperm(len(row), generator=shuffle)] for row in effect])
    everything = torch.ones_like(cause, dtype=torch.bool)
    measured = metrics.rank_correlation(cause, effect, everything)[0].item()
    chance = metrics.rank_correlation(cause, shuffled, everything).abs()
    share = (chance >= abs(measured)).double().mean().item()
    print(f"{name} and fragility, over {effect.shape[1]} texts: rank correlation {measured:+.2f}; "
          f"as strong in {share:.1%} of shuffles")

# %% [markdown]
# If the first line is positive and rare among shuffles, roughness goes with fragility in your run. It is a correlation
# over a few texts, and no proof.
#
# The second line is a trap worth knowing. Input gradient regularisation, the next chapter's subject, makes the gradient
# *small*. But {eq}`eq-06-bound` divides by that size. A model whose logits are divided by ten has a gradient ten times
# smaller, and exactly as fragile explanations (try it in the exercises). What helps is a function that is *smooth*: a
# gradient that is nearly the same all around the text. A penalty on the gradient at all training texts, and virtual
# adversarial training, push towards that, because a function without ripples is the cheapest way to be flat nearly
# everywhere. Whether they get there is a matter for measurement: {doc}`07_input_gradient_regularisation` and
# {doc}`08_virtual_adversarial_training`.
#
# ## What can go wrong
#
# - **No control.** Any explanation moves under noise. An attack is one only if it does more than a random change of its
#   size.
# - **A changed prediction.** If the class changes, the explanation *should* change. Here such cases are left out, and the
#   share of those kept stands in the table. Leaving out is a choice too: a brittle model keeps its easiest texts.
# - **The best of many tries.** The text above is the worst of all. Look at the mean before you tell the story.
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
# blame, and it is the model that the next two chapters change.
#
# ## Summary
#
# You found changes that keep a prediction and move its explanation, with embeddings and with a word, and compared them
# with random ones. You saw that stability is worthless alone. And you saw the cause: a gradient may turn where the value
# hardly moves, if the function is rough. So smooth the function.
#
# ## Exercises
#
# ```{exercise} The schoolbook's formula
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
# ```{exercise} How low may a ripple be?
# :label: ex-06-2
#
# In {eq}`eq-06-ripple`, let the ripple have the width $w = 0.005$. How low must its height $h$ stay, so that the slope is
# never negative? Set `answer` to the largest such $h$.
# ```

# %%
answer = ...  # replace the dots
grid = torch.linspace(0.0, 0.1, 10001, dtype=torch.float64)
heights = torch.linspace(0.0, 0.01, 2001, dtype=torch.float64)
lowest = torch.stack([(1 + h / 0.005 * (grid / 0.005).cos()).amin() for h in heights])
check_answer(answer, heights[lowest >= -1e-6].amax().item(), tolerance=1e-3)

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
check_answer(answer, heights[lowest >= -1e-6].amax().item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A tenth of the gradient
# :label: ex-06-3
#
# Divide a model's logits by ten. By what factor does the squared norm of the logit's gradient change? And what becomes of
# the rank correlation between the explanations before and after a random change, if it was `rho` on some text? Set
# `answer` to the pair of the factor and the new correlation.
# ```

# %%
def tenth(point):
    """Input times gradient of the divided logits, and the gradient."""
    point = point.detach().requires_grad_()
    logits = classifier(point, batch.attention_mask).logits / 10
    (found,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), point)
    return (point * found).sum(dim=-1).detach() * content, (found * content[..., None]).flatten(1)


noise = random_change(size, 0)
rho = metrics.rank_correlation(clean, explain(embeddings + noise)[0], content)[0].item()
(scores, small), (moved, _) = tenth(embeddings), tenth(embeddings + noise)
expected = ((small.norm() / still.norm()).square().item(),
            metrics.rank_correlation(scores, moved, content)[0].item())
answer = ...  # replace the dots
check_answer(answer, expected, tolerance=0.02)

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
check_answer(answer, expected, tolerance=0.02)

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
expected = metrics.max_sensitivity(lambda point: explain(point)[0], embeddings, changes)
check_answer(answer, expected, tolerance=1e-2)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `explain(embeddings + change)[0]` gives the scores after a change, `clean` are those before. Take norms over tokens.
# ```
#
# ````{solution-start} ex-06-4
# :class: dropdown
# ````
#
# A constant attribution has the value 0, and so has every one that does not look at the embeddings.

# %%
distances = torch.stack([(explain(embeddings + change)[0] - clean).norm(dim=1) for change in changes])
answer = distances.amax(dim=0) / clean.norm(dim=1)
check_answer(answer, expected, tolerance=1e-2)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`ghorbani-etal-2019-fragile` showed fragility for images, and gave the argument by curvature.
# {cite:t}`dombrowski-etal-2019-geometry` turn explanations into any picture, and explain it by geometry.
# {cite:t}`yeh-etal-2019-infidelity` define sensitivity, and {cite:t}`alvarez-melis-jaakkola-2018-robustness` ask for it as
# a property. {cite:t}`smilkov-etal-2017-smoothgrad` smooth the explanation rather than the model.
