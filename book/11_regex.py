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
# # REGEX as a whole
#
# **What you will learn.** How the parts of the earlier chapters become one training step, and when each part is switched
# on. What happens when you take a part away, or feed it a bad attribution. What a failed training looks like, and which
# controls tell a real gain from a side effect.
#
# **Time.** Half an hour to read. The code trains eight models: about ten minutes on a GPU.
#
# ## The question
#
# A classifier reads:
#
# > A wonderful cast and lovely songs cannot save this boring, overlong mess.
#
# Two earlier parts of this book want to make the explanation of its prediction {term}`faithful`, each in its own way. The
# robustness terms of {doc}`07_input_gradient_regularisation` and {doc}`08_virtual_adversarial_training` keep a small change
# of the input from changing the prediction. The guidance of {doc}`10_attention_and_attribution` pulls attention towards the
# attribution.
#
# REGEX {cite:p}`li-etal-2023-regex` does both. Our reading of the reason is simple. Guidance copies the attribution into the
# attention. If the attribution of a {term}`fragile` model is noise, guidance copies noise. So make the model {term}`robust`
# first, and then guide it.
#
# That is a claim about parts, and you can test it: take one part away at a time. This is called an {term}`ablation`.
#
# ## Settings
#
# `recipes` are the models to train. `high_kl_weight` is for a training that should fail.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
model: str = "minilm"
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
max_train: "Optional[int]" = 4000  # train on so many texts
epochs: float = 3
batch_size: int = 16
learning_rate: float = 1e-4
recipes: str = "vanilla,robust,egt,regex,regex_random_mask,regex_shuffled_target"
high_kl_weight: float = 5.0
max_examples: int = 200  # explain so many test texts
seed: int = 0

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from IPython.display import display

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.losses import adversarial_direction
from regex_lib.metrics import paired_bootstrap
from regex_lib.models import load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import read_rows, read_table
from regex_lib.training import RegexObjective, find_recipe, train

# %% [markdown]
# Here is a function that trains, and the first model, with cross-entropy alone. The next sections need one that has learned
# something.

# %%
texts = load_data(data)
test = texts["test"].shuffle(seed=0).select(range(min(max_examples, len(texts["test"]))))
settings = {
    "epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed
}


def fit(recipe):
    """A new classifier, trained by a recipe, and the record of its training."""
    new = load_classifier(model, layers=layers, seed=seed)
    if new.num_labels == 2:
        new.label_names = ["negative", "positive"]
    return new, train(new, {"train": texts["train"]}, recipe, max_train=max_train, **settings)


trained = {"vanilla": fit("vanilla")}
print(f"{data}: {trained['vanilla'][1].settings['train_texts']} texts to train on, {len(test)} to explain")

# %% [markdown]
# ## One step, in eight lines
#
# ```{admonition} One training step of REGEX
# :class: note
#
# Given a batch of texts $x$ with labels $y$:
#
# 1. Run the model on $x$. Keep the logits and the attention $\alpha(x)$.
# 2. Take the cross-entropy $L_{ce}$ and its gradient with respect to the embeddings. The squared norm is $L_{igr}$.
# 3. Look for the small perturbation $r$ that changes the prediction most. How far it moves the prediction is $L_{vat}$.
# 4. Compute the attribution $a(x)$ of the predicted class, by Integrated Gradients. Treat it as a constant.
# 5. Mask the $k = \lfloor \rho n \rfloor$ of the $n$ content tokens with the smallest $|a|$. That gives $\tilde x$.
# 6. Run the model on $\tilde x$. Keep the attention $\alpha(\tilde x)$.
# 7. Take the divergence of $\alpha(x)$ from $a(x)$, and of $\alpha(\tilde x)$ from $a(x)$.
# 8. Add up all terms, each times its weight. One backward pass through everything. One step of the optimiser.
# ```
#
# The ratio $\rho$ is the $K$ of {doc}`09_salient_ranking_and_masks`. Here are the eight steps as one equation. The time $t$
# runs from 0 at the first step of the training to 1 at its end:
#
# $$
# \begin{aligned}
# L(t) = {} & L_{ce} + s_r(t) \big[ w_{igr} L_{igr} + w_{vat} L_{vat} \big] \\
# & + s_g(t)\, w_{kl} \big[ D_{KL}(\bar\alpha(x) \,\|\, \bar P(x)) + D_{KL}(\bar\alpha(\tilde x) \,\|\, \bar P(x)) \big]
# \end{aligned}
# $$ (eq-11-loss)
#
# As in {eq}`eq-10-loss`, $\bar\alpha$ and $\bar P$ are attention and attribution as distributions over the content tokens:
# magnitudes divided by their sum, with a small share of the uniform distribution mixed in. $s_r$ and $s_g$ are the
# **schedule**: 0 while a part is off, 1 while it is on.
#
# The parts and their order are the paper's. How the terms are added up, the weights, the schedule, the smoothing and the
# size of the perturbation are choices of this library. They are fields of {py:class}`regex_lib.training.Recipe`; a search
# on validation data chose the weights.
#
# ## From scratch
#
# Make one step on sixteen texts. Dropout is off, so that you and the package see the same model. First the clean pass, with
# steps 1 and 2. The input gradient keeps its graph (`create_graph`), because the penalty on it is differentiated again.

