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
# # Input gradient regularisation
#
# **What you will learn.** How to train a classifier whose loss is flat around each text, by a penalty on a gradient.
# What that promises for explanations, and what it does not. What it costs. And how it can fail while a score looks
# excellent.
#
# **Time.** Half an hour to read. The code runs in a few minutes on a GPU, or in about ten on two CPU
# cores with the small sizes.
#
# ## The question
#
# *"The story is old, but the two leads made us laugh all evening."* Suppose a classifier says positive. You move
# the embedding of each word a little. The prediction stays, as it should. Does the explanation?
#
# {doc}`06_fragile_explanations` has shown that it need not. An explanation that changes when nothing of substance has
# changed is hard to trust.
#
# One suspect is the slope. Where the loss climbs steeply in many directions, a small move goes a long way. So ask for
# gentle slopes in training: measure how steep the loss is at each text, and add that to what is minimised. This is
# {term}`input gradient regularisation`, IGR for short. REGEX trains for robustness with two terms, and this is the first
# {cite:p}`li-etal-2023-regex`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU. The data must have
# two classes.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
model: str = "minilm"  # minilm, bert, roberta, distilbert, or a hub id
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 3
batch_size: int = 16
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 200  # test texts to explain
too_high: float = 3.0  # a weight of the penalty that is too high
seed: int = 0

# %%
import json
import time

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F

from regex_lib.attributions import attribute, input_x_gradient
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.losses import (
    finite_difference_penalty,
    input_gradient,
    input_gradient_penalty,
    uniform_cross_entropy,
)
from regex_lib.metrics import embedding_noise, paired_bootstrap, rank_correlation
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import read_table
from regex_lib.training import RegexObjective, find_recipe, train

# %% [markdown]
# You need a trained classifier to look at. This one is `vanilla`: cross-entropy alone.

# %%
texts = load_data(data)
settings = {
    "epochs": epochs,
    "batch_size": batch_size,
    "learning_rate": learning_rate,
    "max_train": max_train,
    "seed": seed,
}
classifiers = {"vanilla": load_classifier(model, layers=layers, seed=seed)}
runs = {"vanilla": train(classifiers["vanilla"], texts, "vanilla", **settings)}
accuracy = classify(classifiers["vanilla"], texts["test"])["accuracy"]
print(f"{data}: {runs['vanilla'].settings['train_texts']} texts, {runs['vanilla'].device}")
print(f"accuracy on the {len(texts['test'])} test texts: {accuracy:.3f}")

# %% [markdown]
# ## The maths
#
# Write $\ell$ for the cross-entropy of one text ($L_{ce,b}$ in the {doc}`notation`, for text $b$), $e$ for its
# embeddings, and $r$ for a small change of them. Taylor's formula, cut off after the first order, says how the loss
# changes:
#
# $$
# \ell(e + r) = \ell(e) + \nabla_e \ell(e)^\top r + O(\lVert r \rVert_2^2)
# $$ (eq-07-taylor)
#
# For a small $r$ the middle term is all that matters. It is largest when $r$ points along the gradient, and is then the
# length of the gradient times the length of $r$. So the length of the gradient *is* the steepest slope. IGR adds the
# square of that length to the loss, with a weight $w_{igr}$:
#
# $$
# L_{igr} = \frac{1}{B} \sum_{b=1}^{B} \lVert \nabla_{e_b} \ell_b \rVert_2^2
# $$ (eq-07-igr)
#
# The square of the norm runs over all tokens and all dimensions of a text. Padding is left out. The idea is old:
# {cite:t}`drucker-lecun-1992-double` called it *double backpropagation* and used it for better generalisation.
# {cite:t}`ross-doshi-velez-2018-improving` found that it also makes networks harder to fool, and their input gradients
# easier to read.
#
# ### What follows for an explanation
#
# An explanation by gradients, such as input times gradient ({doc}`04_attributions`), gives each token $i$ a score like
# $\nabla_{e_i} \ell^\top e_i$. (To keep it simple, the loss is explained here. An attribution explains a logit; how the two
# slopes are related follows below.) Now move the text by $r$. By the triangle inequality the gradient changes by no more
# than
#
# $$
# \lVert \nabla_e \ell(e + r) - \nabla_e \ell(e) \rVert_2
# \le \lVert \nabla_e \ell(e + r) \rVert_2 + \lVert \nabla_e \ell(e) \rVert_2 .
# $$ (eq-07-change)
#
# If the penalty makes the gradient short at the text *and around it*, both terms on the right are small. Then the scores
# change little *in size*.
#
# Read that twice, because it promises less than it seems to. A gradient that is half as long changes by half as much
# even if it turns by the same angle. The *order* of the tokens, which is what a reader looks at, is a matter of the
# angle. That was the trap at the end of the last chapter. You will measure both.
#
# ## From scratch
#
# One thing is new: the gradient is not the end of the computation but a step of it. `create_graph=True` makes PyTorch
# record how the gradient was computed, so that you can differentiate it again. Everything else is equation
# {eq}`eq-07-igr` word by word.

