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
# **What you will learn.** How to train a classifier whose loss is flat around each text, by a penalty on a gradient;
# what that promises for explanations, and what it does not; what it costs; and how it fails while the scores look good.
#
# **Time.** Half an hour to read. The code runs in a few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# *"The soup was cold, but the waiter made us laugh all evening."* A classifier says positive. You move the embedding of
# each word a little, by less than the distance to a synonym. The prediction stays, as it should. Does the explanation?
#
# {doc}`06_fragile_explanations` has shown that it need not. An explanation that changes when nothing of substance has
# changed is hard to trust.
#
# One suspect is the slope. Where the loss climbs steeply in many directions, a small move goes a long way. So ask for
# gentle slopes in training: measure how steep the loss is at each text, and add that to what is minimised. This is
# {term}`input gradient regularisation`, IGR. It is the first of the two {term}`robust` terms of REGEX
# {cite:p}`li-etal-2023-regex`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "reviews"  # a data set's name, or a file or folder of your own
model: str = "minilm"  # minilm, bert, roberta, distilbert, or a hub id
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 5
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

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.losses import (
    finite_difference_penalty,
    input_gradient,
    input_gradient_penalty,
    uniform_cross_entropy,
)
from regex_lib.metrics import rank_correlation
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
# Write $\ell$ for the cross-entropy of one text, $e$ for its embeddings, and $r$ for a small change of them. Taylor's
# formula, cut off after the first order, says how the loss changes:
#
# $$
# \ell(e + r) = \ell(e) + \nabla_e \ell(e)^\top r + O(\lVert r \rVert_2^2)
# $$ (eq-07-taylor)
#
# For a small $r$ the middle term is all that matters. It is largest when $r$ points along the gradient, and is then the
# length of the gradient times the length of $r$. So the length of the gradient *is* the steepest slope. IGR adds its
# square to the loss, with a weight $w_{igr}$:
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
# A gradient explanation gives each token $i$ the part $\nabla_{e_i} \ell^\top (e_i - \text{baseline}_i)$. That is the
# middle term of {eq}`eq-07-taylor` again, cut into tokens. Now move the text by $r$. By the triangle inequality the
# gradient changes by no more than
#
# $$
# \lVert \nabla_e \ell(e + r) - \nabla_e \ell(e) \rVert_2
# \le \lVert \nabla_e \ell(e + r) \rVert_2 + \lVert \nabla_e \ell(e) \rVert_2 .
# $$ (eq-07-change)
#
# Both terms on the right are small if the penalty works. So the explanation changes little *in size*.
#
# Read that twice, because it promises less than it seems to. A gradient that is half as long changes by half as much
# even if it turns by the same angle. The *order* of the tokens, which is what a reader looks at, is a matter of the
# angle. You will measure both.
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
# The package's function is {py:func}`regex_lib.losses.input_gradient_penalty`. Two details of the code matter:
#
# - The losses are **summed** over the batch before differentiating. No text's loss depends on another text, so the sum
#   gives each text its own gradient. A mean would make every gradient smaller by the batch size (exercise 2).
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
solid = {"arrowstyle": "-|>", "color": "black", "shrinkA": 26, "shrinkB": 26, "lw": 1.6}
dashed = solid | {"color": RECIPE_COLOURS["igr"], "ls": "--", "connectionstyle": "arc3,rad=0.45"}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.6, 3.2), layout="constrained")
    for pairs, arrow in (("ef fl lb bg gp", solid), ("pg gb bl lf", dashed)):
        for start, end in pairs.split():
            axis.annotate("", places[end][:2], places[start][:2], arrowprops=arrow)
    for x, y, name in ((1.55, 1.12, "1"), (1.55, 0.12, "2"), (2.75, 0.1, "3")):
        axis.text(x, y, name, ha="center", weight="bold")
    for x, y, name in places.values():
        box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": "black"}
        axis.text(x, y, name, ha="center", va="center", fontsize=11, bbox=box)
    axis.set(xlim=(-0.5, 3.5), ylim=(-0.6, 1.5))
    axis.axis("off")
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
# The first factor is the doubt: it is small when the model is sure of the right class. The second is the **slope** of
# the margin, the difference of the logits. Only the second is what you want to be small. A penalty on the product can be
# paid either way. So measure each by itself, before and after:

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
# is small where the model is *unsure*, so that this penalty cannot be paid by confidence.
#
# **Without a double backward.** Take a small step of length $h$ in the direction $u$ of the gradient, and see how far
# the loss climbs:
#
# $$
# \lVert \nabla_e \ell \rVert_2 \approx \frac{\ell(e + h u) - \ell(e)}{h},
# \qquad u = \frac{\nabla_e \ell}{\lVert \nabla_e \ell \rVert_2}
# $$ (eq-07-difference)
#
# It needs one more forward pass instead of a double backward, and any attention kernel will do. It is
# {py:func}`regex_lib.losses.finite_difference_penalty`. Its step is a share of the norm of $e$. A large step sees the
# curvature as well, and for a very small step the two losses are too close to subtract in single precision. The table
# shows the estimate divided by the exact value: 1 is perfect.

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
# A {py:class}`regex_lib.training.Recipe` has the weight as `igr_weight`. Train two more classifiers from the same start
# on the same texts in the same order: one with the weight of the recipe `igr`, which a search on validation data chose,
# and one with a weight that is far too high.
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
print(f"the most frequent class alone would have an accuracy of {frequent:.3f}")
effect.style.format(precision=3).format("{:g}", subset="weight")

# %% [markdown]
# `ece` is the {term}`calibration` error. Compare `doubt` and `slope`: they tell *how* the gradient got smaller. The next
# cell says it in words.