# %%
recipe = find_recipe("regex")
classifier = trained["vanilla"][0].eval()
rows = texts["train"].select(range(16))
batch = classifier.tokenize(rows["text"])
labels = torch.tensor(rows["label"], device=classifier.device)
x, attended, content = batch.input_ids, batch.attention_mask, batch.content_mask

torch.manual_seed(seed)
e = classifier.embed(x)
clean = classifier(e, attended, return_attention=True, double_backward=True)
losses = F.cross_entropy(clean.logits, labels, reduction="none")
(gradient,) = torch.autograd.grad(losses.sum(), e, create_graph=True)
gradient = gradient * attended[..., None]
terms = {"cross_entropy": losses.mean(), "igr": gradient.square().sum(dim=(1, 2)).mean()}
print({name: round(term.item(), 4) for name, term in terms.items()})

# %% [markdown]
# Step 3 is virtual adversarial training: a random direction, one round of {term}`power iteration`, and the divergence
# there. The size of the perturbation is a share of the norm of the text's own embeddings.


# %%
def unit(vectors):
    """Norm 1 for each text."""
    return vectors / vectors.flatten(1).norm(dim=1)[:, None, None]


def far_from_clean(embeddings, reduction):
    """The divergence between the clean prediction, held constant, and that for other embeddings."""
    logits = classifier(embeddings, attended, double_backward=True).logits
    log_p = clean.logits.detach().log_softmax(dim=-1)
    return F.kl_div(logits.log_softmax(dim=-1), log_p, reduction=reduction, log_target=True)


mask = attended[..., None]
length = (e.detach() * mask).flatten(1).norm(dim=1)[:, None, None]
direction = unit(torch.randn(e.shape, device=e.device) * mask)
probe = (recipe.vat_xi * length * direction).requires_grad_()
(steepest,) = torch.autograd.grad(far_from_clean(e.detach() + probe, "sum"), probe)
r = recipe.vat_epsilon * length * unit(steepest * mask)
terms["vat"] = far_from_clean(e + r, "batchmean")
print(f"vat {terms['vat'].item():.3g}")

# %% [markdown]
# Steps 4 and 5 are Integrated Gradients of the predicted class, as a weighted sum over a few points of the path, and the
# mask. The {term}`baseline` is a text of padding tokens between the same special tokens.

# %%
points, weights = np.polynomial.legendre.leggauss(recipe.attribution_steps)
start = classifier.embed(x.masked_fill(content, classifier.pad_id)).detach()
difference = e.detach() - start
predicted = clean.logits.argmax(dim=-1, keepdim=True)
a = torch.zeros_like(e[..., 0]).detach()
for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
    z = (start + point * difference).requires_grad_()
    logit = classifier(z, attended).logits.gather(1, predicted).sum()
    a += weight * (difference * torch.autograd.grad(logit, z)[0]).sum(dim=-1)

least_first = a.abs().masked_fill(~content, torch.inf).argsort(dim=1).argsort(dim=1)
k = (recipe.mask_ratio * content.sum(dim=1) + 1e-6).floor()
masked = (least_first < k[:, None]) & content
x_masked = x.masked_fill(masked, classifier.mask_id)
print(classifier.tokenizer.decode(x_masked[0][attended[0]]))

# %% [markdown]
# Steps 6 to 8 are the two divergences, the sum and the backward pass. The attribution enters as a constant: no gradient
# flows into it. What learns is the attention.


# %%
def distribution(scores):
    """Magnitudes as shares of the content tokens, smoothed."""
    sizes = scores.abs().masked_fill(~content, 0.0)
    uniform = content / content.sum(dim=1, keepdim=True)
    shares = sizes / sizes.sum(dim=1, keepdim=True)
    return (1 - recipe.kl_smoothing) * shares + recipe.kl_smoothing * uniform


def divergence(attention):
    """How far attention is from the attribution, in nats."""
    p, q = (distribution(scores).clamp(min=1e-30) for scores in (attention, a))
    return (p * (p.log() - q.log())).sum(dim=1).mean()


terms["kl"] = divergence(clean.attention)
terms["kl_masked"] = divergence(
    classifier(classifier.embed(x_masked), attended, return_attention=True).attention
)
weights = recipe.weights_at(1.0)
loss = sum(weights[name] * term for name, term in terms.items())
loss.backward()
by_hand = {name: p.grad.clone() for name, p in classifier.named_parameters() if p.grad is not None}

# %% [markdown]
# ## With the package
#
# {py:class}`regex_lib.training.RegexObjective` makes the same step. Its terms, their sum and the gradient of every weight
# of the model must equal yours.

# %%
classifier.zero_grad()
objective = RegexObjective(classifier, recipe).train()  # with all terms
classifier.eval()  # but without dropout
torch.manual_seed(seed)
found = objective(x, attended, content, labels, progress=1.0)
found["loss"].backward()
for name, term in [*terms.items(), ("loss", loss)]:
    torch.testing.assert_close(found[name], term, rtol=1e-3, atol=1e-7)
for name, parameter in classifier.named_parameters():
    if parameter.grad is not None:
        torch.testing.assert_close(parameter.grad, by_hand[name], rtol=1e-2, atol=1e-4)
