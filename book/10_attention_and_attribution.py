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
# # Attention and attribution
#
# **What you will learn.** How attention and an attribution become two distributions over the same tokens, and how a KL
# divergence pulls one towards the other. Whether a small weight is enough to keep this loss under control. And what you
# know, and do not know, once the divergence is small.
#
# **Time.** Half an hour to read. The code trains six models: about ten minutes on a GPU.
#
# ## The question
#
# A classifier reads:
#
# > The menu reads like poetry, and the fish arrived cold and tasted of nothing.
#
# You can ask in two ways what it looked at. Its **attention** is there for free: the model computes it anyway. An
# {term}`attribution` such as Integrated Gradients takes several more passes, and tells what moves the prediction. The two
# answers can differ a lot {cite:p}`jain-wallace-2019-attention`.
#
# REGEX trains them to agree: {term}`explanation-guided training` pulls the attention towards the attribution, on the text
# and on its masked copy ({doc}`09_salient_ranking_and_masks`). Suppose that works, and they agree perfectly. What have you
# gained? Write your answer down before you read on. Ours is in the section *What does a minimised KL mean?*.
#
# ## Settings

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 3
learning_rate: float = 1e-4
batch_size: int = 16
max_train: "Optional[int]" = 4000  # train on so many texts; None takes all
max_words: "Optional[int]" = None  # leave out longer texts, to save time
max_examples: int = 300  # explain so many test texts
heavy_weight: float = 0.1  # a weight of the KL far above that of the recipe
seed: int = 0

# %%
import json

import datasets
import matplotlib.pyplot as plt
import pandas as pd
import torch

from regex_lib.attributions import attribute, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.losses import attention_attribution_divergence
from regex_lib.masks import content_distribution
from regex_lib.models import evaluating, load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, attribution_switcher, figure_style
from regex_lib.study import read_table
from regex_lib.training import RegexObjective, find_recipe, train

datasets.disable_progress_bars()

# %% [markdown]
# Two classifiers to begin with: one that has learned nothing yet, and the same one after plain training.

# %%
texts = load_data(data)
if max_words is not None:
    texts = {
        name: split.filter(lambda row: len(row["text"].split()) <= max_words)
        for name, split in texts.items()
    }
