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
# **What you will learn.** How to find the small change of a text that changes a prediction most, without a label; how to
# train a classifier that withstands it; and what makes this training *virtual*.
#
# **Time.** Half an hour to read. The code runs in a few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# *"Not the best pasta in town, but I would go back tomorrow."* A classifier says positive. Move the embeddings by a few
# percent in a random direction, and nothing happens. Choose the direction with care, and the prediction may be gone.
#
# Who cares about a direction that nobody will ever choose? You do, for two reasons. A prediction that hangs by a thread
# is not one that a few words can explain. And a gradient explanation is made of just such directions.
#
# {doc}`07_input_gradient_regularisation` asked for a loss that is flat *at* each text. {term}`virtual adversarial training`,
# VAT, goes further out. It looks for the worst change of a given size, and asks that the prediction survives it
# {cite:p}`miyato-etal-2018-virtual`. It is the second {term}`robust` term of REGEX {cite:p}`li-etal-2023-regex`.
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
seed: int = 0

# %%
import json

import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F

from regex_lib.book import check_answer
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
from regex_lib.training import find_recipe, train

# %% [markdown]
# Again you need a plain classifier first.

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
classifiers, runs = {"vanilla": classifier}, {}
runs["vanilla"] = train(classifier, texts, "vanilla", **settings)
accuracy = classify(classifier, texts["test"])["accuracy"]
print(f"{data}: {runs['vanilla'].settings['train_texts']} texts, {runs['vanilla'].device}")
print(f"accuracy on the {len(texts['test'])} test texts: {accuracy:.3f}")

# %% [markdown]
# Move the slider. The strength is a share of the norm of the text's embeddings. The random direction is the
# {term}`control`: it has the same length.

# %%
sentence = "Not the best pasta in town, but I would go back tomorrow."
perturbation_slider(classifier, sentence, seed=seed)

# %% [markdown]
# ## Adversarial, and virtual adversarial
#
# ```{admonition} Quick check: what is the difference?
# :class: important
#
# **Adversarial training** looks for the small change of the input that raises the loss of the *right label* most, and
# trains the model to give that label there {cite:p}`goodfellow-etal-2015-explaining`. It needs labels.
#
# **Virtual adversarial training** looks for the small change that moves the model's *own prediction* most, and trains
# the model to predict there what it predicts at the text itself. The model's prediction stands in for the label: it is
# a *virtual* label. Three things follow:
#
# 1. Texts **without labels** can be used as well. {cite:t}`miyato-etal-2017-text` did so with text.
# 2. What is asked for is **local smoothness of the output distribution**. All probabilities count, not only the right
#    class's.
# 3. A **wrong** prediction is smoothed like a right one. Adversarial training would push it towards the label.
# ```
#
# So you will find no label in the next equations.
#
# ## The maths
#
# How far does a change $r$ move the prediction? Take the divergence of the {doc}`notation`:
#
# $$
# \Delta(x, r) = D_{KL}\big(p(x) \,\Vert\, p(x + r)\big)
# $$ (eq-08-smoothness)
#
# VAT looks for the worst $r$ of a given size and makes its $\Delta$ small. Both the prediction $p(x)$ and the change $r$
# are held constant, so that training moves $p(x + r)$ towards $p(x)$ and not the other way round:
#
# $$
# L_{vat} = \frac{1}{B} \sum_{b=1}^{B} \Delta(x_b, r_b),
# \qquad r_b = \operatorname*{arg\,max}_{\lVert r \rVert_2 \,\le\, \epsilon \lVert e_b \rVert_2} \Delta(x_b, r)
# $$ (eq-08-vat)
#
# How do you find the worst change? Not by following the gradient of $\Delta$ from $r = 0$. There $\Delta$ is 0, and it is
# negative nowhere, so its gradient is 0 too. It takes the second order. With $H$ the matrix of second derivatives by $r$
# at $r = 0$,
#
# $$
# \Delta(x, r) \approx \tfrac{1}{2}\, r^\top H r .
# $$ (eq-08-second-order)
#
# Of all $r$ of one length, the dominant eigenvector of $H$ makes this largest. $H$ is far too big to write down: it has
# one row for each dimension of each token. But you need not. **Power iteration** finds the eigenvector from products
# $H d$ alone, and such a product is a gradient: at a small step $\xi d$ the gradient of $\Delta$ is about $\xi H d$. So
# start with a random direction $d$ of length 1, and repeat:
#
# $$
# d \leftarrow \frac{g}{\lVert g \rVert_2}, \qquad g = \nabla_r \Delta(x, r) \,\Big|_{r = \xi d}
# $$ (eq-08-power)
#
# In the end $r = \epsilon \lVert e \rVert_2\, d$. One repetition is the usual number.
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
# The loss, and its gradient by the weights, beside {py:func}`regex_lib.losses.virtual_adversarial_loss`. Both start from
# the same random direction, because their generators have the same seed.

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
# logits. Its only eigenvector with a value above 0 is $v$. So the direction found should lie along $v$, up to the sign:
# the cosine should be 1 in magnitude. With 0 repetitions the direction is random, which is the control.

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
# The column `divergence` is $\Delta$ at $\epsilon = 0.1$, with the default $\xi = 0.1$. What you gain beyond the first
# repetition is the difference of its rows.
#
# Look at the smallest $\xi$ too. In exact arithmetic it would be the best. In single precision the two predictions are
# then equal but for rounding, and where the cosine falls there, the gradient is noise. A large $\xi$ sees the prediction
# at some distance, where the second order is not all there is. Neither is wrong by much: VAT asks for a bad direction,
# not for the eigenvector.
#
# ## How large is small?
#
# $\epsilon$ is a length. {cite:t}`miyato-etal-2017-text` normalised their word embeddings, so that one length suited all.
# The embeddings of a pre-trained encoder are what they are. And the norm in {eq}`eq-08-vat` runs over the whole text, so
# that a long text has a longer $e$. See what an absolute length of 1 would mean:

# %%
sizes = []
for text in sorted(texts["test"]["text"][:100], key=len)[::33]:
    one = classifier.tokenize([text])
    norm, tokens = length(classifier.embed(one.input_ids)).item(), one.input_ids.shape[1]
    sizes.append([tokens, norm, norm / tokens**0.5, f"{1 / norm:.0%}"])
names = ["tokens", "norm", "norm / root of tokens", "a length of 1 is"]
pd.DataFrame(sizes, columns=names).style.format(precision=2).hide(axis="index")

# %% [markdown]
# The norm grows about with the root of the number of tokens. An absolute $\epsilon$ is a stronger change of a short text
# than of a long one, and another one for each encoder. So the package takes $\epsilon$ and $\xi$ as **shares** of the
# norm of $e$. `relative=False` makes them absolute, as in the papers.
#
# ## With the package
#
# Train two more classifiers from the same start, on the same texts in the same order. `vat` adds the new term. `robust`
# has both terms: VAT, and the gradient penalty of {doc}`07_input_gradient_regularisation`.
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
    runs[name] = train(classifiers[name], texts, name, **settings)
pd.DataFrame(
    {
        name: {
            "weight of VAT": find_recipe(name).vat_weight,
            "weight of IGR": find_recipe(name).igr_weight,
            "accuracy": classify(one, texts["test"])["accuracy"],
            "times vanilla's time": runs[name].seconds / runs["vanilla"].seconds,
        }
        for name, one in classifiers.items()
    }
).T.style.format("{:.3g}")

# %% [markdown]
# A step of VAT has three forward passes instead of one: on the text, at the probe, and at the worst change. The last two
# and the cross-entropy need a backward pass. That is where the time goes. {doc}`21_what_it_costs` has the details.
#
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
# The last column of the table says how special the worst direction is. If training only made the model *unsure*, both
# directions would gain alike, and the accuracy would fall. Read the three together.
#
# The slider again, for the same sentence and the trained model:

# %%
perturbation_slider(classifiers["vat"], sentence, seed=seed)

# %% [markdown]
# ## Is it more faithful?
#
# That a prediction is steady does not make its explanation true. So measure {term}`sufficiency` and
# {term}`comprehensiveness` ({doc}`05_measuring_faithfulness`), with random scores on the same model as the control.
# Removed tokens become [MASK].

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
# One seed and a handful of texts: take this as a look, not as a result. {doc}`12_in_domain` has several seeds and
# intervals.
#
# ## Relatives
#
# | | looks for | holds the change to | compares with | labels |
# | --- | --- | --- | --- | --- |
# | IGR | the steepest slope of the loss | nothing: it is a slope | | yes |
# | adversarial training | the largest loss | one length per text | the label | yes |
# | **VAT** | the largest divergence | one length per text | the model's own prediction | **no** |
# | SMART | the largest divergence, both ways | the largest entry of each token | its own prediction, which moves too | no |
# | FreeLB | the largest loss, in several steps | one length per text | the label, at each step | yes |
#
# {py:func}`regex_lib.losses.smart_loss` is by {cite:t}`jiang-etal-2020-smart`. {py:func}`regex_lib.losses.freelb_loss`
# is by {cite:t}`zhu-etal-2020-freelb`: it climbs in steps, takes the loss at each, and puts their mean in the place of
# the cross-entropy. The search on the validation split of SST that chose the library's weights has rows for all of them
# (one seed; [MASK] as the replacement):

