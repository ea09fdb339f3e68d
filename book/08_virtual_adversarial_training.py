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
# # Virtual adversarial training
#
# **What you will learn.** How to find the small change of a text that moves a prediction most, without a label. How to
# train a classifier that withstands it. And how virtual adversarial training differs from adversarial training.
#
# **Time.** Half an hour to read. The code runs in a few minutes on a GPU, and in a quarter of an hour on two CPU cores
# with the small sizes.
#
# ## The question
#
# *"Not the best film of the year, but I would see it again tomorrow."* Suppose a classifier says positive. Move the
# embeddings by a few percent in a random direction, and nothing happens. Choose the direction with care, and the prediction
# may be gone.
#
# Why care about a direction that nobody may ever choose? For two reasons. A prediction that turns over at a nudge is not
# one that a few words can explain. And an explanation by gradients is made of just such directions.
#
# {doc}`07_input_gradient_regularisation` asked for a loss that is flat *at* each text.
# {term}`Virtual adversarial training <virtual adversarial training>`, VAT for short, goes further out. It looks for the worst
# change of a given size, and asks that the prediction survives it {cite:p}`miyato-etal-2018-virtual`. REGEX trains for
# robustness with two terms, and this is the second {cite:p}`li-etal-2023-regex`.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
model: str = "minilm"  # minilm, bert, roberta, distilbert, or a hub id
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 3
batch_size: int = 16
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 200  # test texts to explain
seed: int = 0

# %%
import json

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from regex_lib.book import check_answer
from regex_lib.checks import stability, summarise
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.losses import (
    freelb_loss,
    input_gradient,
    output_divergence,
    virtual_adversarial_loss,
    virtual_adversarial_perturbation,
)
from regex_lib.models import load_classifier
from regex_lib.plots import RECIPE_COLOURS, figure_style, perturbation_slider
from regex_lib.study import read_table
from regex_lib.training import RegexObjective, find_recipe, train

# %% [markdown]
# Again you need a plain classifier first, `vanilla`, trained with cross-entropy alone.

# %%
texts = load_data(data)
settings = {
    "epochs": epochs,
    "batch_size": batch_size,
    "learning_rate": learning_rate,
    "max_train": max_train,
    "seed": seed,
}
classifier = load_classifier(model, layers=layers, seed=seed)
classifier.label_names = ["negative", "positive"]
classifiers = {"vanilla": classifier}
run = train(classifier, texts, "vanilla", **settings)
accuracy = classify(classifier, texts["test"])["accuracy"]
print(f"{data}: {run.settings['train_texts']} texts, {run.device}")
print(f"accuracy on the {len(texts['test'])} test texts: {accuracy:.3f}")

# %% [markdown]
# Move the slider. It moves the embeddings of the sentence above, once in the worst direction and once in a random one,
# which is the {term}`control`. The strength is the length of the change, as a share of the norm of the embeddings.
# The slider names the class that this small model predicts. It may be the wrong one, as *negative* would be here. What counts
# is how far its probability moves.

# %%
sentence = "Not the best film of the year, but I would see it again tomorrow."
perturbation_slider(classifier, sentence, seed=seed)

# %% [markdown]
# ## Adversarial or virtual adversarial: what differs?
#
# Both kinds of training look for a small change of the input that does harm, and train the model on the changed input.
# They differ in what counts as harm, and in the answer that the model should give.
#
# {term}`Adversarial training <adversarial training>` {cite:p}`goodfellow-etal-2015-explaining` needs the right label $y$.
# Of all changes $r$ up to some length $\delta$ it looks for the one that raises the loss of that label most, and trains
# the model to answer $y$ there:
#
# $$
# L_{adv} = \max_{\lVert r \rVert_2 \,\le\, \delta} \; -\log p_y(x + r)
# $$ (eq-08-adversarial)
#
# **Virtual adversarial training** never asks for the label. It looks for the change that moves the model's *own
# prediction* $p(x)$ most, and trains the model to answer $p(x)$ there. The prediction stands in for the label: it is a
# *virtual* label.
#
# | | adversarial | virtual adversarial |
# | --- | --- | --- |
# | needs labels | yes | **no**: texts without labels help too {cite:p}`miyato-etal-2017-text` |
# | what counts as harm | a larger loss of the right class | a larger divergence from the prediction at the text |
# | the answer it asks for | the label | the prediction at the text, with all its doubts |
# | where the model is wrong | pulls it towards the label | keeps it where it is |
# | how the direction is found | from the first derivative of the loss | from second derivatives, because the first is 0 |
# | what becomes smooth | the loss, around labelled texts | all probabilities, around any text |
#
# {numref}`fig-08-asks` shows the third and the fourth row for two classes. In both panels the model has moved to some
# probability of the right class at the changed text. Each loss pulls it to where the curve is lowest.