# %%
classifier = classifiers["vanilla"]
rows = texts["train"].select(range(8))
batch = classifier.tokenize(rows["text"])
mask, labels = batch.attention_mask, torch.tensor(rows["label"], device=classifier.device)

embeddings = classifier.embed(batch.input_ids)
logits = classifier(embeddings, mask, double_backward=True).logits
losses = F.cross_entropy(logits, labels, reduction="none")  # one for each text

(gradient,) = torch.autograd.grad(losses.sum(), embeddings, create_graph=True)
gradient = gradient * mask[..., None]  # nothing on the padding
penalty = gradient.square().sum(dim=(1, 2)).mean()

torch.testing.assert_close(penalty, input_gradient_penalty(losses, embeddings, mask))
print(f"penalty {penalty.item():.4g}, cross-entropy {losses.mean().item():.4g}")

# %% [markdown]
# The assertion compares your penalty with {py:func}`regex_lib.losses.input_gradient_penalty`, the package's function. Two
# details of the code matter:
#
# - The losses are **summed** over the batch before differentiating. No text's loss depends on another text, so the sum
#   gives each text its own gradient. A mean would make every gradient smaller by the batch size, as an
#   {ref}`exercise <ex-07-2>` shows.
# - `double_backward=True` chooses an attention kernel that can be differentiated twice. More on that below.
#
# Equal values are not enough. What trains the model is the gradient of the penalty by the *weights*. Compare these too:

# %%
weights = [weight for weight in classifier.parameters() if weight.requires_grad]
ours = torch.autograd.grad(penalty, weights, retain_graph=True, allow_unused=True)
theirs = torch.autograd.grad(
    input_gradient_penalty(losses, embeddings, mask), weights, retain_graph=True, allow_unused=True
)
reached = [pair for pair in zip(ours, theirs, strict=True) if pair[0] is not None]
for one, other in reached:
    torch.testing.assert_close(one, other)
print(f"{len(reached)} of {len(weights)} weight tensors get the same gradient from both")

# %% [markdown]
# ## Three passes
#
# {numref}`fig-07-passes` shows what the computer does. A forward pass (1) goes from the embeddings to the loss. A backward
# pass (2) goes from the loss to the input gradient. The penalty is computed from that. So its own backward pass (3) runs
# through *both*: first back through the backward pass, then back through the forward pass, until it has reached the
# weights. This is the {term}`double backward`.

# %% mystnb={"image": {"alt": "A diagram with two rows. Upper row, left to right: embeddings, encoder, loss, joined by solid arrows, the forward pass. Lower row, right to left: encoder backwards, input gradient, penalty, joined by solid arrows, the backward pass. Dashed arrows lead from the penalty all the way back to the encoder of the upper row: the double backward."}, "figure": {"name": "fig-07-passes", "caption": "Solid: the forward pass (1) and the backward pass to the input gradient (2). Dashed: the double backward (3) takes the penalty back through both, to the weights of the encoder."}}
places = {
    "e": (1, 1, "embeddings\n$e$"), "f": (2, 1, "encoder"), "l": (3, 1, "loss\n$\\ell$"),
    "b": (2, 0, "encoder,\nbackwards"), "g": (1, 0, "gradient\n$\\nabla_e\\,\\ell$"),
    "p": (0, 0, "penalty\n$\\Vert\\nabla_e\\,\\ell\\,\\Vert_2^2$"),
}  # fmt: skip
solid = {"arrowstyle": "-|>", "color": "black", "shrinkA": 1, "shrinkB": 1, "lw": 1.6}
dashed = solid | {"color": RECIPE_COLOURS["igr"], "ls": "--", "connectionstyle": "arc3,rad=0.4"}
box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": "black"}
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    axis.set(xlim=(-0.5, 3.5), ylim=(-0.6, 1.6))
    axis.axis("off")
    boxes = {key: axis.text(x, y, name, ha="center", va="center", fontsize=11, bbox=box)
             for key, (x, y, name) in places.items()}  # fmt: skip
    figure.canvas.draw()  # so that the arrows know where the boxes end
    for pairs, arrow in (("ef fl lb bg gp", solid), ("pg gb bl lf", dashed)):
        for start, end in pairs.split():
            ends = {"patchA": boxes[start].get_bbox_patch(), "patchB": boxes[end].get_bbox_patch()}
            axis.annotate("", places[end][:2], places[start][:2], arrowprops=arrow | ends)
    for x, y, name in ((1.5, 1.12, "1"), (1.5, 0.12, "2"), (2.95, 0.3, "3")):
        axis.text(x, y, name, ha="center", weight="bold")