print(f"{len(terms)} terms, their sum, and the gradients of {len(by_hand)} tensors agree")
pd.DataFrame(
    {
        "weight": weights,
        "by hand": {name: term.item() for name, term in terms.items()},
        "package": {name: found[name].item() for name in terms},
    }
).map("{:.3g}".format)

# %% [markdown]
# The package differs from your code in three ways that matter in a real training. It replays the same dropout in all
# passes of a step, so that VAT does not measure dropout. It stops the pass on $\tilde x$ at the attention row, because
# nothing after it is needed. And it stays finite for texts of one token or none.
#
# ## The schedule
#
# When is each part on? {py:meth}`regex_lib.training.Recipe.weights_at` answers for any time of the training.
# {numref}`fig-11-schedule` shows three schedules.
#
# - `regex` is **one stage**: robustness all the time, guidance from the middle on (`guidance_from`).
# - `regex_two_stage` has **two stages**: robustness in the first half, guidance in the second. A summary of the paper
#   speaks of two stages.
# - The third is `regex` with a warm-up: guidance grows slowly (`guidance_warmup`).
#
# ```{admonition} Change this and predict before you run
# :class: tip
#
# Set `guidance_from=0.0` in the third. Where does the ramp begin? {doc}`10_attention_and_attribution` has looked at what
# guidance does to an untrained model.
# ```

# %% mystnb={"image": {"alt": "Three panels with a row for each of the four terms over the time of the training. Cross-entropy is always on. In regex, robustness is always on and guidance from the middle. In regex_two_stage, robustness ends where guidance begins. In the third, guidance rises in a ramp."}, "figure": {"name": "fig-11-schedule", "caption": "When each part of the loss is on: its weight as a share of its full weight."}}
schedules = {
    "regex": recipe,
    "regex_two_stage": find_recipe("regex_two_stage"),
    "regex, warm-up": recipe.changed(guidance_from=0.5, guidance_warmup=0.3),
}
rows_of_terms = {"kl": ("guidance", "//"), "vat": ("VAT", ".."), "igr": ("IGR", "xx")}
rows_of_terms["cross_entropy"] = ("cross-entropy", "")
times = np.linspace(0, 1, 201)
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(7, 2.6), sharey=True, layout="constrained")
    for axis, (title, schedule) in zip(axes, schedules.items(), strict=True):
        on = [schedule.weights_at(time) for time in times]
        for height, (term, (_, hatch)) in enumerate(rows_of_terms.items()):
            values = np.array([weights.get(term, 0.0) for weights in on])
            axis.fill_between(
                times, height, height + 0.7 * values / values.max(), step="mid",
                facecolor="#c9c9c9", edgecolor="#333333", hatch=hatch, linewidth=0.5,
            )
        axis.set(title=title, xlabel="time $t$", xlim=(0, 1), ylim=(-0.1, 4), xticks=[0, 0.5])
        axis.title.set_fontsize(11)
    axes[0].set_yticks([0.35, 1.35, 2.35, 3.35], [name for name, _ in rows_of_terms.values()])
plt.show()

# %% [markdown]
# ## The fast variant
#
# `regex_fast` is the same loss with two shortcuts. Both reuse the input gradient that $L_{igr}$ needs anyway:
#
# - as VAT's direction: for two classes, it is what the power iteration converges to, up to its sign
#   ({py:func}`regex_lib.losses.adversarial_direction`);
# - as the attribution: $(e - b) \cdot \nabla_e L_{ce}$ is Integrated Gradients with a single step, of the loss instead of
#   the class.
#
# How good are the shortcuts on the model at hand? Compare directions by their cosine (1: the same, 0: unrelated), and
# attributions by the rank correlation of their magnitudes. For the directions, a random one is the {term}`control`; for
# the attributions, chance would give a correlation of about 0.

# %%
def cosine(one, other):
    """Of each text's directions, without their signs."""
    return F.cosine_similarity(one.flatten(1), other.flatten(1)).abs().mean().item()


fast_r = adversarial_direction(gradient, e, attended, epsilon=recipe.vat_epsilon)
fast_a = (difference * gradient).sum(dim=-1).detach()
same_ranks = [
    pd.Series(a[row][content[row]].abs().cpu()).corr(
        pd.Series(fast_a[row][content[row]].abs().cpu()), method="spearman"
    )
    for row in range(len(x))
]
print(f"VAT's direction:  cosine {cosine(r, fast_r):.2f}, of a random one {cosine(direction, fast_r):.2f}")
print(f"the attribution: rank correlation {np.nanmean(same_ranks):.2f}")

# %% [markdown]
# Read the two lines with their purpose in mind. A direction only has to be bad for the model. An attribution decides what
# the model is pulled towards. So if its correlation is low, `regex_fast` is another method, not just a faster one. Its cost
# is in {doc}`21_what_it_costs`.
#
# ## The ablation
#
# Now take parts away. `robust` is REGEX without guidance. `egt`, for {term}`explanation-guided training`, is REGEX
# without robustness. `vanilla` has neither. All see the same texts in the same order.

# %%
names = [name.strip() for name in recipes.split(",")]
for name in names:
    if name not in trained:
        trained[name] = fit(name)

reports = {}
for name in names:
    reports[name] = evaluate_faithfulness(trained[name][0], test, replacement="mask", seed=seed)