settings = {"epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size}
settings |= {"max_train": max_train, "seed": seed}


def new_classifier():
    classifier = load_classifier("minilm", layers=layers, seed=seed)
    if classifier.num_labels == 2:
        classifier.label_names = ["negative", "positive"]
    return classifier


untrained, plain = new_classifier(), new_classifier()
train(plain, texts, "vanilla", **settings)
for name, classifier in (("untrained", untrained), ("plain", plain)):
    print(f"{name}: accuracy on the test texts {classify(classifier, texts['test'])['accuracy']:.3f}")

# %% [markdown]
# ## Attention as a distribution
#
# Each layer mixes the states of the tokens. How much of token $i$ goes into the new state of another token is that
# token's attention to $i$. Of all these numbers, one row matters here. The head reads the {term}`pooling token`, and in
# the last layer the state of that token is mixed with the weights
#
# $$
# \alpha_i = \frac{1}{H} \sum_{h=1}^{H} \operatorname{softmax}_i \left( \frac{q_h^\top k_{h,i}}{\sqrt{D_h}} \right).
# $$ (eq-10-attention)
#
# Here $q_h$ is the pooling token's query in the head $h$ of $H$, $k_{h,i}$ the key of token $i$, and $D_h$ their size.
# The row sums to 1. That the paper means the last layer, this row and the mean over heads is *our* reading; other work
# of its first author uses the same row.
#
# You can get it in two ways, and they must agree: from the attention of all layers, or from a pass that computes this row
# alone.

# %%
chosen = texts["test"].shuffle(seed=seed).select(range(min(max_examples, len(texts["test"]))))
batch = plain.tokenize(chosen["text"][:])
with evaluating(plain), torch.no_grad():
    embeddings = plain.embed(batch.input_ids)
    row = plain.pooling_attention(embeddings, batch.attention_mask)
    every_row = plain.all_attention(embeddings, batch.attention_mask)[-1]  # texts x queries x keys
torch.testing.assert_close(row, every_row[:, 0], atol=1e-5, rtol=1e-4)  # the pooling token stands first
special = row.masked_fill(batch.content_mask, 0.0).sum(dim=1)
print(f"on [CLS] and [SEP]: {special.mean():.0%} of the attention, on average over {len(row)} texts")

# %% [markdown]
# Part of the attention rests on special tokens. They carry no content, and our attributions give them no score. So they
# are left out, and the rest is divided by its sum. Remember the printed share: whatever happens among the content tokens
# below, it is about the remainder.
#
# ## An attribution as a distribution
#
# An attribution has signs, and no fixed sum. Take magnitudes over the {term}`content tokens <content token>`. There are
# two common ways to turn them into shares $P_i$ that sum to 1:
#
# $$
# P_i = \frac{|a_i|}{\sum_j |a_j|}
# \qquad \text{or} \qquad
# P_i = \frac{e^{|a_i| / \tau}}{\sum_j e^{|a_j| / \tau}} .
# $$ (eq-10-shares)
#
# They look alike, but behave differently. The first ignores the *size* of the attribution: multiply all scores by ten, and
# nothing changes. The softmax, with its temperature $\tau$, does not. When all scores are small, so are their differences,
# and it gives every token nearly the same share. {py:func}`regex_lib.masks.content_distribution` offers both.
#
# The {term}`entropy` $-\sum_i P_i \log P_i$ tells how spread out a distribution is: 0 if all lies on one token, $\log n$ if
# $n$ tokens share equally.

# %%
def explained(classifier, method, target):
    with evaluating(classifier):
        return score_batch(classifier, batch, method, target)


def entropy(distribution):
    return torch.special.entr(distribution).sum(dim=1)


content, predicted = batch.content_mask, {}
ways, table = {"|IG| / sum": "sum", "softmax of |IG|": "softmax"}, {}
for name, classifier in (("untrained", untrained), ("plain", plain)):
    with evaluating(classifier), torch.no_grad():
        logits = classifier(classifier.embed(batch.input_ids), batch.attention_mask).logits
    predicted[name] = logits.argmax(dim=-1)
    ig = explained(classifier, "integrated_gradients", predicted[name])
    attention = content_distribution(explained(classifier, "attention", predicted[name]), content)
    shares = {"attention": attention}
    shares |= {way: content_distribution(ig, content, normalise=normalise) for way, normalise in ways.items()}
    uniform = content.double().sum(dim=1).log()
    table[name] = {way: (entropy(each) / uniform).nanmean().item() for way, each in shares.items()}
pd.DataFrame(table).rename_axis("entropy, as a share of the largest possible").round(3)

# %% [markdown]
# A target with a value near 1 says *all tokens are equal*. Attention that is pulled towards it learns to look everywhere.
# Compare the two columns in the row of the softmax. How much such a target says depends on how large the scores are, and
# that changes as the model learns. Dividing by the sum is free of this.
#
# Look at one text of the plain classifier.

# %%
sentence = "The menu reads like poetry, and the fish arrived cold and tasted of nothing."
found = {name: attribute(plain, [sentence], name)[0] for name in ("attention", "integrated_gradients")}
tokens = found["attention"].tokens
scores = {name: torch.tensor([it.scores]) for name, it in found.items()}
all_content = torch.ones(1, len(tokens), dtype=torch.bool)
lines = {
    "attention": content_distribution(scores["attention"], all_content)[0],
    "|IG| / sum": content_distribution(scores["integrated_gradients"], all_content)[0],
    "softmax of |IG|": content_distribution(scores["integrated_gradients"], all_content, normalise="softmax")[0],
}

# %% mystnb={"image": {"alt": "Three series over the tokens of one sentence: its attention, the magnitudes of Integrated Gradients divided by their sum, and the softmax of these magnitudes. Each sums to 1."}, "figure": {"name": "fig-10-shares", "caption": "One sentence, three distributions over its tokens. The dotted line is the uniform one."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.8, 3.6), layout="constrained")
    styles = {
        "attention": (ATTRIBUTION_COLOURS["attention"], "--", "o"),
        "|IG| / sum": (ATTRIBUTION_COLOURS["integrated_gradients"], "-", "s"),
        "softmax of |IG|": ("#6b6b6b", ":", "^"),
    }
    for name, (colour, style, marker) in styles.items():
        axis.plot(lines[name].tolist(), style, color=colour, marker=marker, label=name)
    axis.axhline(1 / len(tokens), color="black", linestyle=":", linewidth=1)
    axis.set_xticks(range(len(tokens)), tokens, rotation=60, ha="right", fontsize=10)
    axis.set(ylabel="share", ylim=(0, None))
    axis.legend()
plt.show()

# %% [markdown]
# ## The divergence
#
# The {term}`Kullback-Leibler divergence` {eq}`eq-kl` compares two distributions over the tokens. It is infinite if the
# second gives nothing to a token that the first gives something. So a small share $s$ of the uniform distribution is mixed
# into both. The bars stand for that:
#
# $$
# \begin{aligned}
# \bar P_i &= (1 - s) P_i + \frac{s}{n}, \\
# L_{kl} &= \frac{1}{B} \sum_b D_{KL} \big( \bar \alpha(x_b) \,\big\|\, \bar P(x_b) \big) \\
# &\quad + \frac{1}{B} \sum_b D_{KL} \big( \bar \alpha(\tilde x_b) \,\big\|\, \bar P(x_b) \big).
# \end{aligned}
# $$ (eq-10-loss)
#
# The second sum has the attention on the *masked copy*. Its target is the attribution of the *full* text: where words are
# covered, that target is small, so the attention learns not to rest on the gaps. With smoothing, no divergence is above
# $\log (n / s)$.
#
# ### From scratch

# %%
def smoothed(scores, content_mask, smoothing=0.1):
    size = scores.abs() * content_mask
    shares = size / size.sum(dim=1, keepdim=True)
    return (1 - smoothing) * shares + smoothing * content_mask / content_mask.sum(dim=1, keepdim=True)


def kl(p, q, content_mask):
    ratio = torch.where(content_mask, p, 1) / torch.where(content_mask, q, 1)  # outside: 1 / 1, whose log is 0
    return (p * ratio.log()).sum(dim=1).mean()


attention, ig = (explained(plain, name, predicted["plain"]) for name in ("attention", "integrated_gradients"))
alpha, target = smoothed(attention, content), smoothed(ig, content)
forwards, backwards = kl(alpha, target, content), kl(target, alpha, content)
ours = {
    "attention_to_attribution": forwards,
    "attribution_to_attention": backwards,
    "symmetric": (forwards + backwards) / 2,
}
for direction, value in ours.items():
    theirs = attention_attribution_divergence(attention, ig, content, direction=direction)
    torch.testing.assert_close(value, theirs, atol=1e-5, rtol=1e-4)
    print(f"{direction}: {theirs:.3f} nats")

# %% [markdown]
# {py:func}`regex_lib.losses.attention_attribution_divergence` gives the same numbers. It also stays finite for texts of one
# token and of none, which the few lines above do not.
#
# ### The direction matters
#
# $D_{KL}(\alpha \,\|\, P)$ is an average over where the *attention* is. It is large when attention rests on tokens that the
# attribution gives nothing. $D_{KL}(P \,\|\, \alpha)$ is an average over where the *attribution* is. It is large when
# attention misses a token that matters.
#
# In the next cell, two tokens matter and two do not. One attention finds half of the truth and no more. The other looks at
# everything.

# %%
four = torch.ones(1, 4, dtype=torch.bool)
truth = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
cases = {"looks at one of the two": [1.0, 0.0, 0.0, 0.0], "looks everywhere": [0.25, 0.25, 0.25, 0.25]}
directions = ("attention_to_attribution", "attribution_to_attention")
rows = {
    name: [
        attention_attribution_divergence(torch.tensor([case]), truth, four, direction=direction).item()
        for direction in directions
    ]
    for name, case in cases.items()
}
pd.DataFrame(rows, index=[it.replace("_", " ") for it in directions]).T.round(3)

# %% [markdown]
# The first direction forgives attention that is narrow, the second forgives attention that is broad. As far as we know, the
# paper's formula names the attention first. So does the default of the package (`kl_direction`).
#
# ### Who moves
#
# The loss compares two things that the model computes. A gradient could flow into both. Then the model has two ways to
# make the loss small: move the attention to the attribution, or **move the attribution to the attention**. The second
# changes the explanation to please the attention, and that is not what you want.
#
# So the attribution is **detached**: a constant, for this step. That also saves a {term}`double backward` pass. It does not
# mean that the target stands still. After the step the model is another one, and so is its attribution.
#
# The toy in the next cell starts with an attention on the first token and an attribution on the last.

# %%
def pulled(stop, steps):
    logits = torch.tensor([[2.0, 0.0, 0.0]], requires_grad=True)  # the attention's
    scores = torch.tensor([[0.2, 0.2, 1.0]], requires_grad=True)  # the attribution
    optimizer, three = torch.optim.SGD([logits, scores], lr=0.3), torch.ones(1, 3, dtype=torch.bool)
    for _ in range(steps):
        optimizer.zero_grad()
        goal = scores.detach() if stop else scores
        attention_attribution_divergence(logits.softmax(dim=-1), goal, three).backward()
        optimizer.step()
    return [content_distribution(each.detach(), three)[0].tolist() for each in (logits.softmax(dim=-1), scores)]


rows = {}
for when, stop, steps in (("before", True, 0), ("detached", True, 300), ("not detached", False, 300)):
    rows[when, "attention"], rows[when, "attribution"] = pulled(stop, steps)
pd.DataFrame(rows, index=["token 1", "token 2", "token 3"]).T.round(2)

# %% [markdown]
# In the last two rows they agree, too. But look who moved: the attribution no longer says what it said.
#
# ## Is a small weight enough?
#
# The weight of this loss in the recipe `egt` (explanation-guided training) is a few thousandths; the dotted line of the next
# figure shows it. That looks harmless. Yet the recipes do not guide in the first half of the training
# (`guidance_from=0.5`). In early trials for this book, guidance from the first step left some models at chance, and a
# smaller weight did not always save them. What could be the reason?
#
# At the beginning, the head is random and small. {term}`Cross-entropy <cross-entropy>` sends little gradient through it to
# the layers below. And training does not follow gradients as they are. Adam {cite:p}`kingma-ba-2015-adam` divides each by a
# running measure of its size. Let $g$ be the gradient of one weight $\theta$, $\eta$ the learning rate and $\varepsilon$ a
# tiny constant. Then Adam's first step is
#
# $$
# \Delta \theta = - \eta \, \frac{g}{\sqrt{g^2} + \varepsilon} \approx - \eta \operatorname{sign}(g),
# \qquad
# g = g_{ce} + w_{kl} \, g_{kl}.
# $$ (eq-10-adam)
#
# The step has the same size for a large and for a tiny gradient. Only the *sign* counts, and the sign is that of the
# larger of $g_{ce}$ and $w_{kl} g_{kl}$. Where cross-entropy sends next to nothing, the KL decides, however small its
# weight.
#
# That is an argument, not a finding. So measure it. {py:class}`regex_lib.training.RegexObjective` gives each term of the
# loss before weighting. Take the gradient of each with respect to all weights of the encoder's layers, and count for how
# many of them the KL's part is the larger one.

# %%
def layer_gradients(classifier, count=32):
    """The gradient of cross-entropy and of the two divergences by the weights of all layers."""
    few = texts["train"].select(range(count))
    ready, labels = classifier.tokenize(few["text"][:]), torch.tensor(few["label"][:], device=classifier.device)
    objective = RegexObjective(classifier, find_recipe("egt").changed(guidance_from=0.0)).train()
    torch.manual_seed(seed)
    terms = objective(ready.input_ids, ready.attention_mask, ready.content_mask, labels)
    weights = [weight for name, weight in classifier.model.named_parameters() if ".layer." in name]
    found, options = {}, {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    for name in ("cross_entropy", "kl", "kl_masked"):
        parts = torch.autograd.grad(terms[name], weights, **options)
        found[name] = torch.cat([part.flatten() for part in parts])
    classifier.eval()
    return found["cross_entropy"], found["kl"] + found["kl_masked"]


weight = find_recipe("egt").kl_weight
kl_weights = sorted({1.0, 0.1, 0.02, weight, 0.001, 1e-4, 1e-5})
decided, lengths = {}, {}
for name, classifier in (("untrained", untrained), ("plain", plain)):
    from_ce, from_kl = layer_gradients(classifier)
    decided[name] = [(it * from_kl.abs() > from_ce.abs()).float().mean().item() for it in kl_weights]
    lengths[name] = (from_kl.norm() / from_ce.norm()).item()

# %% mystnb={"image": {"alt": "Two lines that rise with the weight of the KL, on a logarithmic scale: the share of the encoder's weights for which the KL's gradient is larger than that of cross-entropy, for an untrained and for a trained classifier."}, "figure": {"name": "fig-10-decided", "caption": "For how many of the encoder's weights the KL decides the direction of Adam's first step, by its weight in the loss. The dotted line is the weight of the recipe egt."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    for name, style, marker, colour in (
        ("untrained", "-", "o", RECIPE_COLOURS["egt"]), ("plain", "--", "s", RECIPE_COLOURS["vanilla"])
    ):  # fmt: skip
        label = "before training" if name == "untrained" else "after plain training"
        percent = [100 * share for share in decided[name]]
        axis.plot(kl_weights, percent, style, marker=marker, color=colour, label=label)
    axis.axvline(weight, color="black", linestyle=":", linewidth=1)
    axis.set(xscale="log", xlabel="weight of the KL", ylabel="weights that the\nKL decides, %", ylim=(0, 100))
    axis.legend()
plt.show()

# %%
for name, when in (("untrained", "before training"), ("plain", "after plain training")):
    share = decided[name][kl_weights.index(weight)]
    print(
        f"{when}, weight {weight}: the KL's gradient is {weight * lengths[name]:.3f} times as long as that of "
        f"cross-entropy,\n   and larger than it for {share:.0%} of the encoder's weights"
    )
early_share, late_share = (decided[name][kl_weights.index(weight)] for name in ("untrained", "plain"))
print(f"The share is {'larger' if early_share > late_share else 'not larger'} before training than after.")

# %% [markdown]
# The lines do not reach 100 %: what comes after the attention row in the last layer gets no gradient from the KL, whatever
# its weight.
#
# Read the two numbers of a printed line together. A gradient can be short as a whole, so that clipping and the logs show
# nothing unusual, and still be the larger one for many of the weights. Where that share is large before training, the first
# steps steer the encoder towards the attributions of a model that knows nothing. Where it is small, the argument above does
# not hold for this model.
#
# But steering is not yet harm. The head learns as well, the gradient of cross-entropy grows, and the model may recover.
# Only training can tell.
#
# ## With the package
#
# Now train. All models see the same texts in the same order, for the same number of steps. Two knobs differ: the weight and
# the start.
#
# - `plain`: no guidance; you have trained it already;
# - `guided`: the recipe `egt`, with guidance in the second half; `guided, heavy` is the same with `heavy_weight`;
# - `at once` and `at once, heavy`: the same two with `guidance_from=0.0`;
# - `shuffled target`: as `guided`, but every text's target is its attribution in *random order*. This is the
#   {term}`control`: the pull is as strong, and what it pulls towards is nonsense.
#
# ```{admonition} Change this and predict before you run
# :class: tip
#
# Which of the six will have the smallest divergence on test texts? Is it also the best of them?
# ```

# %%
egt = find_recipe("egt")
recipes = {
    "guided": egt,
    "guided, heavy": egt.changed(kl_weight=heavy_weight),
    "at once": egt.changed(guidance_from=0.0),
    "at once, heavy": egt.changed(guidance_from=0.0, kl_weight=heavy_weight),
    "shuffled target": egt.changed(target="shuffled"),
}
models = {"plain": plain}
for name, recipe in recipes.items():
    models[name] = new_classifier()
    run = train(models[name], texts, recipe, **settings)
    last = run.history[-1]
    print(f"{name}: KL at the end of training {last['kl']:.3f}, masked copies {last['kl_masked']:.3f}")

# %% [markdown]
# Measure four things on test texts: the accuracy; the divergence of the model's attention from its own attribution; as a
# control, the divergence from the same attribution in random order; and how faithful attention and Integrated Gradients
# are, above the random attribution of the same model.

# %%
def in_random_order(scores, generator):
    """Each text's scores, shuffled over its content tokens."""
    result = scores.clone()
    for row, counts in enumerate(content):
        places = counts.nonzero().flatten()
        order = torch.randperm(len(places), generator=generator).to(places.device)
        result[row, places] = scores[row, places[order]]
    return result


# %%
def measured(model):
    with evaluating(model), torch.no_grad():
        target = model(model.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=-1)
    attention, ig = (explained(model, name, target) for name in ("attention", "integrated_gradients"))
    mixed = in_random_order(ig, torch.Generator().manual_seed(seed))
    methods = ["random", "attention", "integrated_gradients"]
    report = evaluate_faithfulness(model, texts["test"], methods, max_examples=max_examples, seed=seed)
    scores = report.table.set_index("attribution")[["sufficiency", "comprehensiveness"]]
    above = (scores - scores.loc["random"]).drop("random").rename({"integrated_gradients": "IG"})
    return {
        "accuracy": classify(model, texts["test"])["accuracy"],
        "KL": attention_attribution_divergence(attention, ig, content).item(),
        "KL, shuffled": attention_attribution_divergence(attention, mixed, content).item(),
    } | {
        f"{name}: {short}": above.loc[name, metric]
        for name in above.index
        for metric, short in (("sufficiency", "suff."), ("comprehensiveness", "compr."))
    }


results = pd.DataFrame({name: measured(model) for name, model in models.items()}).T
results.round(3)

# %%
def compare(one, other, column, tolerance=0.02):
    difference = results.loc[one, column] - results.loc[other, column]
    return "higher" if difference > tolerance else "lower" if difference < -tolerance else "about the same"


pairs = [("guided", "plain"), ("guided", "shuffled target"), ("guided, heavy", "guided")]
pairs += [("at once", "guided"), ("at once, heavy", "guided, heavy")]
columns = ["accuracy", "KL", "attention: suff.", "attention: compr."]
rows = {f"{one} / {other}": [compare(one, other, name) for name in columns] for one, other in pairs}
chance = pd.Series(texts["test"]["label"][:]).value_counts(normalize=True).max()
near = [name for name in results.index if results.loc[name, "accuracy"] < chance + 0.05]
print(f"near chance ({chance:.2f}), so that their other numbers say nothing: {', '.join(near) or 'none'}")
for kind in ("", ", heavy"):
    cost = results.loc[f"guided{kind}", "accuracy"] - results.loc[f"at once{kind}", "accuracy"]
    word = "costs" if cost > 0.02 else "does not cost"
    print(f"weight {recipes['at once' + kind].kl_weight}: starting at once {word} accuracy ({-cost:+.3f})")
print("One seed, and few texts: this is a demonstration, not a result. The first against the second:")
pd.DataFrame(rows, index=columns).T

# %% [markdown]
# The table answers three questions. *Guided against plain*: does the loss do its work on texts that it never saw, and at
# what price in accuracy? *Guided against shuffled target*: does the attribution help, or any pull at all? *At once against
# guided*: what does the late start buy, at a small weight and at a large one?
#
# Be careful with the KL of `at once`. That model was trained on the loss for twice as many steps. A lower KL would therefore
# not be surprising, and a higher one says that the divergence was hard to bring down.
#
# Now its accuracy. If it is as accurate as `guided`, the late start bought nothing here. If it is near chance, you see the
# failure for which the schedule was made. If it lies between the two, the early start cost accuracy, but the model still
# learned.
#
# Look at the sentence from the beginning, and switch between the models. Did the attention move to where Integrated
# Gradients points? And did Integrated Gradients itself stay where it was?

# %%
shown = {}
for method, short in (("attention", "attention"), ("integrated_gradients", "IG")):
    for name in ("plain", "guided"):
        shown[f"{short}, {name}"] = attribute(models[name], [sentence], method)[0]
attribution_switcher(shown, plain.label_names)

# %% [markdown]
# ## What does a minimised KL mean?
#
# A divergence is 0 exactly if the two distributions are the same. So, read literally, a minimised $L_{kl}$ tells you one
# thing:
#
# > On these texts, the last layer's attention of the pooling token is shared out among the content tokens as the
# > *magnitudes* of the model's *own* attribution are.
#
# It is a statement about **agreement**. Three questions remain. How close is close? What does the number not see? And what
# does it not prove?
#
# ### How close is close?
#
# Nats are hard to read. Ask instead which share $V$ of the content's attention would have to move to other tokens for
# the two to agree. (Smoothed, as here, it is smaller by the factor $1 - s$.) Pinsker's inequality bounds that share by
# the divergence:
#
# $$
# V = \frac{1}{2} \sum_i \big| \bar \alpha_i - \bar P_i \big| \; \le \; \sqrt{\tfrac{1}{2} D_{KL}(\bar \alpha \,\|\, \bar P)} .
# $$ (eq-10-pinsker)

# %%
def agreement(model):
    """The share of the attention in the wrong place, the bound on it, and the same for a shuffled attribution."""
    with evaluating(model), torch.no_grad():
        target = model(model.embed(batch.input_ids), batch.attention_mask).logits.argmax(dim=-1)
    attention, ig = (explained(model, name, target) for name in ("attention", "integrated_gradients"))
    mixed = in_random_order(ig, torch.Generator().manual_seed(seed))
    alpha, *goals = (content_distribution(each, content, smoothing=0.1) for each in (attention, ig, mixed))
    share, by_chance = ((alpha - goal).abs().sum(dim=1).mean().item() / 2 for goal in goals)
    bound = (attention_attribution_divergence(attention, ig, content) / 2).sqrt().item()
    assert share <= bound + 1e-6
    return {"V": share, "bound": bound, "V, shuffled": by_chance}


pd.DataFrame({name: agreement(model) for name, model in models.items()}).T.map("{:.0%}".format)

# %% [markdown]
# Compare the first column with the last, the {term}`control`: the same attribution in random order. Only a share well below
# the control's speaks for the attribution. Do not expect zero. The target moves with every step, and the weights that shape
# this attention have to classify, too.
#
# ### What the number does not see
#
# Change the attention or the attribution in ways that change what they *say*, and compute the divergence again.

# %%
on_cls = 0.01 * row
on_cls[:, 0] += 0.99  # nearly all of the attention goes to the first token, which is special
changes = {
    "as they are": (row, ig),
    "every sign of the attribution turned round": (row, -ig),
    "every score a thousand times smaller": (row, ig / 1000),
    "99 % of the attention moved to [CLS]": (on_cls, ig),
}
values = {name: attention_attribution_divergence(*pair, content).item() for name, pair in changes.items()}
assert max(values.values()) - min(values.values()) < 1e-3
pd.DataFrame({"KL": values}).round(4)

# %% [markdown]
# The number is the same in all rows. It does not see whether a word speaks *for* or *against* the prediction, whether it
# moves the prediction *much or hardly*, or whether the attention looks at the words *at all*.
#
# ### What it does not prove
#
# **That the attribution is right.** The target is the model's own Integrated Gradients, held constant. Nothing in the loss
# asks whether they are {term}`faithful`. If they are wrong, the attention is now wrong in the same way. The model `shuffled
# target` was trained on nonsense with the same loss, and no error was raised.
#
# **That the model relies more on these tokens.** The last layer's attention is one step of many, and the states that it
# mixes have been mixed in all layers before {cite:p}`jain-wallace-2019-attention,wiegreffe-pinter-2019-attention`. Moving
# it does not have to move the decision.
#
# **That the model is any good.** A model that ignores its input reaches 0 without effort. If nothing moves the prediction,
# all attributions are 0 and count as uniform. So does attention that never chooses:

# %%
indifferent, nothing = torch.full((1, 8), 1 / 8), torch.zeros(1, 8)
zero = attention_attribution_divergence(indifferent, nothing, torch.ones(1, 8, dtype=torch.bool)).item()
print(f"the KL of a model that does not look at its input: {abs(zero):.3f}")
closest = results["KL"].idxmin()
print(f"The model with the smallest KL: {closest}. How far is it behind the best of the six?")
for column in ("accuracy", "attention: suff.", "attention: compr.", "IG: suff.", "IG: compr."):
    behind = results[column].max() - results.loc[closest, column]
    print(f"   {column}: {behind:.3f}" + (f" behind {results[column].idxmax()}" if behind > 0.02 else ""))
results.sort_values("KL")[["KL", "accuracy", "attention: compr.", "IG: compr."]].round(3)

# %% [markdown]
# ```{admonition} What a minimised KL means
# :class: important
#
# The attention has become **a copy of the attribution**: it agrees with it, for better or worse. Whether either of them is
# faithful is *not* in that number. To claim it, you need three more things:
#
# 1. the faithfulness metrics of {doc}`05_measuring_faithfulness`, for attributions that were *not* used in training;
# 2. the controls of {doc}`11_regex`, which must do worse: `regex_shuffled_target` (the attribution is shuffled among the
#    tokens) and `regex_random_mask` (any tokens are masked);
# 3. the accuracy, which must not have paid for it.
# ```

# %% [markdown]
# ## What the study says
#
# The search for this book's weights trained `egt` on SST with more than one `kl_weight`, with guidance in the second half:
# one seed, measured on validation data. If the weight were a strong handle, the columns would differ.

# %%
search = read_table("recipe_search").query("recipe == 'egt'")
search = search.assign(kl_weight=[json.loads(changes).get("kl_weight") for changes in search["changes"]])
columns = ["sufficiency", "comprehensiveness", "accuracy"]
by_weight = search.pivot_table(index="kl_weight", columns="attribution", values=columns)
rows = {}
for metric in ("sufficiency", "comprehensiveness"):
    for name, short in (("attention", "attention"), ("integrated_gradients", "IG")):
        rows[f"{short}: {metric} above random"] = by_weight[metric][name] - by_weight[metric]["random"]
rows["accuracy"] = by_weight["accuracy"]["random"]
summary = pd.DataFrame(rows).T
spread = (summary.max(axis=1) - summary.min(axis=1)).max()
print(f"{len(by_weight)} weights; the largest difference that the weight makes: {spread:.3f}")
summary.round(3)

# %% [markdown]
# The study on SST has the control with the shuffled target for the whole of REGEX, with up to three seeds. It is still
# growing. The next cell shows how far attention and Integrated Gradients are above random there. `DeepLift` is there too:
# it is a relative of Integrated Gradients, but no model was trained with it.

# %%
wanted = ["vanilla", "egt", "regex", "regex_shuffled_target"]
means = read_table("sst/means").query("split == 'test' and on == 'sst' and model == 'minilm' and recipe in @wanted")
accuracy = means[(means["kind"] == "quality") & (means["metric"] == "accuracy")].set_index("recipe")["mean"]
faith = means.query("kind == 'faithfulness' and replacement == 'mask' and level == 'token'")
faith = faith[faith["metric"].isin(["sufficiency", "comprehensiveness"])]
wide = faith.pivot_table(index=["metric", "recipe"], columns="attribution", values="mean")
shorts = {"attention": "attention", "integrated_gradients": "IG", "deep_lift": "DeepLift"}
above = wide.sub(wide["random"], axis=0).reindex(columns=list(shorts)).rename(columns=shorts)
above["accuracy"] = accuracy.reindex(above.index.get_level_values("recipe")).to_numpy()
above["seeds"] = faith.groupby(["metric", "recipe"])["seeds"].min()
missing = [name for name in wanted if name not in above.index.get_level_values("recipe")]
print("not measured yet:", ", ".join(missing) or "nothing")
above.round(3).astype(object).fillna("not yet")

# %% [markdown]
# First compare `egt` with `vanilla`: that is this chapter's loss alone. Look at the attention, which is pulled, and at
# IG, its target, separately: one can rise while the other falls.
#
# Then compare `regex` with `regex_shuffled_target`. Where the first is not above the second, *which* tokens attention is
# pulled to does not matter, and the pull towards the attribution is not what helps. Where it is above, look at
# `vanilla` too: a shuffled target can do harm, and beating a harmful control is no gain yet. {doc}`17_what_reproduced` has
# the intervals of these differences, and says how much of them is left when `[PAD]` stands in the place of the words.
#
# ## What can go wrong
#
# **A target that says nothing.** A softmax over small scores is nearly uniform. The loss falls, the attention gets flatter,
# and no error is shown. Look at the entropy of your target first.
#
# **Guidance from the first step.** The model is pulled towards the attributions of a model that has learned nothing. It
# may recover, or end at chance. Its scores need not give that away: they can still be above random. You cannot know
# beforehand, so the accuracy belongs beside every score.
#
# **Judged by its own teacher.** A model that was trained with Integrated Gradients and is evaluated with Integrated
# Gradients has an advantage that others lack {cite:p}`ferreira-etal-2024-explanation`. Look at the other attributions too.
#
# **No pooling token.** A model whose head averages the states of all tokens has no single row that decides. This loss has
# nothing to pull there.
#
# ## Strengths and limitations
#
# - **Nothing to annotate, and nothing to pay at inference.** Attention is there for free.
# - **Dearer training.** It takes the passes of the attribution, and one for the masked copy ({doc}`21_what_it_costs`).
# - **One row of one layer.** The loss compares this row and no other. What the earlier layers did with the words is not in
#   it.
# - **Partly our reading.** How scores become shares, the smoothing and the detaching are not known from the paper. Most are
#   options of {py:class}`regex_lib.training.Recipe`; the detaching is fixed.
#
# ## Summary
#
# Attention and attribution become distributions over the content tokens. A KL divergence pulls the first towards the
# second, which is held constant. A small divergence means agreement, and no more: it does not see signs, sizes or special
# tokens, and it does not prove that the attribution is right. Adam divides each gradient by its size, so a small weight
# limits this loss less than it seems, above all at the beginning. Whether that does harm has to be measured, and the
# accuracy shows it.
#
# ## Exercises
#
# ```{exercise} Both directions by hand
# :label: ex-10-1
#
# Two tokens. Attention gives them shares of 0.5 and 0.5, the attribution 0.9 and 0.1. Without smoothing, what is
# $D_{KL}(\alpha \,\|\, P)$, and what is $D_{KL}(P \,\|\, \alpha)$? Set `answer` to a list of the two, in nats.
# ```

# %%
answer = ...  # replace the dots
pair, two = (torch.tensor([[0.5, 0.5]]).double(), torch.tensor([[0.9, 0.1]]).double()), all_content[:, :2]
check_answer(
    answer,
    [attention_attribution_divergence(*pair, two, direction=it, smoothing=1e-9).item() for it in directions],
    tolerance=1e-3,
)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Two terms each: $p_1 \log (p_1 / q_1) + p_2 \log (p_2 / q_2)$, with the natural logarithm.
# ```
#
# ````{solution-start} ex-10-1
# :class: dropdown
# ````

# %%
half, shares = torch.tensor([0.5, 0.5]), torch.tensor([0.9, 0.1])
answer = [(p * (p / q).log()).sum().item() for p, q in ((half, shares), (shares, half))]
check_answer(
    answer,
    [attention_attribution_divergence(*pair, two, direction=it, smoothing=1e-9).item() for it in directions],
    tolerance=1e-3,
)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} As wrong as can be
# :label: ex-10-2
#
# A text has 20 content tokens. All attention is on the first, all attribution on the second, and $s = 0.1$ is mixed into
# both. How large is $D_{KL}(\bar \alpha \,\|\, \bar P)$? Set `answer`. Compare it with the bound $\log(n / s)$.
# ```