plt.show()

# %% [markdown]
# ## Two ways to a small gradient
#
# With two classes, the gradient of the cross-entropy has two factors. Let $z$ be the logits, $y$ the right class and
# $y'$ the other:
#
# $$
# \nabla_e \ell = -\,(1 - p_y) \; \nabla_e (z_y - z_{y'})
# $$ (eq-07-factors)
#
# The first factor is the **doubt**: it is small when the model is sure of the right class. The second is the **slope** of
# the margin, where the margin is the difference of the logits. An explanation rests on the slope, so the slope is what
# you want to be gentler. But the penalty is on the product, and a model can lower it either way. So measure each factor
# by itself. First for the plain classifier:

# %%
rows = texts["test"].select(range(min(64, len(texts["test"]))))


def look(classifier):
    """Means over test texts: length of the loss gradient, doubt, and slope of the margin."""
    batch = classifier.tokenize(rows["text"])
    labels = torch.tensor(rows["label"], device=classifier.device)
    embeddings = classifier.embed(batch.input_ids)
    logits = classifier(embeddings, batch.attention_mask).logits
    losses = F.cross_entropy(logits, labels, reduction="none")
    first, second = logits.topk(2, dim=-1).values.unbind(-1)
    found = {"doubt": (1 - (-losses).exp()).mean().item()}
    for name, values in (("gradient", losses), ("slope", first - second)):
        slope = input_gradient(values, embeddings, batch.attention_mask, create_graph=False)
        found[name] = slope.norm(dim=(1, 2)).mean().item()
    return found


pd.DataFrame({"vanilla": look(classifiers["vanilla"])}).T.style.format(precision=3)

# %% [markdown]
# ## Variants
#
# Other norms, other losses and another way to compute the penalty are in use. All of them are options of the recipe
# and of the functions.
#
# **Other norms.** `l21` sums the lengths of the tokens' gradients, and `l1` the magnitudes of all entries. Both press
# weak tokens down to zero more than the square does.
#
# **Without labels.** The gradient of {py:func}`regex_lib.losses.uniform_cross_entropy`, the cross-entropy to the
# uniform distribution, needs no label. For two classes its first factor is not the doubt but $|p_y - \frac{1}{2}|$. It
# is small where the model is *unsure*. So the model cannot lower this penalty by confidence, though it can by doubt.
#
# **Without a double backward.** Take a small step of length $h$ in the direction $u$ of the gradient, and see how far
# the loss climbs:
#
# $$
# \lVert \nabla_e \ell \rVert_2 \approx \frac{\ell(e + h u) - \ell(e)}{h},
# \qquad u = \frac{\nabla_e \ell}{\lVert \nabla_e \ell \rVert_2}
# $$ (eq-07-difference)
#
# Instead of a double backward pass it needs one more forward pass and its backward pass, and any attention kernel will
# do. The function is {py:func}`regex_lib.losses.finite_difference_penalty`. Its step is a share of the norm of $e$. A
# large step sees the curvature as well. A step far below those in the table would leave two losses that are almost
# equal, and their difference would be lost to rounding in single precision. The table shows the estimate divided by the
# exact value: 1 is perfect.
#
# With another norm, $u$ is the direction along which the loss climbs most by that norm: for `l21` each token's
# gradient is divided by its own length, and for `l1` only the signs of the gradient are left.

# %%
def loss_at(moved):
    """The loss of the batch at other embeddings, with the fast attention kernels."""
    return F.cross_entropy(classifier(moved, mask).logits, labels, reduction="none")


table = {}
for norm in ("squared_l2", "l21", "l1"):
    exact = input_gradient_penalty(losses, embeddings, mask, norm=norm).item()
    table[norm] = {"exact": exact}
    for step in (1e-1, 1e-2, 1e-3, 1e-5):
        estimate = finite_difference_penalty(
            loss_at, embeddings, mask, gradient, losses, norm=norm, step=step
        )
        table[norm][f"step {step:g}"] = estimate.item() / exact
label_free = input_gradient_penalty(uniform_cross_entropy(logits), embeddings, mask).item()
print(f"squared norm without labels: {label_free:.4g}; with labels: {penalty.item():.4g}")
table = pd.DataFrame(table).T
table.style.format(precision=3).format("{:.4g}", subset="exact")