columns = ["accuracy", "degenerate_share", "sufficiency", "comprehensiveness"]
lines = {}
for name, report in reports.items():
    table = report.table.set_index("attribution")
    lines[name] = table.loc["integrated_gradients", columns]
    for metric in ("sufficiency", "comprehensiveness"):
        lines[name][f"random {metric}"] = table.loc["random", metric]
pd.DataFrame(lines).T.astype(float).round(3)

# %% [markdown]
# The scores are those of Integrated Gradients, normalised; higher is better. Removed tokens become `[MASK]`. The last two
# columns are the {term}`control`: random scores for the same model. `degenerate_share` is the share of
# {term}`degenerate` texts, on which the scores say nothing.
#
# Accuracy comes first. Who always names the most frequent class has a share right that is printed below, under *Training
# is unstable*; and on a few dozen texts luck adds a tenth ({doc}`03_classifier_and_data`). Where the accuracies are no
# higher than that, as in the published run, the models have learned little. Then what follows shows *how* to compare, and
# says nothing of REGEX. The models of the study below have seen more texts.
#
# Do not compare the scores of two rows directly. Each model has its own scale, and the random columns move with it. Compare
# what the attribution **gains over random** on the same texts. {numref}`fig-11-ablation` does that, with the accuracy
# beside it.

# %% mystnb={"image": {"alt": "Three panels of horizontal bars, one bar for each recipe: accuracy, and the gain of Integrated Gradients over random scores in sufficiency and in comprehensiveness, the last two with intervals."}, "figure": {"name": "fig-11-ablation", "caption": "The ablation. Left: accuracy on the explained texts. Middle and right: Integrated Gradients minus random scores, with 95 % intervals over the texts."}}
def gain(report, metric, attribution="integrated_gradients"):
    """An attribution minus random, for each text."""
    wide = report.examples.pivot(index="example", columns="attribution", values=metric)
    return torch.tensor((wide[attribution] - wide["random"]).to_numpy())


colours = [RECIPE_COLOURS.get(name, "#000000") for name in names]
marks = ["", "//", "xx", "..", "\\\\", "++"]
with figure_style():
    figure, axes = plt.subplots(1, 3, figsize=(7, 3), sharey=True, layout="constrained")
    drawn = {"accuracy": ([lines[name]["accuracy"] for name in names], None)}
    for metric in ("sufficiency", "comprehensiveness"):
        spans = [paired_bootstrap(g := gain(reports[name], metric), 0 * g) for name in names]
        error = [[s.estimate - s.low for s in spans], [s.high - s.estimate for s in spans]]
        drawn[f"{metric} gain"] = ([s.estimate for s in spans], error)
    for axis, (title, (values, error)) in zip(axes, drawn.items(), strict=True):
        bars = axis.barh(names, values, xerr=error, color=colours, edgecolor="black", capsize=3)
        for number, bar in enumerate(bars):
            bar.set_hatch(marks[number % len(marks)])
        axis.set_xlabel(title)
    axes[0].invert_yaxis()
plt.show()

# %% [markdown]
# The next cell puts the comparison into sentences. A difference counts only if its interval excludes 0. The interval is
# over the texts, for this one seed.


# %%
def compare(one, other, scores):
    """One sentence on two models."""
    span = paired_bootstrap(scores[one], scores[other])
    word = "higher" if span.low > 0 else "lower" if span.high < 0 else "no clear difference"
    return f"{one} against {other}: {word} ({span.estimate:+.3f}, {span.low:+.3f} to {span.high:+.3f})"


pairs = [("robust", "vanilla"), ("egt", "vanilla"), ("regex", "robust"), ("regex", "egt")]
pairs += [("regex", "regex_random_mask"), ("regex", "regex_shuffled_target")]
for metric in ("sufficiency", "comprehensiveness"):
    scores = {name: gain(reports[name], metric) for name in names}
    print(f"{metric}, gain over random")
    for one, other in pairs:
        if one in scores and other in scores:
            print("  " + compare(one, other, scores))

# %% [markdown]
# See what the parts do to one explanation: the sentence from the beginning, by attention and by Integrated Gradients, of
# the first of your models and of `regex`. Do the two agree more with each other? Did the words change, too?

# %%
sentence = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
shown = {}
for method, short in (("attention", "attention"), ("integrated_gradients", "IG")):
    for name in (names[0], "regex" if "regex" in names else names[-1]):
        shown[f"{short}, {name}"] = attribute(trained[name][0], [sentence], method)[0]
attribution_switcher(shown, trained[names[0]][0].label_names)

# %% [markdown]
# ### The same in the study
#
# One seed on a few texts is an anecdote. The study of this book trains each recipe on 2,000 sentences of SST, with up to
# three seeds. The seeds stand in the first column.

# %%
means = read_table("sst/means")
chosen = means[(means["split"] == "test") & (means["on"] == "sst") & (means["model"] == "minilm")]
faith = chosen.query("kind == 'faithfulness' and replacement == 'mask' and level == 'token'")
seeds = faith.groupby("recipe")["seeds"].max()
faith = faith.pivot_table(index="recipe", columns=["metric", "attribution"], values="mean")
accuracy = chosen.query("kind == 'quality' and metric == 'accuracy'").set_index("recipe")["mean"]
study = pd.DataFrame({"seeds": seeds, "accuracy": accuracy.reindex(seeds.index)})
for metric in ("sufficiency", "comprehensiveness"):
    for short, attribution in (("IG", "integrated_gradients"), ("DeepLift", "deep_lift")):
        over = faith[metric, attribution] - faith[metric, "random"]
        study[f"{short} {metric[:4]}. gain"] = over