# %% mystnb={"image": {"alt": "Two panels of two curves over the right class's probability at the changed text. The dashed curve of adversarial training falls in both until probability 1. The solid curve of virtual adversarial training is lowest at the dotted line, the probability at the text itself: 0.9 on the left, 0.3 on the right."}, "figure": {"name": "fig-08-asks", "caption": "What the two losses ask for at the changed text. Adversarial training: the label, always. Virtual adversarial training: the prediction that the model makes at the text itself (dotted), be it right (left) or wrong (right)."}}
after = np.linspace(0.01, 0.99, 99)  # p_y(x + r)
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.2), sharey=True, layout="constrained")
    for axis, before, title in zip(axes, (0.9, 0.3), ("right at the text", "wrong at the text"), strict=True):
        virtual = before * np.log(before / after) + (1 - before) * np.log((1 - before) / (1 - after))
        axis.plot(after, -np.log(after), "--", color="black", label="adversarial")
        axis.plot(after, virtual, color=RECIPE_COLOURS["vat"], lw=2.5, label="virtual adversarial")
        axis.axvline(before, color="black", lw=1, ls=":")
        axis.set(title=title, xlabel="probability of the right class", ylim=(0, 3))
    axes[0].set(ylabel="loss, nats")
    axes[0].legend(fontsize="small")
plt.show()

# %% [markdown]
# ```{admonition} The difference in short
# :class: important
#
# Adversarial training asks for the **right label** at the change that hurts the label most. Virtual adversarial training
# asks for the **model's own prediction** at the change that moves the prediction most. So it needs no label, and what it
# asks for is local smoothness of the output distribution. Being right it leaves to the cross-entropy beside it.
# ```
#
# You will find no label in the next equations.
#
# ## The maths
#
# How far does a change $r$ move the prediction? Take the divergence of the {doc}`notation`:
#
# $$
# \Delta(x, r) = D_{KL}\big(p(x) \,\Vert\, p(x + r)\big)
# $$ (eq-08-smoothness)
#
# VAT looks for the worst $r$ of a given size and makes its $\Delta$ small. The prediction $p(x)$ and the change $r$ are
# both held constant, so that training moves $p(x + r)$ towards $p(x)$ and not the other way round:
#
# $$
# L_{vat} = \frac{1}{B} \sum_{b=1}^{B} \Delta(x_b, r_b),
# \qquad r_b = \operatorname*{arg\,max}_{\lVert r \rVert_2 \,\le\, \epsilon \lVert e_b \rVert_2} \Delta(x_b, r)
# $$ (eq-08-vat)
#
# How do you find the worst change? Not by following the gradient of $\Delta$ from $r = 0$. There $\Delta$ is 0, and it is
# negative nowhere, so its gradient is 0 too. You need the second order. With $H$ the matrix of second derivatives of
# $\Delta$ by $r$ at $r = 0$,
#
# $$
# \Delta(x, r) \approx \tfrac{1}{2}\, r^\top H r .
# $$ (eq-08-second-order)
#
# Of all $r$ of one length, the dominant eigenvector of $H$ makes this largest. $H$ is far too big to write down: it has
# one row for each dimension of each token. But you do not have to. {term}`Power iteration <power iteration>` finds the
# eigenvector from products $H d$ alone, and such a product is a gradient: at a small step $\xi d$ the gradient of $\Delta$
# is about $\xi H d$. So start with a random direction $d$ of length 1, and repeat:
#
# $$
# d \leftarrow \frac{g}{\lVert g \rVert_2}, \qquad g = \nabla_r \Delta(x, r) \,\Big|_{r = \xi d}
# $$ (eq-08-power)
#
# In the end $r = \epsilon \lVert e \rVert_2\, d$. One repetition is usual. Like $\epsilon$, the size $\xi$ of the **probe** is
# a share of the norm of $e$ in the code.
#
# ## From scratch
#
# The code is these equations, text by text. `forward` gives the logits at any embeddings.

# %%
forward = classifier.forward_func()


