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
# # Feature attributions
#
# **What you will learn.** Seven attributions, one of them a control: what each takes for granted, how to write the most
# important ones in a few lines, and what it means that scores *add up*. And why REGEX trains with Integrated Gradients.
#
# **Time.** Half an hour to read. The code takes a few minutes on a GPU; the line under the title says how long it took here.
#
# ## The question
#
# > A wonderful cast and lovely songs cannot save this boring, overlong mess.
#
# How much of the prediction is due to *"wonderful"*, and how much to *"mess"*? You will get seven answers, from seven
# methods, for one prediction of one classifier. Where they contradict each other, they cannot all be right. To see which to
# believe, you have to know what each one *takes for granted*.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU. The data must have
# two classes.

# %% tags=["parameters"]
data: str = "reviews"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 5
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 200  # measure faithfulness and agreement on so many test texts
completeness_examples: int = 64  # measure how well scores add up on so many
seed: int = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from regex_lib.attributions import (
    attribute,
    baseline_embeddings,
    deep_lift,
    input_x_gradient,
    integrated_gradients,
    scaled_attention,
    score_batch,
)
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.metrics import rank_correlation
from regex_lib.models import load_classifier
from regex_lib.plots import attribution_switcher, figure_style
from regex_lib.study import read_table
from regex_lib.training import train