wanted = ["vanilla", "robust", "egt", "regex", "regex_fast"]
controls = ["regex_random_mask", "regex_shuffled_target"]
print("not measured yet:", ", ".join(name for name in wanted + controls if name not in study.index) or "nothing")
study.loc[[name for name in wanted + controls if name in study.index]].round(3)

# %% [markdown]
# `IG` guided the training; DeepLift did not. A gain that shows for the first and not for the second is a likeness to the
# teacher, not faithfulness. But the two are relatives, so a gain in both is still mild evidence;
# {doc}`18_which_attributions_gain` has more of them. With so few seeds, even a difference of one or two tenths may be
# within what another seed changes: {doc}`17_what_reproduced` has the intervals.
#
# ### Which part of the gain is the method's?
#
# REGEX masks tokens and pulls attention. Both could help for reasons that have nothing to do with attributions. Two
# {term}`controls <control>` test that:
#
# - `regex_random_mask` masks *any* tokens instead of the least important ones. To a plain model masked texts are strange,
#   and training on them alone can change the metrics {cite:p}`hase-etal-2021-ood`.
# - `regex_shuffled_target` pulls attention towards the same scores in random order. Whatever it gains, it does not gain
#   from *which* tokens matter.

# %%
for control in controls:
    both = study.loc[["regex", control]]
    for column in [name for name in study if name.endswith("gain")]:
        apart = both.loc["regex", column] - both.loc[control, column]
        print(f"regex minus {control}, {column}: {apart:+.3f}")
    print(f"  seeds: {int(both.loc['regex', 'seeds'])} and {int(both.loc[control, 'seeds'])}")

# %% [markdown]
# A difference near 0 says that the control does as well: then masking, or pulling at all, made the gain. A clearly
# positive one says that the attribution matters, but not yet that it helps: the control may do harm. So see, too, whether
# the control is below `vanilla`, and whether `regex` is above `robust`. {doc}`17_what_reproduced` has the intervals. All
# these scores are with `[MASK]`, which some recipes have seen in training: there is the comparison with `[PAD]`, too.
#
# ### How good does the attribution have to be?
#
# A shuffled target is as bad a target as there is. What about a mediocre one? The study degrades it step by step. In
# every training step a share of the tokens is drawn, and their scores are put in random order among them
# (`attribution_noise`). At 0 % you have `regex`. At 100 % nothing is left of the attribution, for the mask and for the
# target alike.
#
# Two more models stand beside the curve. `regex_shuffled_target` keeps the right mask, and only its target is shuffled.
# `robust` has no guidance at all. It is the one to beat: guidance *helps* where the curve is above it, and *harms* where it
# is below. The zero line is `vanilla`. Compare only models with the same number of `seeds`: another seed is another
# vanilla, too.

# %%
PLACES = {"regex": 0, "regex_noise25": 25, "regex_noise50": 50, "regex_noise100": 100}
PLACES |= {"regex_shuffled_target": 125, "robust": 150}
TICKS = ["0", "25", "50", "100 %", "target\nshuffled", "no\nguidance"]

degraded = pd.concat([read_rows(f"{study}/differences", base="vanilla") for study in ("sweeps", "sst")])
degraded = degraded.query("recipe in @PLACES and split == 'test' and on == 'sst'")
noise = degraded.query("kind == 'faithfulness' and minus == 'random' and replacement == 'mask' and level == 'token'")
noise = noise.drop_duplicates(["recipe", "metric", "attribution"])
quality = degraded.query("kind == 'quality' and metric == 'accuracy'").drop_duplicates("recipe").set_index("recipe")
rows = pd.DataFrame({"seeds": noise.groupby("recipe")["seeds"].min(), "accuracy": quality["difference"]})
for short, method in (("IG", "integrated_gradients"), ("attention", "attention")):
    for metric in ("sufficiency", "comprehensiveness"):
        of_one = noise[(noise["metric"] == metric) & (noise["attribution"] == method)]
        rows[f"{short} {metric[:4]}. gain"] = of_one.set_index("recipe")["difference"]
print("differences from vanilla:")
rows.loc[[name for name in PLACES if name in rows.index]].round(3)