# %% [markdown]
# ## With the package
#
# In a {py:class}`regex_lib.training.Recipe` the weight is called `igr_weight`. Train two more classifiers, from the same
# start on the same texts in the same order. One has the weight of the recipe `igr`, which comes from a search on
# validation data. The other has a weight that is meant to be far too high.
#
# ```{admonition} Predict before you run
# :class: tip
#
# What will the highest weight do to the accuracy? To the gradient? And to sufficiency and comprehensiveness? Write your
# guesses down. Then run the cells, and change `too_high` in the settings.
# ```

# %%
igr = find_recipe("igr")
igr_weights = {"vanilla": 0.0, "igr": igr.igr_weight, "too high": too_high}
for name in ("igr", "too high"):
    classifiers[name] = load_classifier(model, layers=layers, seed=seed)
    recipe = igr.changed(igr_weight=igr_weights[name])
    runs[name] = train(classifiers[name], texts, recipe, **settings)

effect = {
    name: {"weight": igr_weights[name], **classify(one, texts["test"]), **look(one)}
    for name, one in classifiers.items()
}
effect = pd.DataFrame(effect).T.drop(columns="macro_f1")
frequent = pd.Series(texts["test"]["label"]).value_counts(normalize=True).max()
print(f"always naming the most frequent class would have an accuracy of {frequent:.3f}")
effect.style.format(precision=3).format("{:g}", subset="weight")

# %% [markdown]
# `ece` is the {term}`calibration` error of {doc}`03_classifier_and_data`. Compare `doubt` and `slope` between the rows:
# they tell *how* the gradient changed. (Each column is a mean over texts, and the mean of a product is not the product of
# the means: {eq}`eq-07-factors` holds text by text, see {ref}`the exercise <ex-07-3>`.) The next cell says it in words.

# %%
change = (effect.loc["igr"] / effect.loc["vanilla"]).round(2)
for column in ("gradient", "doubt", "slope"):
    print(f"igr against vanilla, {column}: {change[column]} times")
if change["gradient"] >= 1:
    print("The penalty did not shorten the gradient here.")
elif change["slope"] < 1:
    print("The gradient is shorter, and the margin is flatter: what the penalty is for.")
else:
    print("The gradient is shorter, but the margin is no flatter: look at the doubt.")

# %% [markdown]
# ## Are explanations steadier?
#
# Explain some texts by input times gradient. Then move their embeddings, in two ways, and explain them again, for the same
# class:
#
# - by a **random** change of a twentieth of their norm, the {term}`control`;
# - by an **attack** of the same size: a short version of that in {doc}`06_fragile_explanations`. It climbs towards scores
#   that are as unlike the old ones as possible (by their cosine), and the prediction has to stay. Of its steps, the one
#   with the lowest rank correlation counts.

# %%
def explain(classifier, batch, target, point):
    """Input times gradient, with its graph, and whether the class is still `target`."""
    logits = classifier(point, batch.attention_mask, double_backward=True).logits
    chosen = logits.gather(1, target[:, None]).sum()
    (slope,) = torch.autograd.grad(chosen, point, create_graph=True)
    return (point * slope).sum(-1) * batch.content_mask, logits.argmax(-1) == target


batch_few = classifier.tokenize(rows["text"][:32])
points_few = classifier.embed(batch_few.input_ids).detach()
target_few = classifier(points_few, batch_few.attention_mask).logits.argmax(-1)
ours, _ = explain(classifier, batch_few, target_few, points_few.requires_grad_())
theirs = input_x_gradient(
    classifier.forward_func(), points_few.detach(), batch_few.attention_mask, target_few
)
theirs = theirs * batch_few.content_mask
torch.testing.assert_close(ours.detach(), theirs, atol=1e-4, rtol=1e-3)  # other kernels, other rounding
print(f"{len(ours)} texts explained, as the package does")