# %%
splits = load_data(data)
test = splits["test"].shuffle(seed=seed)
classifier = load_classifier("minilm", layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
train(
    classifier, {"train": splits["train"]}, "vanilla", epochs=epochs, batch_size=16,
    learning_rate=learning_rate, max_train=max_train, seed=seed,
)
print(f"{data}: accuracy on the test texts {classify(classifier, test)['accuracy']:.3f}")

# %% [markdown]
# ## Seven answers
#
# An {term}`attribution` $a$ gives each {term}`content token` a score: how much it adds to the explained class $c$. Here
# that is the class that the model predicts. What DeepLift and the methods by gradients share out is its {term}`logit`
# $f_c(e)$, as a function of the {term}`embeddings <embedding>` $e$. Why not its probability? The probability depends on
# the other classes' logits too, and it hardly moves once it is close to 1.

# %%
text = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
NAMES = [
    "random", "attention", "scaled_attention", "input_x_gradient",
    "integrated_gradients", "deep_lift", "leave_one_out",
]
explanations = [attribute(classifier, [text], name)[0] for name in NAMES]
attribution_switcher(explanations, classifier.label_names)

# %% [markdown]
# Step through them before you read on. Which words change their colour?
#
# The first five are what the package evaluates by default; the study of this book evaluates the other two as well. This
# is what each method takes for granted:
#
# | method | what it takes for granted | sign | asks about the class | scores add up | cost |
# | --- | --- | --- | --- | --- | --- |
# | `random` | nothing; it is the {term}`control` | no | no | no | none |
# | `attention` | what the {term}`pooling token` looks at is what it uses | no | no | to 1 at most | 1 forward |
# | `scaled_attention` | the same, and that looking a little more tells the direction | yes | yes | no | 1 forward, 1 backward |
# | `input_x_gradient` | the model is linear between 0 and this input | yes | yes | if that is true | 1 forward, 1 backward |
# | `integrated_gradients` | one input means *nothing*, and the way from it is straight | yes | yes | with enough steps | both, for each step |
# | `deep_lift` | the same *nothing*; each operation splits its change by a fixed rule | yes | yes | yes | 2 forward, 1 backward |
# | `leave_one_out` | tokens work one at a time | yes | yes | no | 1 forward for each token |
#
# The last column counts passes through the model. A backward pass computes a gradient; reckon it as about one more
# forward pass, because only the gradient by the input is wanted.
#
# A method **with a sign** says whether a token speaks for the class or against it. One without can only say *how much*.
#
# ## Attention, and attention times its gradient
#
# {py:func}`regex_lib.attributions.attention` is the row $\alpha$ from {doc}`03_classifier_and_data`. It is the cheapest, and
# it is the same whatever class you ask about.
#
# **Scaled attention** {cite:p}`serrano-smith-2019-attention` asks in addition what the logit would do if head $h$ looked at
# token $i$ a little more:
#
# $$
# a_i = \frac{1}{H} \sum_{h=1}^{H} \alpha_{h,i}\, \frac{\partial f_c}{\partial \alpha_{h,i}}
# $$ (eq-04-scaled)
#
# The classifier returns its attention as part of the computation graph, so you can differentiate by it. A few lines do:

# %%
batch = classifier.tokenize([text, "Unhurried, and never dull."])
embeddings = classifier.embed(batch.input_ids).detach().requires_grad_()
output = classifier(embeddings, batch.attention_mask, return_attention=True)
target = output.logits.argmax(dim=-1)
explained = output.logits.gather(1, target[:, None]).sum()
(slope,) = torch.autograd.grad(explained, output.head_attention)
by_hand = (output.head_attention * slope).mean(dim=1).detach()
torch.testing.assert_close(by_hand, scaled_attention(classifier, batch, target))
print("one score for each token:", tuple(by_hand.shape))

# %% [markdown]
# ## InputXGradient: one straight line
#
# The gradient says how the logit changes when an embedding moves a little. Multiply it by the embedding itself, which is how
# far the token is from 0. You have what the token adds, *if the model is linear*:
#
# $$
# a_i = e_i \cdot \nabla_{e_i} f_c(e)
# $$ (eq-04-ixg)
#
# The dot is a sum over the $D$ dimensions {cite:p}`kindermans-etal-2016-investigating,shrikumar-etal-2017-learning`.

# %%
def input_x_gradient_by_hand(forward, embeddings, attention_mask, target):
    point = embeddings.detach().requires_grad_()
    explained = forward(point, attention_mask).gather(1, target[:, None]).sum()
    (gradient,) = torch.autograd.grad(explained, point)
    return (point.detach() * gradient).sum(dim=-1)


forward = classifier.forward_func()  # embeddings and attention mask to logits
given = embeddings.detach(), batch.attention_mask, target
torch.testing.assert_close(input_x_gradient_by_hand(forward, *given), input_x_gradient(forward, *given))
print("by hand as by the package")

# %% [markdown]
# The sum over the batch before the backward pass does no harm: no text's logit depends on another text's embeddings, so each
# text gets its own gradient.
#
# What goes wrong where the model is *not* linear? A toy shows it. Its output rises with its input up to 1, and then stays 1:

# %%
def saturated(e, _attention_mask):
    return 1 - torch.relu(1 - e.sum(dim=(1, 2)))[:, None]


two, nothing = torch.full((1, 1, 1), 2.0), torch.zeros(1, 1, 1)
one_token, only_class = torch.ones(1, 1, dtype=torch.bool), torch.tensor([0])
toy = {
    "input_x_gradient": input_x_gradient(saturated, two, one_token, only_class),
    "integrated_gradients": integrated_gradients(
        saturated, two, nothing, one_token, only_class, quadrature="midpoint"
    ),
    "deep_lift": deep_lift(saturated, two, nothing, one_token, only_class),
}
print({name: round(scores.item(), 2) for name, scores in toy.items()})

# %% [markdown]
# The input is 2, the output 1, and with the input 0 the output would be 0. So all of it is due to the one token there is. But
# at 2 the function is flat, and its gradient says that nothing matters. This is called **saturation**. A network is full of
# parts that saturate: the softmax inside the attention, and in BERT the tanh before the head.
#
# ## Integrated Gradients: the whole way
#
# So do not ask only at the end of the way. Choose a {term}`baseline` $b$, an input that stands for *nothing*. Walk from there
# to the input in a straight line, and take the mean of the gradients on the way. This is {term}`Integrated Gradients`
# {cite:p}`sundararajan-etal-2017-axiomatic`:
#
# $$
# a_i = (e_i - b_i) \cdot \int_0^1 \nabla_{e_i} f_c\big(b + s\,(e - b)\big)\, ds
# $$ (eq-04-ig)
#
# In the integral $s$ is the share of the way, from 0 to 1. On a computer the integral becomes a mean over $S$ points. Cut the
# way into $S$ equal pieces and take the middle of each:

# %%
def integrated_gradients_by_hand(forward, embeddings, baselines, attention_mask, target, n_steps):
    total = torch.zeros_like(embeddings)
    for step in range(n_steps):
        share = (step + 0.5) / n_steps
        point = (baselines + share * (embeddings - baselines)).detach().requires_grad_()
        explained = forward(point, attention_mask).gather(1, target[:, None]).sum()
        total += torch.autograd.grad(explained, point)[0] / n_steps
    return ((embeddings - baselines) * total).sum(dim=-1).detach()


baselines = baseline_embeddings(classifier, batch, "pad")
given = embeddings.detach(), baselines, batch.attention_mask, target
by_hand = integrated_gradients_by_hand(forward, *given, n_steps=8)
by_package = integrated_gradients(forward, *given, n_steps=8, quadrature="midpoint")
torch.testing.assert_close(by_hand, by_package, atol=1e-5, rtol=1e-3)
print("specials get", by_hand[~batch.content_mask].abs().max().item())

# %% [markdown]
# The baseline here is the same text with every content token replaced by `[PAD]`. `[CLS]` and `[SEP]` stay. They are the same
# at both ends of the way, so their score is 0, and all of the change is shared out among the content tokens.
#
# Look at the way itself. On the left of the figure is the logit. On the right is its slope: by how much it changes for each
# step along the way. The mean of the slope is the whole change of the logit.

# %%
shares = torch.linspace(0, 1, 41)
start, end = baselines[:1].cpu(), embeddings[:1].detach().cpu()
points = (start + shares[:, None, None] * (end - start)).to(classifier.device)
attended = batch.attention_mask[:1].expand(len(points), -1)
with torch.no_grad():
    logits = forward(points, attended)[:, target[0]].cpu()
slopes = torch.gradient(logits, spacing=(shares,))[0]

# %% mystnb={"image": {"alt": "Two panels over the way from the baseline to the text. Left: the logit of the predicted class. Right: its slope, with a dashed line at its mean and a dot at the slope at the end of the way."}, "figure": {"name": "fig-04-path", "caption": "The logit of the predicted class on the straight way from the baseline (0) to the text (1), and its slope. Integrated Gradients shares out the mean of the slope, the dashed line; a single gradient sees only the dot at the end."}}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.1), layout="constrained")
    axes[0].plot(shares, logits, color="#0173b2", linewidth=2)
    axes[0].set(xlabel="share of the way", ylabel=f"logit of {classifier.label_names[target[0]]}")
    axes[1].plot(shares, slopes, color="#0173b2", linewidth=2)
    axes[1].axhline(logits[-1] - logits[0], color="black", linestyle="--", linewidth=1.2, label="mean")
    axes[1].plot(1, slopes[-1], "o", color="#de8f05", markeredgecolor="black", markersize=9, label="at the end")
    axes[1].set(xlabel="share of the way", ylabel="slope of the logit")
    axes[1].legend(frameon=False)
plt.show()

# %%
change = (logits[-1] - logits[0]).item()
print(f"the logit changes by {change:+.2f} on the way; the slope at its end is {slopes[-1].item():+.2f}")
print(f"it is steepest after {shares[slopes.abs().argmax()]:.0%} of the way")
ups_and_downs = logits.diff().abs()
print(f"the first half of the way has {(ups_and_downs[:20].sum() / ups_and_downs.sum()).item():.0%} of its ups and downs")

# %% [markdown]
# If the curve jumps, a few points see little of it. They should stand where it is steep, but nobody knows beforehand where that
# is.
#
# The package's default, `quadrature="equal_angle"`, makes a guess. A transformer normalises its embeddings, so that mainly
# their direction counts. The points are therefore spread evenly over the angle by which the embeddings turn. The formula stays
# the same. The next section measures how good the guess is for *this* model.
#
# ## Completeness: do the scores add up?
#
# The mean of the slope is the change of the logit from the start of the way to its end. So the scores of Integrated Gradients
# must account for all of that change:
#
# $$
# \sum_i a_i = f_c(e) - f_c(b)
# $$ (eq-04-complete)
#
# This is the axiom of **completeness**. It turns scores into an account: nothing is left over, nothing is counted twice. And
# it can be checked for every single text, without people and without erasure. The error is what is missing or too much, as a
# share of the change:
#
# $$
# \mathrm{error} = \frac{\big|\sum_i a_i - (f_c(e) - f_c(b))\big|}{\big|f_c(e) - f_c(b)\big|}
# $$ (eq-04-error)
#
# Where the change is close to 0 this share gets huge, so look at the median over the texts.
#
# Three ways to place the points are compared. `midpoint` and `equal_angle` you know. `gauss_legendre` takes them at the roots
# of a Legendre polynomial: $S$ such points are exact for every polynomial up to the degree $2S - 1$. It is the default of
# captum, a widely used package. A model that jumps is no such polynomial, so the table has to say how it does.
#
# Predict before you run: how many steps does it take until the error is below 1 %? And how does InputXGradient do, which asks
# only once, and whose *nothing* is the vector 0?

# %%
some = classifier.tokenize(test.select(range(completeness_examples))["text"][:])
e = classifier.embed(some.input_ids).detach()
with torch.no_grad():
    at_text = forward(e, some.attention_mask)
chosen = at_text.argmax(dim=-1)


def error(scores, baselines):
    with torch.no_grad():
        change = (at_text - forward(baselines, some.attention_mask)).gather(1, chosen[:, None]).squeeze(1)
    rest = (scores.masked_fill(~some.content_mask, 0).sum(dim=1) - change).abs()
    return (rest / change.abs()).median().item()


pads, zeros = (baseline_embeddings(classifier, some, kind) for kind in ("pad", "zero"))
steps, errors = (1, 2, 4, 8, 16), {}
for quadrature in ("midpoint", "gauss_legendre", "equal_angle"):
    for n in steps:
        options = {"n_steps": n, "quadrature": quadrature}
        scores = integrated_gradients(forward, e, pads, some.attention_mask, chosen, **options)
        errors[quadrature, n] = error(scores, pads)

# %%
single = {
    "input_x_gradient": error(input_x_gradient(forward, e, some.attention_mask, chosen), zeros),
    "deep_lift": error(deep_lift(forward, e, pads, some.attention_mask, chosen), pads),
    "random": error(score_batch(classifier, some, "random", chosen), pads),
}
table = pd.Series(errors).unstack().rename(columns=lambda n: f"{n} step{'s' if n > 1 else ''}")
display(table.loc[["midpoint", "gauss_legendre", "equal_angle"]].style.format("{:.4f}"))
print("median errors:", {name: f"{value:.2g}" for name, value in single.items()})
enough = [n for n in steps if errors["equal_angle", n] < 0.01]
print("steps of equal angle for 1 %:", enough[0] if enough else f"more than {steps[-1]}")
best = min(("midpoint", "gauss_legendre", "equal_angle"), key=lambda name: errors[name, steps[-1]])
print(f"smallest error with {steps[-1]} steps: {best}")

# %% mystnb={"image": {"alt": "Median completeness error against the number of steps, both on logarithmic axes, for three ways of placing the points, with horizontal lines for InputXGradient and the random attribution."}, "figure": {"name": "fig-04-completeness", "caption": "How far the scores of Integrated Gradients are from adding up, by number of steps and placement of the points; the median over the texts. The lines across are InputXGradient, which takes one gradient, and random scores, the control."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 3.5), layout="constrained")
    styles = {"midpoint": ("o", "--"), "gauss_legendre": ("s", "-."), "equal_angle": ("D", "-")}
    for (quadrature, (marker, line)), colour in zip(styles.items(), ("#de8f05", "#029e73", "#0173b2"), strict=True):
        values = [errors[quadrature, n] for n in steps]
        axis.plot(steps, values, marker=marker, linestyle=line, color=colour, label=quadrature.replace("_", " "))
    for name, line in (("input_x_gradient", (0, (5, 1))), ("random", ":")):
        axis.axhline(single[name], color="#6b6b6b", linestyle=line, label=name.replace("_", " "))
    axis.set(xscale="log", yscale="log", xlabel="steps", ylabel="median error", xticks=steps, xticklabels=steps)
    axis.minorticks_off()
    figure.legend(*axis.get_legend_handles_labels(), loc="outside right upper", frameon=False)
plt.show()

# %% [markdown]
# The last printed line names the placement with the smallest error. If it is not `equal_angle`, the guess was not the best one
# for this model. Another model can have another order: the table below is about one of six layers, trained on other texts. So
# measure it on yours.
#
# Completeness is a check of the *arithmetic*. It does not say that the account is a good one: give the whole change to the
# first token, and the scores add up too. What counts as *nothing* is a choice, and so is the way. That is why a table of
# faithfulness follows below.
#
# If the steps that you can afford leave an error that you cannot accept, pass `tolerance=0.01`. It halves the pieces of a
# text's way until its scores add up to within 1 %, or until `max_steps` is reached.
#
# ### DeepLift, and something else of that name
#
# DeepLift {cite:p}`shrikumar-etal-2017-learning` reaches the same sum without walking a way. It runs the model on the baseline
# and on the input, and passes the *difference* of the outputs back through each operation by a rule. So it needs a rule for
# every operation. Transformers have operations for which captum has no rule. It treats them as if they were linear,
# without saying so. {py:func}`regex_lib.attributions.deep_lift` has rules for them, and refuses a model that has
# an operation without one.
#
# Both were measured on the same model and texts, together with Integrated Gradients. `p95_error` is the error that 95 % of the
# texts stay below. A dash: not measured.

# %%
complete = read_table("attribution_completeness")
part = complete[(complete["model"] == "bert") & (complete["data"] == "sst")]
columns = ["method", "median_error", "p95_error", "sufficiency", "comprehensiveness"]
digits = {"median_error": "{:.2g}", "p95_error": "{:.2g}", "sufficiency": "{:.2f}", "comprehensiveness": "{:.2f}"}
part[columns].style.hide(axis="index").format(digits, na_rep="-")

# %%
scored = part.set_index("method")
for name in ("deep_lift, fp32", "captum DeepLift"):
    if name in scored.index and "random" in scored.index:
        gain = scored.loc[name, ["sufficiency", "comprehensiveness"]] - scored.loc["random"]
        gain = gain[["sufficiency", "comprehensiveness"]].astype(float).round(2).to_dict()
        print(f"{name}: error {scored.loc[name, 'median_error']:.2g}; minus random {gain}")

# %% [markdown]
# The model is MiniLM, which is built like a BERT, trained on sentences of SST. All rows are about this one model, so its
# accuracy, which was not recorded, would be the same in each. Compare the rows with each other, and with no other table.
# (`fp32` and `fp64` are the precisions of the arithmetic.)
#
# A large error in a method that promises none is a bug, or another method under the same name. You would not see it in a heat
# map.
#
# ## What stands for nothing?
#
# Integrated Gradients and DeepLift leave one choice to you, the baseline. Here are four candidates for what takes the place of
# each content token: `[PAD]`, `[MASK]`, the vector 0, and the mean of the embedding table.

# %%
pad_scores, rows = None, {}
for kind in ("pad", "mask", "zero", "mean"):
    b = baseline_embeddings(classifier, some, kind)
    with torch.no_grad():
        neutral = forward(b, some.attention_mask).softmax(dim=-1).gather(1, chosen[:, None])
    scores = integrated_gradients(forward, e, b, some.attention_mask, chosen)
    pad_scores = scores if pad_scores is None else pad_scores
    rows[kind] = {
        "probability of the class": neutral.mean().item(),
        "error": error(scores, b),
        "agreement with pad": rank_correlation(scores, pad_scores, some.content_mask).nanmean().item(),
    }
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# The first column should be near $1/C$. If it is not, the baseline already speaks for a class. The last column is Spearman's
# correlation, the ordinary correlation of the ranks: 1 means the same order, 0 no relation, -1 the opposite order. If it is
# well below 1, *your choice of nothing* is part of the explanation, so say which one you used. This book uses `[PAD]`, as the
# erasure protocol of {cite:t}`chrysostomou-aletras-2022-empirical` does.
#
# ## Leave one out
#
# `leave_one_out` {cite:p}`li-etal-2016-understanding` needs no gradient and no baseline for the whole text: replace one token
# by `[MASK]`, and note by how much the probability falls. Its blind spot is words that stand in for each other. If any one of
# *"boring"*, *"overlong"* and *"mess"* is enough for the prediction, none of them is missed when it goes alone.
#
# ## Do they agree?
#
# Take the same texts, let all seven methods explain them, and compare their rankings two by two:

# %%
rows = test.select(range(max_examples))["text"][:]
batches = [classifier.tokenize(rows[start : start + 32]) for start in range(0, len(rows), 32)]
agreement = np.zeros((len(NAMES), len(NAMES)))
for one in batches:
    with torch.no_grad():
        predicted = forward(classifier.embed(one.input_ids), one.attention_mask).argmax(dim=-1)
    scores = [score_batch(classifier, one, name, predicted).cpu() for name in NAMES]
    for i, first in enumerate(scores):
        for j, second in enumerate(scores):
            agreement[i, j] += rank_correlation(first.float(), second.float(), one.content_mask.cpu()).nansum()
agreement /= len(rows)

# %% mystnb={"image": {"alt": "A square table of the rank correlation between seven attributions, darker where they agree more, with the number in each cell."}, "figure": {"name": "fig-04-agreement", "caption": "Spearman's correlation between the scores of seven attributions, mean over the texts. The first row and column are the random attribution, the control."}}
labels = [name.replace("_", " ") for name in NAMES]
with figure_style():
    figure, axis = plt.subplots(figsize=(6.6, 5), layout="constrained")
    axis.imshow(agreement, cmap="Greys", vmin=-0.2, vmax=1.2)
    for i, j in np.ndindex(agreement.shape):
        colour = "white" if agreement[i, j] > 0.65 else "black"
        axis.text(j, i, f"{agreement[i, j]:.2f}", ha="center", va="center", color=colour, fontsize=11)
    axis.set_xticks(range(len(labels)), labels, rotation=40, ha="right")
    axis.set_yticks(range(len(labels)), labels)
    axis.grid(visible=False)
plt.show()

# %%
pairs = pd.DataFrame(agreement, NAMES, NAMES).drop("random").drop(columns="random")
pairs = pairs.where(np.triu(np.ones(pairs.shape, dtype=bool), k=1)).stack()
print(f"agree most: {' and '.join(pairs.idxmax())} ({pairs.max():.2f})")
print(f"agree least: {' and '.join(pairs.idxmin())} ({pairs.min():.2f})")

# %% [markdown]
# Compare the pair that agrees most with the table of assumptions: do the two take similar things for granted? Agreement can
# come from a shared assumption as well as from the truth, so it is no reason to believe either of them. Agreement is not
# faithfulness.
#
# Erasure is a test. Here are all seven, with the control in the first row and the accuracy beside them:

# %%
report = evaluate_faithfulness(classifier, test, NAMES, max_examples=max_examples, seed=seed)
columns = ["attribution", "sufficiency", "comprehensiveness", "accuracy", "degenerate_share", "examples"]
report.table[columns].style.hide(axis="index").format(precision=2)

# %%
scores = report.table.set_index("attribution")[["sufficiency", "comprehensiveness"]]
below = [name for name in NAMES[1:] if (scores.loc[name] <= scores.loc["random"]).any()]
print("not better than random in one of the two:", ", ".join(below) or "none")
print("best:", {metric: scores[metric].idxmax() for metric in scores})

# %% [markdown]
# An attribution that does not beat the first row says nothing about this model. And this is one model, one seed, and as
# many texts as the last column says. Mind also that the test removes with `[PAD]`, which is the baseline of Integrated
# Gradients and DeepLift here, while `leave_one_out` asks with `[MASK]`: part of its distance may be that.
# {doc}`05_measuring_faithfulness` asks how far such a table can be trusted.
#
# ## Why Integrated Gradients?
#
# REGEX pulls the model's attention towards an attribution of the same model {cite:p}`li-etal-2023-regex`. The attribution is no
# longer a picture for people, it is a *target* of training. That raises the demands.
#
# ```{admonition} Why does REGEX take Integrated Gradients as its guide, and not simply the gradient?
# :class: important
#
# **Because a target should account for the whole prediction, and a single gradient need not.** The gradient describes the
# model at one point, the text itself. Where the model is flat there, it says that nothing matters, as in the toy above.
# Integrated Gradients follows the model all the way from *nothing* to the text, and its scores add up to the whole change
# {eq}`eq-04-complete`.
#
# Other candidates fail other demands:
#
# - **Attention** cannot be its own target: it would be pulled to where it is. And it does not depend on the class.
# - **Scaled attention** is attention again, times a gradient taken at one point.
# - **Leaving one out** costs a pass for each token of each text, in every step of training.
# - **DeepLift** adds up too, but needs a rule for every operation of the model. Integrated Gradients needs only gradients, and
#   two models that compute the same function get the same scores {cite:p}`sundararajan-etal-2017-axiomatic`.
#
# **The price** is a forward and a backward pass for each point on the way, in every step of training. So training uses
# few points: the recipes take three, by Gauss-Legendre. Look up two and four points of `gauss_legendre` in the table
# above: so few need not come close to adding up. Completeness is then a reason for the *method*, and not a property of
# the target that is trained on.
# ```
#
# Three things to keep in mind about this answer:
#
# - We know *that* REGEX uses Integrated Gradients. The reasons are this book's: they follow from the properties that you have
#   just seen.
# - The training takes the scores' *magnitudes*, scaled to sum to 1, because attention has no sign. So the target tells
#   how much a token matters, for or against the class. What adds up are the signed scores, and only with enough points.
# - Complete is not the same as {term}`faithful`. Whether this guide helps has to be measured, and {doc}`11_regex` does so. There
#   you also meet `regex_fast`, a recipe with a cheaper guide, which *is* a single gradient. {doc}`18_which_attributions_gain`
#   asks what happens if the guide is wrong.
#
# ## What can go wrong
#
# - **Comparing raw scores between methods.** Attention is a share, a gradient score is in logits, leave-one-out in
#   probabilities. Compare ranks.
# - **Taking magnitudes without saying so.** A token that speaks strongly *against* the class is important too, but in another
#   way. To explain and to measure, this book ranks by signed scores.
# - **Taking gradients of the embedding table.** They are summed over all places where a word stands, and belong to none.
# - **Scores on `[CLS]` and `[SEP]`.** InputXGradient gives them some. They are left out. So even for a linear model,
#   the scores of the content add up to the change from a baseline that keeps the special tokens, as the vector 0 does
#   here, and not to the change from an input that is all 0.
# - **Reading a vanishing gradient as *unimportant*.** The function may just be flat at this point.
# - **Trusting a method's name.** Where completeness is promised, check it. It takes five lines.
#
# ## Strengths and limitations
#
# - **Attention** is almost free, and does not depend on the class.
# - **Gradients** are cheap, and describe a single point.
# - **Integrated Gradients and DeepLift** account for the whole prediction, given a baseline that somebody chose.
# - **Leaving one out** asks the model itself, but about one token at a time.
#
# All of them give one number for each token. If two words act together, as *"not"* and *"bad"* do, their joint effect has to
# be divided between them somehow.
#
# ## Summary
#
# An attribution is only as good as what it takes for granted. You wrote scaled attention, InputXGradient and Integrated
# Gradients from scratch, and checked whether scores add up. The cells printed which methods agree, and which beat the random
# control on this model. And you know why Integrated Gradients was chosen to guide the training.
#
# ## Exercises
#
# ```{exercise} When all agree
# :label: ex-04-1
#
# The logit of a linear model is $f(e) = \sum_i w_i \cdot e_i$. The next cell has the weights and the embeddings of three
# tokens. Compute the Integrated Gradients from the baseline 0 **without** a loop and without a gradient. Set `answer` to a
# tensor of three scores. What does InputXGradient give?
# ```

# %%
answer = ...  # replace the dots
weights = torch.tensor([[1.0, 0.0], [0.5, -2.0], [0.0, 3.0]])  # (tokens, dim)
inputs = torch.tensor([[[2.0, 1.0], [4.0, 0.5], [1.0, -1.0]]])  # (batch, tokens, dim)


def linear(e, _attention_mask):
    return (e * weights).sum(dim=(1, 2))[:, None]


three, first_class = torch.ones(1, 3, dtype=torch.bool), torch.tensor([0])
from_zero = integrated_gradients(linear, inputs, torch.zeros_like(inputs), three, first_class)
check_answer(answer, from_zero[0])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# What is the gradient of a linear function, and where on the way does it change?
# ```
#
# ````{solution-start} ex-04-1
# :class: dropdown
# ````
#
# The gradient is $w_i$ everywhere, and so is its mean. The score is $w_i \cdot e_i$, for both methods.

# %%
answer = (weights * inputs[0]).sum(dim=-1)
torch.testing.assert_close(input_x_gradient(linear, inputs, three, first_class)[0], answer)
check_answer(answer, from_zero[0])

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Close the account
# :label: ex-04-2
#
# `attribute(classifier, [text], "deep_lift")[0].scores` are the scores of one text. Without adding them up: what must their sum
# be? Set `answer` to that number, from two predictions of the classifier.
# ```

# %%
answer = ...  # replace the dots
total = sum(attribute(classifier, [text], "deep_lift")[0].scores)
check_answer(answer, total, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Use {eq}`eq-04-complete`. `baseline_embeddings(classifier, batch)` is $b$, and `classifier.forward_func()` is $f$.
# ```
#
# ````{solution-start} ex-04-2
# :class: dropdown
# ````

# %%
single_text = classifier.tokenize([text])
ends = classifier.embed(single_text.input_ids), baseline_embeddings(classifier, single_text)
with torch.no_grad():
    full, empty = (forward(point, single_text.attention_mask)[0] for point in ends)
answer = (full - empty)[full.argmax()].item()
check_answer(answer, total, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Who asks about the class?
# :label: ex-04-3
#
# Explain class 0 and class 1 of the same text by each method in `NAMES`, with
# `attribute(classifier, [text], name, target=0)` and `target=1`. Which methods give the same scores for both? Set `answer` to
# the sorted list of their names, and compare it with the table of assumptions.
# ```

# %%
answer = ...  # replace the dots
pair, both_classes = classifier.tokenize([text, text]), torch.tensor([0, 1], device=classifier.device)
same = [name for name in NAMES if torch.allclose(*score_batch(classifier, pair, name, both_classes))]
check_answer(answer, sorted(same))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `np.allclose` compares two lists of numbers. Scores of opposite sign are not the same.
# ```
#
# ````{solution-start} ex-04-3
# :class: dropdown
# ````

# %%
both = {
    name: [attribute(classifier, [text], name, target=c)[0].scores for c in (0, 1)] for name in NAMES
}
answer = sorted(name for name, (zero, one) in both.items() if zero == one)
check_answer(answer, sorted(same))

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`sundararajan-etal-2017-axiomatic` derive Integrated Gradients from axioms, completeness among them.
# {cite:t}`shrikumar-etal-2017-learning` introduce DeepLift, and use the toy above to show saturation.
# {cite:t}`serrano-smith-2019-attention` test attention, alone and times its gradient, by erasure.
# {cite:t}`chrysostomou-aletras-2022-empirical` compare attributions like these in and out of domain.