# %% mystnb={"image": {"alt": "Two panels, sufficiency and comprehensiveness, over the share of noise in the training attribution: the gain over random of Integrated Gradients and of attention minus that of a plainly trained model, with intervals. A shuffled target and no guidance stand at the right."}, "figure": {"name": "fig-11-noise", "caption": "The study's degraded attributions: the gain over random minus vanilla's, with 95 % intervals over seeds and sentences. At the grey line the model is explained as vanilla is."}}
looks = {"integrated_gradients": ("IG", "-", "s", -2), "attention": ("attention", "--", "o", 2)}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.6), sharey=True, layout="constrained")
    for axis, metric in zip(axes, ("sufficiency", "comprehensiveness"), strict=True):
        for method, (label, line, marker, aside) in looks.items():
            of_one = noise[(noise["metric"] == metric) & (noise["attribution"] == method)]
            of_one = of_one.assign(place=of_one["recipe"].map(PLACES).astype(float)).sort_values("place")
            colour, curve = ATTRIBUTION_COLOURS[method], of_one[of_one["place"] <= 100]
            axis.plot(curve["place"] + aside, curve["difference"], line, color=colour)
            span = [of_one["difference"] - of_one["low"], of_one["high"] - of_one["difference"]]
            axis.errorbar(of_one["place"] + aside, of_one["difference"], yerr=span, fmt=marker, capsize=3,
                          color=colour, label=label)
        if noise.empty:
            axis.text(0.35, 0.55, "not measured yet", ha="center", transform=axis.transAxes)
        axis.axhline(0, color="#6b6b6b", linewidth=1.5)
        axis.axvline(112, color="black", linestyle=":", linewidth=1)
        axis.set_xticks(list(PLACES.values()), TICKS, fontsize=9, rotation=45)
        axis.set(title=metric, xlim=(-8, 158))
    axes[0].set_ylabel("gain over random,\nminus vanilla's")
    figure.supxlabel("noise in the training attribution", fontsize=11)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
plt.show()

# %%
for column in [name for name in rows if name.endswith("gain")]:
    levels = [name for name in list(PLACES)[:4] if pd.notna(rows[column].get(name))]
    if len(levels) < 2 or pd.isna(rows[column].get("robust")):
        print(f"{column}: there is no robust model to compare with yet")
        break
    helps = [f"{PLACES[name]} %" for name in levels if rows.loc[name, column] > rows.loc["robust", column]]
    beside = f"above robust with noise of {', '.join(helps) or 'no amount'}"
    if rows.loc[[*levels, "robust"], "seeds"].nunique() > 1:
        beside = "robust has other seeds, and is no yardstick yet"
    falls = rows.loc[levels, column].is_monotonic_decreasing
    print(f"{column}: it {'falls' if falls else 'does not fall steadily'} as the noise grows; {beside}")

# %% [markdown]
# A curve that falls says that the *content* of the attribution matters: the better the teacher, the better the pupil. Where
# it meets `robust`, guidance stops helping. A flat curve above `robust` says that some pull on the attention is enough,
# whatever it pulls towards. The printed lines compare estimates. The intervals of {numref}`fig-11-noise` are of
# differences from vanilla, whose models all points share, so two points may differ clearly although their intervals
# overlap. {doc}`17_what_reproduced` compares `regex` with `robust` directly.
#
# All this is measured with `[MASK]`, which guided models have seen in training. What a bad guide breaks may be how a model
# reads `[MASK]`, more than its explanations. So here is the same with `[PAD]`, which no recipe has seen inside a text: the
# gain over random minus vanilla's, as its mean over four attributions and both metrics.

# %%
ways = degraded.query("kind == 'faithfulness' and minus == 'random' and level == 'token'")
ways = ways[ways["metric"].isin(["sufficiency", "comprehensiveness"])]
ways = ways.drop_duplicates(["recipe", "replacement", "metric", "attribution"])
ways = ways[ways["attribution"].isin(["attention", "scaled_attention", "input_x_gradient", "integrated_gradients"])]
both = ways.pivot_table(index="recipe", columns="replacement", values="difference")
both = both.reindex(index=list(PLACES), columns=["mask", "pad"]).rename(columns={"mask": "[MASK]", "pad": "[PAD]"})
for way, means in both.dropna(axis="columns", subset=["regex", "regex_noise100"]).items():
    print(f"{way:6s}: from {means['regex']:+.3f} with the attribution to {means['regex_noise100']:+.3f} with noise alone")
both.round(3)

# %% [markdown]
# Where the curve falls with `[MASK]` and stays with `[PAD]`, the content of the attribution matters for how the model reads
# masked texts, and not for what its explanations are worth.
#
# ## What can go wrong
#
# Three **failure signatures** are described for the method. Look for each, and be ready not to find it.
#
# ### 1. Explanations get worse when the robustness weights are off
#
# Expected: `egt` has worse explanations than `regex`, or even than `vanilla`. You have the live comparison above. The
# search that chose the weights of the recipes has also trained both: one seed, several weights, measured on validation
# data. Each line is the median over the weights tried. Both are one seed; where they disagree, neither settles it.
# The study's table above has all three recipes with its seeds, and {doc}`17_what_reproduced` has `regex` minus `egt`.

# %%
search = read_table("recipe_search")
index = ["recipe", "changes", "seed"]
wide = search.pivot(index=index, columns="attribution", values=["sufficiency", "comprehensiveness"])
facts = search.drop_duplicates(index).set_index(index)[["accuracy", "degenerate_share"]]
for metric in ("sufficiency", "comprehensiveness"):
    over = wide[metric, "integrated_gradients"] - wide[metric, "random"]
    facts[f"IG {metric[:4]}. gain"] = over