# %%
def steadiness(classifier, size=0.05, steps=8):
    """For each text: size of the scores, their random change, rank correlations after both moves."""
    batch = classifier.tokenize(rows["text"][:32])
    content, start = batch.content_mask, classifier.embed(batch.input_ids).detach()
    target = classifier(start, batch.attention_mask).logits.argmax(-1)
    before = explain(classifier, batch, target, start.clone().requires_grad_())[0].detach()
    seeds = torch.arange(len(start)) + 1000 * seed
    change = embedding_noise(start, content, size=size, seeds=seeds)
    length = change.norm(dim=(1, 2), keepdim=True)
    correlations, distances = [], []
    for _ in range(steps + 1):  # the first is the random change
        point = (start + change).requires_grad_()
        scores, same = explain(classifier, batch, target, point)
        rho = rank_correlation(before, scores.detach(), content)
        correlations.append(torch.where(same, rho, torch.nan))
        distances.append((scores.detach() - before).norm(dim=1))
        likeness = F.cosine_similarity(before, scores, dim=1).sum()
        away = -torch.autograd.grad(likeness, point)[0] * content[..., None]
        change = change + length * away / away.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
        change = length * change / change.norm(dim=(1, 2), keepdim=True)
    lowest = torch.stack(correlations).nan_to_num(nan=2.0).amin(dim=0)
    attack = torch.where(lowest > 1, torch.nan, lowest)
    return {"size": before.norm(dim=1), "change": distances[0], "random": correlations[0], "attack": attack}


# %%
steady = {name: steadiness(one) for name, one in classifiers.items()}
pd.DataFrame(
    {name: {"size of the scores": found["size"].mean().item(),
            "their change, random": found["change"].mean().item(),
            "rank correlation, random": found["random"].nanmean().item(),
            "rank correlation, attack": found["attack"].nanmean().item()}
     for name, found in steady.items()}
).T.style.format("{:.3g}")  # fmt: skip

# %%
gain = paired_bootstrap(steady["igr"]["attack"].cpu(), steady["vanilla"]["attack"].cpu(), seed=seed)
smaller = steady["igr"]["change"].mean() / steady["vanilla"]["change"].mean()
size = steady["igr"]["size"].mean() / steady["vanilla"]["size"].mean()
print(f"igr against vanilla: the scores have {size:.2f} times the size, and change by {smaller:.2f} times as much")
print(f"rank correlation under attack, igr minus vanilla: {gain.estimate:+.2f}, "
      f"from {gain.low:+.2f} to {gain.high:+.2f}")
print("so by this test the explanations of igr are", "steadier" if gain.low > 0 else "not clearly steadier")

# %% [markdown]
# If the change falls just as the size does, the explanation is *smaller*, not *steadier*. The rank correlation decides,
# and the attack is the harder test of the two. And look at the model with the weight that is too high: whatever its
# explanations do, there is a reason not to care, which is its accuracy.
#
# Here is the sentence from the beginning, explained by the three models with Integrated Gradients. The colours are scaled
# by the strongest token of each explanation, so they show order, not size. The line above each text names the prediction.
# A model may say negative, which is wrong: an attribution explains what the model says, right or wrong.

# %%
sentence = "The story is old, but the two leads made us laugh all evening."
for one in classifiers.values():
    one.label_names = ["negative", "positive"]
explanations = {name: attribute(one, [sentence])[0] for name, one in classifiers.items()}
attribution_switcher(explanations, classifiers["vanilla"].label_names)

# %% [markdown]
# ## Is it more faithful?
#
# Steady is not the same as {term}`faithful`. So measure the {term}`sufficiency` and {term}`comprehensiveness` of
# Integrated Gradients, each beside random scores on the same model ({doc}`05_measuring_faithfulness`). Removed tokens
# become `[MASK]`. The `accuracy` in this table counts only the texts that are explained, so it differs from the one above, on
# all test texts.

# %%
frames = []
for name, one in classifiers.items():
    report = evaluate_faithfulness(
        one,
        texts["test"],
        ("random", "integrated_gradients"),
        replacement="mask",
        max_examples=min(max_examples, len(texts["test"])),
        seed=seed,
    )
    frames.append(report.table.assign(model=name))
columns = ["sufficiency", "comprehensiveness", "degenerate_share", "accuracy"]
faithfulness = pd.concat(frames)[["model", "attribution", *columns]].reset_index(drop=True)
faithfulness.style.format(precision=3).hide(axis="index")