# %%
answer = ...  # replace the dots
twenty = torch.eye(20)[:2]
every = torch.ones(1, 20, dtype=torch.bool)
expected = attention_attribution_divergence(twenty[:1], twenty[1:], every, smoothing=0.1)
check_answer(answer, expected.item(), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# After smoothing, a token has either $0.9 + 0.1 / 20$ or $0.1 / 20$. Only two tokens differ between the distributions.
# ```
#
# ````{solution-start} ex-10-2
# :class: dropdown
# ````

# %%
high, low = 0.9 + 0.1 / 20, 0.1 / 20
answer = (high - low) * torch.tensor(high / low).log().item()
print(f"{answer:.2f} nats; the bound is {torch.tensor(20 / 0.1).log():.2f}")
check_answer(answer, expected.item(), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Adam does not see the weight
# :label: ex-10-3
#
# A loss is multiplied by 1, and then by 0.001. How many times as large is Adam's first step in the first case? Set
# `answer` to the ratio. Then run the solution, which asks Adam.
# ```

# %%
answer = ...  # replace the dots


def first_step(factor):
    theta = torch.tensor([3.0], requires_grad=True)
    optimizer = torch.optim.Adam([theta], lr=0.1)
    (factor * theta**2).sum().backward()
    optimizer.step()
    return 3.0 - theta.item()


check_answer(answer, first_step(1.0) / first_step(0.001), tolerance=1e-2)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# {eq}`eq-10-adam`, with $g$ and with $0.001 \, g$.
# ```
#
# ````{solution-start} ex-10-3
# :class: dropdown
# ````

# %%
steps = {factor: first_step(factor) for factor in (1.0, 0.1, 0.01, 0.001)}
answer = steps[1.0] / steps[0.001]
print(f"first steps: {steps}")
check_answer(answer, first_step(1.0) / first_step(0.001), tolerance=1e-2)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A temperature for the softmax
# :label: ex-10-4
#
# Somebody insists on the softmax. Which temperature $\tau$ of `temperatures` gives the plain classifier's targets a mean
# entropy closest to that of $|a_i| / \sum_j |a_j|$? Set `answer` to it. The attributions are in `ig`, the mask in
# `content`.
# ```

# %%
answer = ...  # replace the dots
temperatures = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0]
goal = entropy(content_distribution(ig, content)).mean()
tempered = [content_distribution(ig, content, normalise="softmax", temperature=tau) for tau in temperatures]
closest = torch.stack([(entropy(it).mean() - goal).abs() for it in tempered]).argmin()
check_answer(answer, temperatures[closest])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Compute `entropy(content_distribution(ig, content, normalise="softmax", temperature=tau)).mean()` for each.
# ```
#
# ````{solution-start} ex-10-4
# :class: dropdown
# ````
#
# The right temperature depends on the size of the scores, so it differs from model to model, and from one stage of the
# training to the next. Dividing by the sum has no such knob.

# %%
wanted, answer = entropy(content_distribution(ig, content)).mean(), None
for tau in temperatures:
    spread = entropy(content_distribution(ig, content, normalise="softmax", temperature=tau)).mean()
    if answer is None or abs(spread - wanted) < nearest:
        answer, nearest = tau, abs(spread - wanted)
print(f"temperature {answer}")
check_answer(answer, temperatures[closest])

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The loss is that of {cite:t}`li-etal-2023-regex`. Whether attention explains anything was disputed by
# {cite:t}`jain-wallace-2019-attention` and {cite:t}`wiegreffe-pinter-2019-attention`; read both. Integrated Gradients, the
# target, come from {cite:t}`sundararajan-etal-2017-axiomatic`, and Adam from {cite:t}`kingma-ba-2015-adam`.