parts = ["vanilla", "igr", "vat", "egt", "regex"]
searched = facts.groupby("recipe").median().join(facts.groupby("recipe").size().rename("tried"))
searched = searched.loc[[name for name in parts if name in searched.index]]
display(searched.round(3))
if {"egt", "regex"} <= set(searched.index):
    for column in [name for name in searched if name.endswith("gain")]:
        worse = searched.loc["egt", column] < searched.loc["regex", column]
        print(f"{column}: without robustness {'lower: the signature shows' if worse else 'not lower'}")

# %% [markdown]
# ### 2. Training is unstable when the KL weight is too high
#
# Train `egt` twice more: once with a weight that is far too high, and once with the usual weight from the first step on.
# The accuracy on the explained texts tells you whether the classifier still learned. {numref}`fig-11-failure` shows how the
# trainings went.

# %%
egt = find_recipe("egt")
stress = {
    "egt": trained.get("egt") or fit("egt"),
    "high weight": fit(egt.changed(kl_weight=high_kl_weight)),
    "from the start": fit(egt.changed(guidance_from=0.0)),
}
histories = {name: pd.DataFrame(run.history) for name, (_, run) in stress.items()}
accuracies = {name: classify(fitted, test)["accuracy"] for name, (fitted, _) in stress.items()}
often = max(np.bincount(test["label"])) / len(test)
print(f"always the most frequent class: accuracy {often:.3f}")
for name, accuracy in accuracies.items():
    last = histories[name].iloc[-1]
    kl = f"{last['kl']:.3f}" if "kl" in last else "off"
    print(f"{name}: accuracy {accuracy:.3f}; at the end cross-entropy {last['cross_entropy']:.3f}, kl {kl}")

# %% mystnb={"image": {"alt": "Two panels of lines over the share of the training done, for egt, egt with a high weight and egt that guides from the start: the cross-entropy, and the norm of the gradient on a logarithmic axis."}, "figure": {"name": "fig-11-failure", "caption": "Three trainings with guidance. Left: cross-entropy on the training texts. Right: norm of the gradient before clipping. The dotted line is where guidance begins in the first two."}}
styles = {"egt": ("o", "-"), "high weight": ("s", "--"), "from the start": ("^", ":")}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained")
    for number, (name, history) in enumerate(histories.items()):
        marker, line = styles[name]
        colour = (RECIPE_COLOURS["egt"], "#222222", "#8a4b00")[number]
        for axis, column in zip(axes, ("cross_entropy", "grad_norm"), strict=True):
            axis.plot(
                history["epoch"] / epochs, history[column], marker=marker, linestyle=line,
                color=colour, label=name,
            )
    axes[0].set(xlabel="share of the training", ylabel="cross-entropy, nats")
    axes[1].set(xlabel="share of the training", ylabel="gradient norm", yscale="log")
    for axis in axes:
        axis.axvline(0.5, color="grey", linestyle=":", linewidth=1)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
plt.show()

# %% [markdown]
# When does the signature show? By this rule, which does not depend on the numbers above: if the accuracy is more than
# .05 below that of `egt`, or if the cross-entropy ends more than .1 nats above.

# %%
ends = {name: history["cross_entropy"].iloc[-1] for name, history in histories.items()}
for name in ("high weight", "from the start"):
    lost = accuracies["egt"] - accuracies[name]
    above = ends[name] - ends["egt"]
    shows = lost > 0.05 or above > 0.1
    print(
        f"{name}: {'shows' if shows else 'does not show here'}"
        f" (accuracy {-lost:+.3f}, cross-entropy {above:+.3f} against egt)"
    )

# %% [markdown]
# A gradient that is longer because a weight is higher is no instability yet: gradients are clipped at norm 1, and Adam
# divides by their size. A high weight does not make the steps longer. It makes them point where the KL term wants. That
# is why a weight alone does not tame guidance, and why it starts late.
#
# ### 3. Accuracy falls when guidance conflicts with the classification loss
#
# You can measure a conflict before it does harm. Take the gradient of the cross-entropy with respect to all weights of the
# model, and that of the two KL terms. Their cosine says whether the two pull the same way (above 0), against each other
# (below 0), or do not affect each other (near 0). The ratio of their lengths says which is stronger; above 1 it is the KL.
# The weight on it is that of `egt` in all rows, so that they can be compared: for `high weight`, multiply the ratio by
# `high_kl_weight / egt.kl_weight` to have that of its training.

# %%
some = classifier.tokenize(test["text"][:32])
their_labels = torch.tensor(test["label"][:32], device=classifier.device)