def length(vectors):
    """The norm over tokens and dimensions, shaped to multiply vectors."""
    return vectors.flatten(1).norm(dim=1)[:, None, None]


def kl(logits, other):
    log_p, log_q = logits.log_softmax(dim=-1), other.log_softmax(dim=-1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=-1)


def worst_change(embeddings, mask, logits, generator, epsilon=0.1, xi=0.1):
    clean, mask = embeddings.detach() * mask[..., None], mask[..., None]
    d = torch.randn(clean.shape, generator=generator, device=clean.device) * mask
    d = d / length(d)
    probe = (xi * length(clean) * d).requires_grad_()
    distance = kl(logits.detach(), forward(embeddings.detach() + probe, mask[..., 0]))
    (gradient,) = torch.autograd.grad(distance.sum(), probe)
    gradient = gradient * mask
    return epsilon * length(clean) * gradient / length(gradient)


# %% [markdown]
# Compare the loss, and its gradient by the weights of the embedding layer, with
# {py:func}`regex_lib.losses.virtual_adversarial_loss`. Both start from the same random direction, because their
# generators have the same seed.

# %%
texts_without_labels = texts["test"]["text"][:8]
batch = classifier.tokenize(texts_without_labels)
mask = batch.attention_mask
embeddings = classifier.embed(batch.input_ids)
logits = forward(embeddings, mask)


def seeded():
    return torch.Generator(classifier.device).manual_seed(seed)


worst = worst_change(embeddings, mask, logits, seeded())
ours = kl(logits.detach(), forward(embeddings + worst, mask)).mean()
theirs = virtual_adversarial_loss(forward, embeddings, mask, logits, generator=seeded())
torch.testing.assert_close(ours, theirs)

weight = classifier.model.get_input_embeddings().weight
gradients = [torch.autograd.grad(loss, weight, retain_graph=True)[0] for loss in (ours, theirs)]
torch.testing.assert_close(*gradients)
print(f"{len(texts_without_labels)} texts without labels, divergence {ours.item():.4g} nats")

# %% [markdown]
# ## Is one repetition enough?
#
# For two classes you can check. There $H = p_1 p_2\, v v^\top$, where $v$ is the gradient of the difference of the two
# logits. Its only eigenvector with an eigenvalue above 0 is $v$. So the direction found should lie along $v$, up to the
# sign: the cosine should be 1 in magnitude. With 0 repetitions the direction is random, which is the control.

# %%
margin = input_gradient(logits.diff(dim=-1)[:, 0], embeddings, mask, create_graph=False)
table = {}
for repetitions in (0, 1, 2, 3):
    options = {"power_iterations": repetitions}
    row = {}
    for xi in (1e-1, 1e-2, 1e-3, 1e-6):
        found = virtual_adversarial_perturbation(
            forward, embeddings, mask, logits, xi=xi, generator=seeded(), **options
        )
        cosine = (found * margin).sum(dim=(1, 2)) / (length(found) * length(margin)).flatten()
        row[f"xi {xi:g}"] = cosine.abs().mean().item()
    row["divergence"] = virtual_adversarial_loss(
        forward, embeddings, mask, logits, generator=seeded(), **options
    ).item()
    table[repetitions] = row
table = pd.DataFrame(table).T.rename_axis("repetitions")
table.style.format("{:.2f}").format("{:.2g}", subset="divergence")

# %% [markdown]
# The column `divergence` is $\Delta$ at $\epsilon = 0.1$, found with the default $\xi = 0.1$. What you gain by a further
# repetition is the difference of two rows.
#
# The first probe goes in a random direction, in which the prediction hardly moves. From the second on it goes in a bad
# one, and there 0.1 may be a long way: too long for the second order to be all there is. So with a large $\xi$ the cosine
# can fall again while the divergence goes on rising. That is no fault. VAT asks for a bad change of size $\epsilon$, not
# for the eigenvector.
#
# Look at the smallest $\xi$ too. In exact arithmetic it would be the best. In single precision the two predictions are
# then equal but for rounding. Where the cosine falls there, the gradient is noise.
#
# ## How large is small?
#
# The change has a length. {cite:t}`miyato-etal-2017-text` normalised their word embeddings, so that one absolute length
# suited all. The embeddings of a pre-trained encoder are what they are. And the norm in {eq}`eq-08-vat` runs over the
# whole text, so that a long text has a longer $e$. See what an absolute length of 1 would mean:

# %%
sizes = []
for text in sorted(texts["test"]["text"][:100], key=len)[::33]:
    one = classifier.tokenize([text])
    norm, tokens = length(classifier.embed(one.input_ids)).item(), one.input_ids.shape[1]
    sizes.append([tokens, norm, norm / tokens**0.5, f"{1 / norm:.0%}"])
names = ["tokens", "norm", "norm / root of tokens", "a length of 1 is"]
pd.DataFrame(sizes, columns=names).style.format(precision=2).hide(axis="index")

# %% [markdown]
# The last but one column hardly varies: the norm grows about as the root of the number of tokens. So an absolute length is
# a stronger change for a short text than for a long one, and another change for each encoder. The package therefore
# takes $\epsilon$ and $\xi$ as **shares** of the norm of $e$. `relative=False` makes them absolute, as in the papers on
# VAT.
#
# ## With the package
#
# Train two more classifiers from the same start, on the same texts in the same order. `vat` adds the new term. `robust`
# has both terms: VAT, with a smaller weight, and the gradient penalty of {doc}`07_input_gradient_regularisation`.
#
# ```{admonition} Predict before you run
# :class: tip
#
# By how much will VAT lower the divergence in the worst direction, and in a random one? Which of the two will it lower
# by the larger factor? Will the accuracy move?
# ```

# %%
for name in ("vat", "robust"):
    classifiers[name] = load_classifier(model, layers=layers, seed=seed)
    classifiers[name].label_names = ["negative", "positive"]
    train(classifiers[name], texts, name, **settings)


def forward_passes(recipe):
    """How often one step of training sends its texts through the encoder."""
    one, calls = load_classifier(model, layers=layers, seed=seed), []
    one.register_forward_hook(lambda *_: calls.append(1))
    rows = texts["train"].select(range(4))
    step, labels = one.tokenize(rows["text"]), torch.tensor(rows["label"], device=one.device)
    RegexObjective(one, recipe).train()(step.input_ids, step.attention_mask, step.content_mask, labels)
    return len(calls)


effect = {}
for name, one in classifiers.items():
    recipe, report = find_recipe(name), classify(one, texts["test"])
    effect[name] = {"weight of VAT": recipe.vat_weight, "weight of IGR": recipe.igr_weight,
                    "accuracy": report["accuracy"], "ece": report["ece"],
                    "forward passes": forward_passes(recipe)}  # fmt: skip
effect = pd.DataFrame(effect).T
effect.style.format("{:.3f}").format("{:g}", subset=["weight of VAT", "weight of IGR", "forward passes"])

# %% [markdown]
# A step of VAT has three forward passes: on the text, at the probe, and at the worst change. Each of them is followed by a
# backward pass; the one from the probe goes to the input only. That is where the time goes: {doc}`21_what_it_costs`
# measures it.
#
# `ece` is the {term}`calibration` error. Before you look at anything else, see whether all three have learned:

# %%
frequent = pd.Series(texts["test"]["label"]).value_counts(normalize=True).max()
print(f"always naming the most frequent class: accuracy {frequent:.3f}")
for name, accuracy in effect["accuracy"].items():
    chance = accuracy < frequent + 0.05
    print(f"{name}: {accuracy:.3f}, {'at chance: its other numbers mean nothing' if chance else 'has learned'}")

# %% [markdown]
# Now walk away from the test texts, in the worst direction of each model and in a random one.

# %%
strengths = (0.02, 0.05, 0.1, 0.2, 0.4)


def walk(classifier):
    """The mean divergence at each strength, in the worst and in a random direction."""
    batch = classifier.tokenize(texts["test"]["text"][:64])
    start, mask, away = classifier.embed(batch.input_ids).detach(), batch.attention_mask, {}
    forward = classifier.forward_func()
    logits = forward(start, mask).detach()
    for direction, repetitions in (("worst", 3), ("random", 0)):
        options = {"epsilon": 1.0, "power_iterations": repetitions, "generator": seeded()}
        change = virtual_adversarial_perturbation(forward, start, mask, logits, **options)
        with torch.no_grad():
            moved = [forward(start + strength * change, mask) for strength in strengths]
        # In double precision, because a random direction hardly moves the prediction.
        away[direction] = [
            output_divergence(logits.double(), other.double()).mean().item() for other in moved
        ]
    return away


walks = {name: walk(one) for name, one in classifiers.items()}