# %%
change = (effect.loc["igr"] / effect.loc["vanilla"]).round(2)
for column in ("gradient", "doubt", "slope"):
    print(f"igr against vanilla, {column}: {change[column]} times")
if change["gradient"] >= 1:
    print("The penalty did not shorten the gradient here.")
elif change["slope"] < 1:
    print("The gradient is shorter, and the margin is flatter: what the penalty is for.")
else:
    print("The gradient is shorter, but the margin is no flatter: the penalty was paid by confidence.")

# %% [markdown]
# ## Are explanations smoother?
#
# Move each text in a random direction by a tenth of its norm, and compare the token scores before and after. The scores
# are the gradient times the embeddings, summed over the dimensions. Two numbers:
#
# - how far the scores moved, in their own units: {eq}`eq-07-change` says it should be less;
# - the rank correlation of the scores before and after: 1 if all tokens keep their places.
#
# The {term}`control` compares the scores with *random* scores. Its correlation should be near 0.

# %%
def stability(classifier, size=0.1):
    generator = torch.Generator().manual_seed(seed)
    batch = classifier.tokenize(rows["text"])
    mask, content = batch.attention_mask, batch.content_mask
    embeddings = classifier.embed(batch.input_ids).detach() * mask[..., None]
    noise = torch.randn(embeddings.shape, generator=generator).to(embeddings) * mask[..., None]
    move = size * noise * (embeddings.norm(dim=(1, 2)) / noise.norm(dim=(1, 2)))[:, None, None]
    scores = []
    for moved in (embeddings, embeddings + move):
        margin = classifier(moved.requires_grad_(), mask).logits.diff(dim=-1)[:, 0]
        slope = input_gradient(margin, moved, mask, create_graph=False)
        scores.append((slope * moved).sum(-1).detach() * content)
    before, after = scores
    control = torch.rand(before.shape, generator=generator).to(before)
    return {
        "size of the scores": before.norm(dim=1).mean().item(),
        "their change": (after - before).norm(dim=1).mean().item(),
        "rank correlation": rank_correlation(before, after, content).nanmean().item(),
        "with random scores": rank_correlation(before, control, content).nanmean().item(),
    }


smooth = pd.DataFrame({name: stability(one) for name, one in classifiers.items()}).T
smooth.style.format(precision=3)

# %% [markdown]
# If the change falls just as the size does, the explanation is *smaller*, not *steadier*. The rank correlation decides.
# And look at the model with the weight that is too high: whatever its explanations do, there is a reason not to care,
# which is its accuracy.
#
# The same sentence, explained by the three models with Integrated Gradients ({doc}`04_attributions`). The colours are
# scaled by the strongest token of each explanation, so they show order, not size.

# %%
sentence = "The soup was cold, but the waiter made us laugh all evening."
for one in classifiers.values():
    one.label_names = ["negative", "positive"]
explanations = {name: attribute(one, [sentence])[0] for name, one in classifiers.items()}
attribution_switcher(explanations, classifiers["vanilla"].label_names)

# %% [markdown]
# ## Is it more faithful?
#
# {term}`sufficiency` and {term}`comprehensiveness` of Integrated Gradients, each beside random scores on the same model
# ({doc}`05_measuring_faithfulness`). Removed tokens become [MASK].

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
# ## What it costs
#
# A step of `vanilla` is one forward and one backward pass. The exact penalty adds a backward pass to the input, and
# makes the last backward pass twice as long. The finite difference adds a forward and two backward passes, but keeps the
# fast kernels. Measure it, and read the ratio:

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
# The library's weight comes from a search on the validation split of SST {cite:p}`socher2013recursive`: one seed, a small
# encoder, [MASK] as the replacement. These are its rows for IGR, with the weight 0 as the baseline and random scores as
# the control:

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
wide.reset_index().style.format(precision=3).format("{:g}", subset="weight").hide(axis="index")

# %% [markdown]
# Look at the columns of the control as you look at those of IG. Where both move, the *scale* has moved: a flatter model
# has another prediction for an empty text, and every score is divided by that. A gain counts when IG moves and the
# control does not, or the other way {cite:p}`edin-etal-2025-normalized`.
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
# Compare the sufficiency of random scores with what you would expect of a useless explanation. On a model that has
# learned nothing any few words are "sufficient", because no words are. Three things give the failure away: the accuracy,
# the `random` row, and the share of {term}`degenerate` texts. A table without them hides it.
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
# IGR shortens the gradient by construction. A score that measures how far explanations move then falls by construction
# too, and a constant explanation has the best score of all. Never report it alone.
#
# ## Strengths and limitations
#
# - It is one term, has one weight, and costs nothing at inference.
# - It is a promise about the loss near each *training* text, to first order. It says nothing about larger changes:
#   {doc}`08_virtual_adversarial_training` looks further.
# - It needs labels, but for the label-free variant.
# - It can be paid by confidence instead of flatness, and by giving up. Watch the doubt, the slope and the accuracy.
# - Which weight is right depends on the encoder, because the length of a gradient depends on the scale of its
#   embeddings. What the paper used is not known to us.
#
# ## Summary
#
# The length of the input gradient is the steepest slope of the loss. IGR adds its square to the loss, which takes a
# double backward or a finite difference. It makes the loss flat around the training texts. Whether explanations get
# steadier and more faithful is for the tables to say, beside the random row and the accuracy. Too high a weight gives a
# flat model that knows nothing, and some scores praise it.
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
# batch above. Correct it by one factor, without another gradient, and set `answer` to the right penalty.
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
# gradients. The functions are on the page of the {doc}`api`, the symbols in the {doc}`notation`.