def conflict(fitted):
    """Cosine of the gradients of cross-entropy and guidance, and the ratio of their lengths."""
    objective = RegexObjective(fitted, egt).train()
    fitted.eval()
    found = objective(some.input_ids, some.attention_mask, some.content_mask, their_labels)
    parameters = list(fitted.parameters())
    flat = []
    for term in (found["cross_entropy"], egt.kl_weight * (found["kl"] + found["kl_masked"])):
        parts = torch.autograd.grad(
            term, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        flat.append(torch.cat([part.flatten() for part in parts]))
    return F.cosine_similarity(*flat, dim=0).item(), (flat[1].norm() / flat[0].norm()).item()


# %%
looked_at = {"untrained": load_classifier(model, layers=layers, seed=seed)}
looked_at |= {name: trained[name][0] for name in names if name in ("vanilla", "regex")}
looked_at |= {name: fitted for name, (fitted, _) in stress.items()}
measured = {name: conflict(fitted) for name, fitted in looked_at.items()}
conflicts = pd.DataFrame(measured, index=["cosine", "length ratio"]).T
accuracy = {name: classify(fitted, test)["accuracy"] for name, fitted in looked_at.items()}
conflicts.assign(accuracy=accuracy).round(3)

# %%
trained_well = accuracy[names[0]]
for name in conflicts.index.drop("untrained"):
    against = conflicts.loc[name, "cosine"] < -0.05
    fell = accuracy[name] < trained_well - 0.05
    print(
        f"{name}: guidance {'pulls against' if against else 'does not pull against'} the classification;"
        f" accuracy {'fell' if fell else 'did not fall'} below {names[0]}'s by more than .05"
    )

# %% [markdown]
# If guidance pulls against the classification *and* the accuracy fell, the signature shows as it was described. If accuracy
# fell without a negative cosine, something else did the harm: a term that is unrelated to the classification's gradient can
# still use up the steps, above all where the length ratio is high. A few texts and one seed give you a glimpse, not a proof.
#
# ## Strengths and limitations
#
# - **Nothing to annotate.** The model teaches itself. That is also the weak spot: a wrong attribution teaches a wrong lesson.
# - **Nothing to pay at inference.** The model has the same layers as before ({doc}`21_what_it_costs`).
# - **Many knobs.** Three weights, a schedule, $\rho$ and $\epsilon$. The weights of this book were chosen on the validation
#   data of one data set.
# - **The scale moves.** Robust training changes what the normalised scores can reach. Gains over random and bounds for each
#   text help {cite:p}`edin-etal-2025-normalized`; {doc}`05_measuring_faithfulness` shows how.
# - **It teaches attention.** Whether attention then explains better than other attributions do is the question of
#   {doc}`18_which_attributions_gain`.
#
# ## Summary
#
# One REGEX step makes a clean pass, a penalty on its input gradient, a step towards the worst small change, an
# attribution, a mask, and two divergences. You wrote it by hand, and the package agrees with you to the last gradient. A
# schedule switches guidance on when there is something to be guided by. To learn which part does what, take parts away, put
# controls in their place, and degrade what guides.
#
# ## Exercises
#
# ```{exercise} A weight on the ramp
# :label: ex-11-1
#
# Guidance starts at $t = 0.5$ and takes $0.25$ of the training to grow to its full weight. What is the weight of the KL
# terms at $t = 0.6$, if the full weight is `recipe.kl_weight`?
# ```

# %%
answer = ...  # replace the dots
ramp = recipe.changed(guidance_from=0.5, guidance_warmup=0.25)
check_answer(answer, ramp.weights_at(0.6)["kl"], tolerance=1e-6)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# How much of the ramp has passed at $t = 0.6$?
# ```
#
# ````{solution-start} ex-11-1
# :class: dropdown
# ````
#
# Of the ramp's $0.25$, $0.6 - 0.5$ have passed.

# %%
answer = recipe.kl_weight * (0.6 - 0.5) / 0.25
check_answer(answer, ramp.weights_at(0.6)["kl"], tolerance=1e-6)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} From one recipe to another
# :label: ex-11-2
#
# You have the terms of a `regex` step in `terms`. What would the loss of `robust` be on the same batch, late in the
# training? Use `find_recipe("robust")`.
# ```

# %%
answer = ...
torch.manual_seed(seed)
robust_step = RegexObjective(classifier, find_recipe("robust")).train()
classifier.eval()
expected = robust_step(x, attended, content, labels, progress=1.0)["loss"]
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `weights_at(1.0)` names the terms of a recipe. The others have no weight.
# ```
#
# ````{solution-start} ex-11-2
# :class: dropdown
# ````

# %%
answer = sum(w * terms[name] for name, w in find_recipe("robust").weights_at(1.0).items())
check_answer(answer, expected, tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The shuffled target
# :label: ex-11-3
#
# Make the target of the control `regex_shuffled_target` for the first text: the scores `a[0]`, with those of the content
# tokens in the opposite order. Everything else stays 0. How far, in nats, is attention from it? Set `answer` to the
# target.
# ```

# %%
answer = ...
places = content[0].nonzero().flatten().cpu()
expected = a[0].cpu().index_copy(0, places, a[0].cpu()[places.flip(0)])
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# A boolean mask picks the content tokens, `flip(0)` turns them round, and the same mask writes them back.
# ```
#
# ````{solution-start} ex-11-3
# :class: dropdown
# ````

# %%
answer = a[0].clone()
answer[content[0]] = a[0][content[0]].flip(0)
p = distribution(clean.attention)[0].clamp(min=1e-30)
for name, scores in (("the attribution", a[0]), ("its scores turned round", answer)):
    q = distribution(scores.expand_as(a))[0].clamp(min=1e-30)
    print(f"attention is {(p * (p.log() - q.log())).sum().item():.3f} nats from {name}")
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The method is {cite:t}`li-etal-2023-regex`. Its parts come from {cite:t}`ross-doshi-velez-2018-improving` and
# {cite:t}`miyato-etal-2018-virtual`. A rival that compares predictions instead of attention is saliency-guided training,
# by {cite:t}`ismail-etal-2021-improving`. Why the controls are needed is argued by {cite:t}`hase-etal-2021-ood`.