# %% mystnb={"image": {"alt": "Lines of the divergence from the prediction against the size of the change, on a logarithmic axis, for the vanilla, the vat and the robust model: solid lines with filled markers in the worst direction, dashed lines with hollow markers in a random direction."}, "figure": {"name": "fig-08-walk", "caption": "How far the prediction moves as the embeddings move, in the worst direction (solid, filled) and in a random one (dashed, hollow), mean over test texts. The lower, the smoother. VAT trains with a change of 0.1."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.6, 3.8), layout="constrained")
    for (name, away), marker in zip(walks.items(), "osD", strict=True):
        for direction, style, fill in (("worst", "-", "full"), ("random", "--", "none")):
            look = {"marker": marker, "fillstyle": fill, "color": RECIPE_COLOURS[name]}
            axis.plot(strengths, away[direction], style, label=f"{name}, {direction}", **look)
    axis.axvline(find_recipe("vat").vat_epsilon, color="black", lw=1, ls=":")
    axis.set(xscale="log", yscale="log")
    axis.set(xlabel="size of the change, as a share of the norm", ylabel="divergence, nats")
    axis.set_xticks(strengths, [f"{strength:g}" for strength in strengths])
    axis.minorticks_off()
    figure.legend(loc="outside right upper", fontsize=10)
plt.show()

# %%
place = strengths.index(find_recipe("vat").vat_epsilon)
at = {name: {way: steps[place] for way, steps in away.items()} for name, away in walks.items()}
at = pd.DataFrame(at).T
at["worst / random"] = at["worst"] / at["random"]
for name in ("vat", "robust"):
    share = at.loc[name] / at.loc["vanilla"]
    print(f"{name}: the divergence is {share['worst']:.2g} times vanilla's in the worst direction,")
    print(f"  {share['random']:.2g} times in a random one")
at.style.format("{:.3g}")

# %% [markdown]
# The last column of the table says how special the worst direction is. If training had only made the model *unsure* of
# everything, the divergence would fall in both directions alike. (The reverse does not hold: a gentler slope of the
# margin, which IGR asks for, lowers both alike, too.) Then look at the accuracy and the calibration: a model
# that says little is steady for the wrong reason.
#
# The slider again, for the same sentence and the model `vat`. Right or wrong, does its prediction stay? Mind that the
# direction has no sign: the search may have found the way in which the model gets surer, and then the class stays
# whatever the training did. The table above is the fair comparison.

# %%
perturbation_slider(classifiers["vat"], sentence, seed=seed)

# %% [markdown]
# ## Is it more faithful?
#
# A steady prediction does not make its explanation {term}`faithful`. So measure {term}`sufficiency` and
# {term}`comprehensiveness` ({doc}`05_measuring_faithfulness`), with random scores on the same model as the control.
# Removed tokens become `[MASK]`. The `accuracy` in this table counts only the texts that are explained, so it differs from the
# one above, on all test texts.

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
scores = pd.concat(frames)[["model", "attribution", *columns]].reset_index(drop=True)
scores.style.format(precision=3).hide(axis="index")

# %% [markdown]
# Two models' scores are on two scales. Compare how far Integrated Gradients is above the random row of *its own* model:

# %%
means = scores.set_index(["attribution", "model"])[["sufficiency", "comprehensiveness"]]
above = means.loc["integrated_gradients"] - means.loc["random"]
for name in ("vat", "robust"):
    for metric in above:
        more = above.loc[name, metric] > above.loc["vanilla", metric]
        print(f"{name}, {metric} above random: {'higher' if more else 'not higher'} than vanilla's")
above.loc[list(classifiers)].style.format("{:+.3f}")

# %% [markdown]
# And are explanations steadier? {py:func}`regex_lib.checks.stability` adds noise to the embeddings, or a typing error to
# the text, and compares the order of the tokens before and after ({doc}`06_fragile_explanations`). Comprehensiveness and
# accuracy stand beside it, because a steady explanation of nothing is worth nothing.

# %%
names = ("by noise", "by a typing error")
rows = {}
for name, one in classifiers.items():
    sample = texts["test"]["text"][: min(max_examples, 50)]
    kinds = {"perturbations": ["noise", "typo"], "samples": 1, "noise_size": 0.1}
    found = summarise(stability(one, sample, ["input_x_gradient"], seed=seed, **kinds))
    found = found.set_index("perturbation").loc[["noise", "typo"]]
    rows[name] = dict(zip(names, found["spearman"], strict=True)) | {
        "comprehensiveness": found["comprehensiveness"].iloc[0], "accuracy": effect.loc[name, "accuracy"]}