# %% mystnb={"image": {"alt": "Three panels with a group of bars or points for each weight of the penalty: accuracy with a dashed line at the share of the most frequent class, the length of the input gradient on a logarithmic axis, and sufficiency and comprehensiveness of Integrated Gradients and of random scores."}, "figure": {"name": "fig-07-weights", "caption": "What the weight of the penalty does to the accuracy, to the length of the input gradient, and to the two scores. Filled: Integrated Gradients. Hollow: random scores, the control. The dashed line is the accuracy of naming the most frequent class."}}
names = [f"{name}\n{weight:g}" for name, weight in igr_weights.items()]
scores = faithfulness.set_index(["attribution", "model"])
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(7.4, 3.1), layout="constrained")
    axes[0].bar(names, effect["accuracy"], color=RECIPE_COLOURS["igr"], width=0.6)
    axes[0].axhline(frequent, color="black", ls="--")
    axes[0].set(title="accuracy", ylim=(0, 1))
    axes[1].bar(names, effect["gradient"], color=RECIPE_COLOURS["vanilla"], width=0.6, hatch="//")
    axes[1].set(title="input gradient", yscale="log", ylim=(effect["gradient"].min() / 5, None))
    for metric, marker in (("sufficiency", "o"), ("comprehensiveness", "s")):
        for method, fill in (("integrated_gradients", "full"), ("random", "none")):
            values = scores.loc[method].loc[list(igr_weights), metric]
            label = metric if fill == "full" else None
            axes[2].plot(names, values, marker, fillstyle=fill, color="black", ms=8, label=label)
    axes[2].set(title="scores", ylim=(-0.03, 1.03))
    figure.legend(*axes[2].get_legend_handles_labels(), loc="outside lower right", ncols=2)
    for axis in axes:
        axis.tick_params(axis="x", labelsize=9)
        axis.grid(visible=False, axis="x")
plt.show()

# %% [markdown]
# In the right panel, subtract each hollow marker from its filled one, and compare these distances between the models. One
# model may be ahead in one metric and behind in the other. And where the shares of degenerate texts differ, so do the
# texts that the means speak of. One seed and a few dozen texts answer nothing; the study has more of both
# ({doc}`12_in_domain`).
#
# ## What it costs
#
# A step of `vanilla` is one forward and one backward pass. The exact penalty adds a backward pass to the input, and
# makes the last backward pass about twice as long. The finite difference adds a forward and two backward passes, but
# keeps the fast kernels. Measure it, and read the ratio. On a busy or a small machine it wobbles.