# %%
search = read_table("recipe_search")
family = {"vanilla": "", "vat": "vat_epsilon", "smart": "smart_step", "freelb": "freelb_epsilon"}
search["attribution"] = search["attribution"].replace({"integrated_gradients": "IG"})
search = search[search["recipe"].isin(family) & search["attribution"].isin(["random", "IG"])]
changes = zip(search["changes"], search["recipe"], strict=True)
search = search.assign(size=[json.loads(text).get(family[name]) for text, name in changes])
wide = search.fillna({"size": 0.0}).pivot_table(
    index=["recipe", "size", "accuracy", "degenerate_share"],
    columns="attribution",
    values=["sufficiency", "comprehensiveness"],
    sort=False,
)
wide.columns = [f"{metric}, {method}" for metric, method in wide.columns]
missing = sorted(set(family) - set(search["recipe"]))
print(f"not in the table yet: {', '.join(missing)}" if missing else "all four are in the table")
wide.reset_index().style.format(precision=3).format("{:g}", subset="size").hide(axis="index")

# %% [markdown]
# ## What can go wrong
#
# ### The step is too large
#
# An adversary that may go too far can always win. Then the best a model can do against it is to say the same for every
# text. Look at FreeLB, whose loss has no clean text in it to hold against that:

# %%
freelb = search[search["recipe"] == "freelb"].sort_values("size")
if freelb.empty:
    print("the table has no row of freelb yet")
for size, rows in freelb.groupby("size"):
    row = rows.set_index("attribution")
    # Naming one of two classes for every text has a macro-F1 of about a third.
    verdict = "names one class for nearly all" if row["macro_f1"].iloc[0] < 0.4 else "has learned"
    print(f"size {size:g}: accuracy {row['accuracy'].iloc[0]:.3f}; the model {verdict};")
    values = row["sufficiency"].round(3)
    print(f"  sufficiency of IG {values['IG']}, of random {values['random']}")

# %% [markdown]
# Where a model has not learned, its sufficiency is close to 1, for Integrated Gradients and for random scores alike. An
# explanation of a constant prediction is always sufficient. The accuracy and the random row uncover it, and so does the
# `degenerate_share`.
#
# ### Dropout is measured as well
#
# In training, dropout switches off other parts of the network in each pass. If the second pass draws anew, the two
# predictions differ even for $r = 0$, and VAT smooths the dropout instead of the input:

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
# VAT keeps a prediction where it is. It does not ask whether it is right. Without the cross-entropy beside it, a
# constant prediction is perfect. With texts that are unlike the labelled ones, VAT makes the model sure of what it
# happens to say there.
#
# ## Strengths and limitations
#
# - It needs no labels, and so can use as many texts as you have.
# - It sees a neighbourhood, not only a slope, and all classes, not only the right one.
# - It smooths in the space of embeddings. No text lies at $e + r$: a changed *word* is a much larger and quite different
#   step. {doc}`06_fragile_explanations` changes words.
# - It costs two more forward passes and one more backward pass a step.
# - Its size and weight depend on the encoder. What the paper used is not known to us.
#
# ## Summary
#
# VAT finds, by power iteration, the small change that moves the model's own prediction most, and trains the prediction
# to stay. Because that prediction is its target, it needs no label, and smooths the output distribution around any text.
# Its size is a share of the embeddings' norm. Too large a size makes a model that says the same always, and some scores
# praise that. `robust` is VAT and the gradient penalty together: the first half of REGEX. The second half begins with
# {doc}`09_salient_ranking_and_masks`.
#
# ## Exercises
#
# ```{exercise} A divergence by hand
# :label: ex-08-1
#
# A classifier gives a text the probabilities (0.9, 0.1), and a changed text (0.6, 0.4). What is
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
# $r$ occurs twice on the right-hand side.
# ```
#
# ````{solution-start} ex-08-2
# :class: dropdown
# ````
#
# $\frac{1}{2} (\frac{r}{2})^\top H\, \frac{r}{2}$ is a quarter of $\frac{1}{2} r^\top H r$. This is why tiny steps are
# hopeless in single precision: a step a thousand times smaller has a divergence a million times smaller.

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
# Now the loss of *adversarial* training: the mean cross-entropy of the right labels at $e + r$, where $r$ points along
# the gradient of that cross-entropy and has a length of 0.1 of the norm of $e$. Set `answer` to it. The check takes it
# from FreeLB with two points, the text and $e + r$.
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
# Compare this $r$ with the one of VAT: for two classes both lie along $v$, but this one always points *away from the
# label*.

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