print(f"input times gradient: rank correlation with the scores before, mean over {len(sample)} texts")
pd.DataFrame(rows).T.style.format("{:.3f}")

# %% [markdown]
# One seed and a handful of texts: take this as a look, not as a result. These are the rows for this chapter of the study
# that comes with the book, on the test split of SST {cite:p}`socher2013recursive` with `[MASK]` as the replacement:

# %%
wanted = ["vanilla", "igr", "vat", "robust"]
study = read_table("sst/means").query("recipe in @wanted and split == 'test'")
quality = study.query("kind == 'quality' and metric == 'accuracy'").set_index("recipe")["mean"]
found = study.query("kind == 'faithfulness' and replacement == 'mask' and level == 'token'")
found = found[found["attribution"].isin(["random", "integrated_gradients"])]
found = found[found["metric"].isin(["sufficiency", "comprehensiveness"])]
found = found.pivot_table(
    index=["recipe", "attribution", "seeds", "examples"], columns="metric", values="mean")
found = found.reset_index().assign(accuracy=lambda table: table["recipe"].map(quality))
found = found.sort_values("recipe", key=lambda names: names.map(wanted.index), kind="stable")
there = [name for name in wanted if name in set(found["recipe"])]
missing = [name for name in wanted if name not in there]
print(f"measured so far: {', '.join(there) or 'none'}")
if missing:
    print(f"not measured yet, so not in the table: {', '.join(missing)}")
found.style.format(precision=3, na_rep="not yet").hide(axis="index")

# %% [markdown]
# `seeds` says how many trainings a row is a mean of, `examples` how many texts each of them was measured on. `accuracy`
# is a mean over as many of the trainings as have one. {doc}`12_in_domain` has the intervals, and every recipe that is
# measured so far.
#
# ## Relatives
#
# VAT has relatives. They differ in what they look for, how they limit it, and what they compare with:
#
# | | looks for | limits the change by | compares with | labels |
# | --- | --- | --- | --- | --- |
# | IGR | the steepest slope of the loss | nothing: it is a slope | nothing: it is made small | yes |
# | adversarial training | the largest loss | one length per text | the label | yes |
# | **VAT** | the largest divergence | one length per text | the model's own prediction | **no** |
# | SMART | the largest divergence, both ways | the largest entry of each token | its own prediction, which moves too | no |
# | FreeLB | the largest loss, in several steps | one length per text | the label, at each step | yes |
#
# SMART, {py:func}`regex_lib.losses.smart_loss`, is by {cite:t}`jiang-etal-2020-smart`. FreeLB,
# {py:func}`regex_lib.losses.freelb_loss`, is by {cite:t}`zhu-etal-2020-freelb`: it climbs in steps, takes the loss at each,
# and puts their mean in the place of the cross-entropy.
#
# The package's weights come from a search on the validation split of SST (one seed, a small encoder, `[MASK]` as the
# replacement). These are its rows for VAT and its relatives. `size` is the size of the change, in each recipe's own unit,
# and `weight` that of its loss. `suff.` and `compr.` are sufficiency and comprehensiveness, `degenerate` is the share of
# degenerate texts:

# %%
search = read_table("recipe_search")
family = {"vanilla": "", "vat": "vat_epsilon", "smart": "smart_step", "freelb": "freelb_epsilon"}
search["attribution"] = search["attribution"].replace({"integrated_gradients": "IG"})
search = search[search["recipe"].isin(family) & search["attribution"].isin(["random", "IG"])]
tried = [
    (name, find_recipe(name).changed(**json.loads(changes)))
    for name, changes in zip(search["recipe"], search["changes"], strict=True)
]
search = search.assign(
    size=[getattr(recipe, family[name], 0.0) for name, recipe in tried],
    weight=[getattr(recipe, f"{name}_weight", 0.0) for name, recipe in tried],
)
wide = search.pivot_table(
    index=["recipe", "size", "weight", "accuracy", "degenerate_share"],
    columns="attribution", values=["sufficiency", "comprehensiveness"], sort=False,
)
short = {"sufficiency": "suff.", "comprehensiveness": "compr."}
wide.columns = [f"{short[metric]} {method}" for metric, method in wide.columns]
wide = wide.reset_index().rename(columns={"degenerate_share": "degenerate"}).sort_values("size")
wide = wide.sort_values("recipe", key=lambda names: names.map(list(family).index), kind="stable")
missing = sorted(set(family) - set(search["recipe"]))
print(f"means over {search['examples'].max()} texts", *(f"no {name} yet" for name in missing), sep="; ")
wide.style.format(precision=3).format("{:g}", subset=["size", "weight"]).hide(axis="index")