# %%
def seconds_per_step(recipe, steps=5):
    """The median time of a forward and backward pass over 16 texts."""
    objective = RegexObjective(load_classifier(model, layers=layers, seed=seed), recipe).train()
    rows = texts["train"].select(range(16))
    batch = objective.classifier.tokenize(rows["text"])
    labels = torch.tensor(rows["label"], device=objective.classifier.device)
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        loss = objective(batch.input_ids, batch.attention_mask, batch.content_mask, labels)["loss"]
        loss.backward()
        loss.item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return sorted(times)[steps // 2]


estimators = {
    "vanilla": find_recipe("vanilla"),
    "igr, exact": igr,
    "igr, finite difference": igr.changed(igr_estimator="finite_difference"),
}
costs = pd.Series({name: seconds_per_step(recipe) for name, recipe in estimators.items()})
costs = pd.DataFrame({"seconds": costs, "times vanilla": costs / costs["vanilla"]})
costs.style.format(precision=3)

# %% [markdown]
# The cost is one of training. At inference the model is an ordinary one. {doc}`21_what_it_costs` measures memory too.
#
# ## The search behind the weight
#
# The package's weight comes from a search on the validation split of SST {cite:p}`socher2013recursive`: one seed, a small
# encoder, `[MASK]` as the replacement. These are its rows for IGR. The weight 0 is the baseline, and random scores are the
# control:

# %%
search = read_table("recipe_search")
kept = search["recipe"].isin(["vanilla", "igr"])
kept &= search["attribution"].isin(["random", "integrated_gradients"])
search = search[kept].assign(
    weight=[json.loads(changes).get("igr_weight", 0.0) for changes in search["changes"][kept]],
    attribution=search["attribution"][kept].replace({"integrated_gradients": "IG"}),
)
wide = search.pivot_table(
    index=["weight", "accuracy", "degenerate_share"],
    columns="attribution",
    values=["sufficiency", "comprehensiveness"],
)
wide.columns = [f"{metric}, {method}" for metric, method in wide.columns]
print(f"means over {search['examples'].max()} texts")
wide.reset_index().style.format(precision=3).format("{:g}", subset="weight").hide(axis="index")

# %% [markdown]
# Read the columns of the control as carefully as those of IG. Where both move, the *scale* has moved: a flatter model
# gives an empty text another prediction, and every score is divided by a number that depends on it. What counts is how
# far IG is from the control of the same model {cite:p}`edin-etal-2025-normalized`.
#
# A search is for choosing. What is reported comes from a study on the test split, with more than one seed where they are
# measured: `seeds` says how many, and `accuracy` is a mean over as many of them as have it.

# %%
study = read_table("sst/means").query("recipe in ['vanilla', 'igr'] and split == 'test'")
quality = study.query("kind == 'quality' and metric == 'accuracy'").set_index("recipe")["mean"]
found = study.query("kind == 'faithfulness' and replacement == 'mask' and level == 'token'")
found = found.query("attribution in ['random', 'integrated_gradients']")
found = found[found["metric"].isin(["sufficiency", "comprehensiveness"])]
found = found.pivot_table(
    index=["recipe", "attribution", "seeds", "examples"], columns="metric", values="mean")
missing = sorted({"vanilla", "igr"} - set(found.index.get_level_values("recipe")))
print(f"not measured yet: {', '.join(missing)}" if missing else "both recipes are measured")
found = found.reset_index().assign(accuracy=lambda table: table["recipe"].map(quality))
found.style.format(precision=3, na_rep="not yet").hide(axis="index")

# %% [markdown]
# {doc}`12_in_domain` has the intervals, and every recipe that is measured so far.
#
# ## What can go wrong
#
# ### The weight is too high
#
# A classifier that says the same for every text has an input gradient of exactly zero. It is the perfect solution of the
# penalty. If the weight is too high, training finds it.

# %%
lost = faithfulness[faithfulness["model"] == "too high"].set_index("attribution")
flat = effect.loc["too high"]
at_chance = flat["accuracy"] < frequent + 0.05
print(f"accuracy {flat['accuracy']:.3f}, the most frequent class alone {frequent:.3f}")
print(f"input gradient {flat['gradient']:.2g}, vanilla {effect.loc['vanilla', 'gradient']:.2g}")
for method in lost.index:
    print(f"sufficiency of {method}: {lost.loc[method, 'sufficiency']:.3f}")
print(f"degenerate texts: {lost['degenerate_share'].iloc[0]:.0%}")
print(
    "This model is at chance: its scores mean nothing, however high."
    if at_chance
    else "This weight did not break the model here: try a higher one."
)

# %% [markdown]
# Compare the sufficiency of random scores with what you would expect of a useless explanation. If a model says the same
# whatever it reads, any few words are "sufficient", and so are no words at all. Three things give the failure away: the
# accuracy, the `random` row, and the share of {term}`degenerate` texts. A table without them hides it.
#
# ### The attention kernel has no double backward
#
# The fast attention kernels can be differentiated once. If you forget `double_backward=True`, the first pass and even the
# penalty's value are right. The error comes later, from `backward()`:

# %%
rows_two = texts["train"].select(range(2))
two = classifier.tokenize(rows_two["text"])
two_labels = torch.tensor(rows_two["label"], device=classifier.device)
for double_backward in (False, True):
    points = classifier.embed(two.input_ids)
    two_logits = classifier(points, two.attention_mask, double_backward=double_backward).logits
    two_losses = F.cross_entropy(two_logits, two_labels, reduction="none")
    try:
        input_gradient_penalty(two_losses, points, two.attention_mask).backward()
        print(f"double_backward={double_backward}: the weights have their gradients")
    except RuntimeError as error:
        print(f"double_backward={double_backward}: {str(error).splitlines()[0]}")
classifier.zero_grad()

# %% [markdown]
# A message about a missing derivative of a `scaled_dot_product` function means: use the plain kernel. In your own loop
# that is `double_backward=True`; {py:class}`regex_lib.training.RegexObjective` does it where a recipe needs it; and
# `igr_estimator="finite_difference"` needs no double backward at all.
#
# ### A sensitivity score as proof
#
# IGR shortens the gradient by construction. A score of how far explanations move in size then falls by construction too,
# and a constant explanation has the best score of all. Never report it alone.
#
# ## Strengths and limitations
#
# **Strengths.** It is one term with one weight, it fits any model that can be differentiated, and it costs nothing at
# inference.
#
# **Limitations.**
#
# - It is a promise about the loss at each *training* text, to first order. It says nothing about larger changes:
#   {doc}`08_virtual_adversarial_training` looks further.
# - Except in the label-free variant, it needs labels.
# - A model can lower it by confidence instead of flatness, or by giving up. Watch the doubt, the slope and the accuracy.
# - Which weight is right depends on the encoder, because the length of a gradient depends on the scale of its
#   embeddings. We do not know which weight the paper used.
#
# ## Summary
#
# The length of the input gradient is the steepest slope of the loss. IGR adds its square to the loss, which takes a
# double backward or a finite difference. It asks for a loss that is flat around the training texts. Whether explanations
# get steadier and more faithful is for the tables to say, beside the random row and the accuracy. Too high a weight gives
# a flat model that knows nothing, and some scores praise it.
#
# ## Exercises
#
# ```{exercise} A double backward by hand
# :label: ex-07-1
#
# A model with one weight $w$ and one input $x$ has the loss $\ell = (w x)^2$. What is the derivative of the penalty
# $(\partial \ell / \partial x)^2$ by the weight $w$, at $w = 2$ and $x = 0.5$? Work it out on paper, and set `answer` to
# the number. The check uses PyTorch.
# ```

# %%
answer = ...  # replace the dots
w = torch.tensor(2.0, requires_grad=True)
x = torch.tensor([[[0.5]]], requires_grad=True)
one_penalty = input_gradient_penalty((w * x).square().sum(dim=(1, 2)), x, torch.tensor([[True]]))
(expected,) = torch.autograd.grad(one_penalty, w)
check_answer(answer, expected.item())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The first derivative is $2 w^2 x$. Square it, then differentiate by $w$.
# ```
#
# ````{solution-start} ex-07-1
# :class: dropdown
# ````
#
# The penalty is $4 w^4 x^2$. Its derivative by $w$ is $16 w^3 x^2$.

# %%
answer = 16 * 2.0**3 * 0.5**2
check_answer(answer, expected.item())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The trap of the batch size
# :label: ex-07-2
#
# Somebody differentiates the *mean* loss of the batch instead of the sum. `wrong` is the penalty that comes out for the
# batch above. Put it right with one factor, without another gradient, and set `answer` to the right penalty.
# ```

# %%
answer = ...  # replace the dots
(mean_gradient,) = torch.autograd.grad(losses.mean(), embeddings, retain_graph=True)
wrong = (mean_gradient * mask[..., None]).square().sum(dim=(1, 2)).mean().item()
print(f"wrong: {wrong:.4g}, for a batch of {len(losses)}")
check_answer(answer, penalty.item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The mean divides each text's loss by the batch size $B$. What does the square make of that?
# ```
#
# ````{solution-start} ex-07-2
# :class: dropdown
# ````
#
# Each gradient is shorter by the factor $B$, and its square by $B^2$. With the mistake, the weight of the penalty would
# depend on the batch size: twice the batch, a quarter of the penalty.

# %%
answer = wrong * len(losses) ** 2
check_answer(answer, penalty.item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The two factors
# :label: ex-07-3
#
# Verify {eq}`eq-07-factors` on the batch above. Compute the doubt and the slope of each text from `logits`, `labels` and
# `embeddings`, multiply them, and set `answer` to the products: a tensor with one number for each text. The check
# compares it with the lengths of the gradients of the cross-entropy.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, gradient.norm(dim=(1, 2)), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `logits.gather(1, labels[:, None])` picks the right class's logit. {py:func}`regex_lib.losses.input_gradient` with
# `create_graph=False` gives the gradient of any number per text.
# ```
#
# ````{solution-start} ex-07-3
# :class: dropdown
# ````

# %%
right = logits.gather(1, labels[:, None])[:, 0]
margin = right - logits.gather(1, 1 - labels[:, None])[:, 0]
slope = input_gradient(margin, embeddings, mask, create_graph=False).norm(dim=(1, 2))
doubt = 1 - logits.softmax(dim=-1).gather(1, labels[:, None])[:, 0]
answer = doubt * slope
check_answer(answer, gradient.norm(dim=(1, 2)), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The finite difference
# :label: ex-07-4
#
# Write {eq}`eq-07-difference` yourself, for the squared norm and the step 0.01 of the norm of each text's embeddings
# (padding left out). Set `answer` to the mean over the batch. `loss_at`, `losses`, `gradient`, `embeddings` and `mask`
# are those of the chapter.
# ```

# %%
answer = ...  # replace the dots
expected = finite_difference_penalty(loss_at, embeddings, mask, gradient, losses, step=0.01)
check_answer(answer, expected.item(), tolerance=1e-2)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# $h$ is a number for each text: give it the shape `(batch, 1, 1)` to multiply $u$.
# ```
#
# ````{solution-start} ex-07-4
# :class: dropdown
# ````

# %%
with torch.no_grad():
    h = 0.01 * (embeddings * mask[..., None]).norm(dim=(1, 2))
    u = gradient / gradient.norm(dim=(1, 2))[:, None, None]
    climb = loss_at(embeddings + h[:, None, None] * u) - losses
    answer = (climb / h).square().mean().item()
check_answer(answer, expected.item(), tolerance=1e-2)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`drucker-lecun-1992-double` draw the network that a double backward needs.
# {cite:t}`ross-doshi-velez-2018-improving` compare the penalty with adversarial training, on images, and show the
# gradients. {cite:t}`dombrowski-etal-2019-geometry` explain why it is curvature, not length, that makes explanations
# fragile. The functions are listed in the {doc}`package's pages <api>`, the symbols in the
# {doc}`notation`.