# %% [markdown]
# ## What can go wrong
#
# ### The step is too large
#
# An adversary that may go as far as it likes can always win. Then the best that a model can do against it is to say the
# same for every text. Look at FreeLB in the search, whose loss has no clean text in it that would speak against that:

# %%
freelb = search[search["recipe"] == "freelb"].sort_values("size")
if freelb.empty:
    print("the table has no row of freelb yet")
learned = []
for size, rows in freelb.groupby("size"):
    row = rows.set_index("attribution")
    # Naming one of two classes for every text has a macro-F1 of about a third.
    gave_up = row["macro_f1"].iloc[0] < 0.4
    learned += [] if gave_up else [size]
    verdict = "names one class for nearly all" if gave_up else "has learned"
    print(f"size {size:g}: accuracy {row['accuracy'].iloc[0]:.3f}; the model {verdict};")
    values = row["sufficiency"]
    print(f"  sufficiency of IG {values['IG']:.3f}, of random {values['random']:.3f}")
own = find_recipe("freelb").freelb_epsilon
largest = ", the largest of these at which the model has learned" if own == max(learned, default=None) else ""
print(f"the package's recipe freelb has the size {own:g}{largest}")

# %% [markdown]
# Where a model names one class for nearly all texts with nearly the same probability, its sufficiency is close to 1, for
# Integrated Gradients and for random scores alike: any explanation of a constant prediction is sufficient. The accuracy
# and the random row give it away, and so does the share of degenerate texts.
#
# ### Dropout is measured as well
#
# In training, dropout switches off other parts of the network in each pass. If the second pass draws anew, the two
# predictions differ even for $r = 0$. Then a part of what VAT makes small is the effect of dropout:

# %%
with torch.no_grad():
    same = output_divergence(forward(embeddings, mask), forward(embeddings, mask)).mean()
    classifier.train()
    anew = output_divergence(forward(embeddings, mask), forward(embeddings, mask)).mean()
    classifier.eval()
print(f"two passes over the same texts: {same:.3g} nats without dropout, {anew:.3g} with it")
print(f"at the worst change, without dropout: {theirs.item():.3g} nats")

# %% [markdown]
# {py:class}`regex_lib.training.RegexObjective` replays the random numbers of the first pass in the others, so that all
# passes of a step have the same dropout.
#
# ### Smooth, and wrong
#
# VAT keeps a prediction where it is, and does not ask whether it is right. Without the cross-entropy beside it, a constant
# prediction is perfect. And with unlabelled texts that are unlike the labelled ones, VAT makes the model steady in
# whatever it happens to say there.
#
# ## Strengths and limitations
#
# **Strengths.**
#
# - It needs no labels, and so can use any texts you have.
# - It sees a neighbourhood, not only a slope, and all classes, not only the right one.
# - It costs nothing at inference.
#
# **Limitations.**
#
# - It smooths in the space of embeddings. No text lies at $e + r$: a changed *word* is quite a different step, and usually
#   a much larger one. {doc}`06_fragile_explanations` changes words.
# - It costs two more forward and two more backward passes a step.
# - It does not ask for right predictions. Too large a size or weight could keep a model from learning; the sizes tried
#   here did not.
# - The right size and weight depend on the encoder. We do not know which ones the paper used.
#
# ## Summary
#
# VAT finds, by power iteration, the small change that moves the model's own prediction most, and trains the prediction
# to stay. Adversarial training looks for the change that hurts the *label* most, and trains the model to give the
# label. Because VAT's target is the prediction, it needs no label, and smooths the output distribution around any text.
# Its size is a share of the norm of the embeddings. An adversary that goes too far makes a model that always says the
# same, as FreeLB did here, and some scores praise that. `robust` is VAT and the gradient penalty together: the first
# half of REGEX. The second half begins with {doc}`09_salient_ranking_and_masks`.
#
# ## Exercises
#
# ```{exercise} A divergence by hand
# :label: ex-08-1
#
# A classifier gives a text the probabilities (0.9, 0.1), and the changed text (0.6, 0.4). What is
# $D_{KL}(p(x) \,\Vert\, p(x + r))$ in nats? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
before, after = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.6, 0.4]]).log()
check_answer(answer, output_divergence(before, after).item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# The {doc}`notation` has the formula. `math.log` is the natural logarithm.
# ```
#
# ````{solution-start} ex-08-1
# :class: dropdown
# ````

# %%
import math

answer = 0.9 * math.log(0.9 / 0.6) + 0.1 * math.log(0.1 / 0.4)
check_answer(answer, output_divergence(before, after).item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Half the step
# :label: ex-08-2
#
# You halve a small change $r$. By what factor does the divergence get smaller? Read it off {eq}`eq-08-second-order` and
# set `answer` to the factor. The check measures it on a small model.
# ```

# %%
answer = ...  # replace the dots


def small(points):
    return torch.stack([3 * points.sum(dim=(1, 2)), points.square().sum(dim=(1, 2))], dim=-1)


point = torch.tensor([[[0.3, 0.4], [0.1, -0.2]]], dtype=torch.float64)
step = torch.full_like(point, 1e-3)
whole, half = (output_divergence(small(point), small(point + r)) for r in (step, step / 2))
check_answer(answer, (whole / half).item(), tolerance=0.02)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How often does $r$ occur on the right-hand side?
# ```
#
# ````{solution-start} ex-08-2
# :class: dropdown
# ````
#
# $\frac{1}{2} (\frac{r}{2})^\top H\, \frac{r}{2}$ is a quarter of $\frac{1}{2} r^\top H r$. This is why tiny steps are
# hopeless in single precision: a step that is a thousand times smaller gives a divergence a million times smaller.

# %%
answer = 4
check_answer(answer, (whole / half).item(), tolerance=0.02)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} One length for each token
# :label: ex-08-3
#
# `norm="token_l2"` gives each token a change of its own, whose length is the share $\epsilon$ of that token's norm. Make
# such a change with $\epsilon = 0.1$ from the random directions `noise`, 0 on the padding, and set `answer` to it.
# ```

# %%
answer = ...  # replace the dots
noise = torch.randn(embeddings.shape, generator=seeded(), device=embeddings.device)
options = {"epsilon": 0.1, "norm": "token_l2", "power_iterations": 0, "generator": seeded()}
expected = virtual_adversarial_perturbation(forward, embeddings, mask, logits, **options)
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `norm(dim=-1, keepdim=True)` gives one length per token.
# ```
#
# ````{solution-start} ex-08-3
# :class: dropdown
# ````

# %%
unit = noise / noise.norm(dim=-1, keepdim=True)
answer = 0.1 * embeddings.detach().norm(dim=-1, keepdim=True) * unit * mask[..., None]
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} With the label
# :label: ex-08-4
#
# Now compute the loss of *adversarial* training, {eq}`eq-08-adversarial`: the mean cross-entropy of the right labels at
# $e + r$. Find $r$ by one step: it points along the gradient of the cross-entropy at $e$, and has 0.1 times the norm of
# $e$. Set `answer` to the loss. The check takes it from FreeLB with two points, $e$ and $e + r$.
# ```

# %%
answer = ...  # replace the dots
labels = torch.tensor(texts["test"]["label"][:8], device=classifier.device)


def loss_at(points):
    return F.cross_entropy(forward(points, mask), labels, reduction="none")


both = freelb_loss(loss_at, embeddings, mask, steps=2, step_size=0.1, init_size=0.0, max_norm=0.1)
expected = 2 * both.item() - loss_at(embeddings).mean().item()
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# {py:func}`regex_lib.losses.input_gradient` gives the gradient of `loss_at(embeddings)`, and `length` is defined above.
# ```
#
# ````{solution-start} ex-08-4
# :class: dropdown
# ````
#
# For two classes and small sizes, this $r$ and that of VAT lie along the same line, that of $v$. But VAT's may point either
# way, and this one always points *away from the label*.

# %%
gradient = input_gradient(loss_at(embeddings), embeddings, mask, create_graph=False)
r = 0.1 * length(embeddings.detach() * mask[..., None]) * gradient / length(gradient)
answer = loss_at(embeddings + r).mean().item()
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`miyato-etal-2018-virtual` derive the method and draw what it does in two dimensions;
# {cite:t}`miyato-etal-2017-text` bring it to text, with and without labels. {cite:t}`jiang-etal-2020-smart` and
# {cite:t}`zhu-etal-2020-freelb` fine-tune pre-trained encoders with its relatives.
