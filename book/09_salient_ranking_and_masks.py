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
# # Salient ranking and masks
#
# **What you will learn.** How REGEX decides which tokens of a text are unimportant, and what it puts in their place. How
# to test that ranking against a random one. And why a model that was trained on masked texts can look better explained
# without any explanation having been used.
#
# **Time.** Twenty-five minutes to read. The code trains eight models: about ten minutes on a GPU.
#
# ## The question
#
# Somebody writes:
#
# > The trailer looked cheap and the poster was ugly, but I loved every minute of this film.
#
# You have an {term}`attribution` of your classifier's prediction, and suppose it is right. Then the tokens with weak scores
# hardly matter. Perhaps *"trailer"*, *"was"* and *"of"* are among them. Cover these, and the classifier should say the
# same as before.
#
# REGEX makes such a copy of every training text and works with both {cite:p}`li-etal-2023-regex`. If the ranking is wrong,
# the copy has lost the words that carry the decision, and training goes on with a text that says something else.
#
# Three things have to be decided: which tokens are ranked, how many are covered, and what covers them. Each is one line
# of code, and each can be wrong without an error message.
#
# ## Settings

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 3
learning_rate: float = 1e-4
batch_size: int = 16
max_train: "Optional[int]" = 4000  # train on so many texts; None takes all
guided_texts: "Optional[int]" = 2000  # train further on so many, for each mask ratio of the sweep
mask_ratio: float = 0.3  # K, the share of the tokens that is masked
other_ratio: float = 0.6  # another K for the sweep
max_words: "Optional[int]" = None  # leave out longer texts, to save time
max_examples: int = 300  # explain so many test texts
seed: int = 0

# %%
import dataclasses
import json
import math
import textwrap

import datasets
import matplotlib.pyplot as plt
import pandas as pd
import torch

from regex_lib.attributions import attribute, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.evaluation import classify, evaluate_faithfulness
from regex_lib.masks import bottom_k_mask, drop, random_k_mask, ranks, replace, token_budget
from regex_lib.metrics import paired_bootstrap
from regex_lib.models import evaluating, load_classifier
from regex_lib.plots import ATTRIBUTION_COLOURS, RECIPE_COLOURS, figure_style, mask_ratio_stepper
from regex_lib.study import read_rows, read_table
from regex_lib.training import RECIPES, find_recipe, train

datasets.disable_progress_bars()

# %% [markdown]
# You need a classifier to explain. It is a plain one: nothing but cross-entropy, as in {doc}`03_classifier_and_data`.

# %%
texts = load_data(data)
if max_words is not None:
    texts = {
        name: split.filter(lambda row: len(row["text"].split()) <= max_words)
        for name, split in texts.items()
    }
settings = {"batch_size": batch_size, "seed": seed}
plain = load_classifier("minilm", layers=layers, seed=seed)
if plain.num_labels == 2:
    plain.label_names = ["negative", "positive"]
train(plain, texts, "vanilla", epochs=epochs, learning_rate=learning_rate, max_train=max_train, **settings)
accuracy = classify(plain, texts["test"])["accuracy"]
print(f"{data}: accuracy on {len(texts['test'])} test texts {accuracy:.3f}")

# %% [markdown]
# ## The masked copy, in symbols
#
# A text has $T$ tokens. The {term}`content mask <content token>` $m$ is true at $n = \sum_i m_i$ of them. Special tokens
# and padding are never ranked. The attribution gives each content token a score $a_i$.
#
# What counts is the **magnitude** $|a_i|$. A token with a large negative score speaks *against* the prediction. It is far
# from unimportant.
#
# How many tokens are masked? A share $K$ of them; $K$ is the paper's letter for the ratio that {doc}`notation` calls
# $\rho$. Their number is rounded **down**:
#
# $$
# k = \lfloor K n \rfloor
# $$ (eq-09-k)
#
# The set $W$ holds the $k$ content tokens with the smallest magnitudes. The masked copy $\tilde x$ is
#
# $$
# \tilde x_i =
# \begin{cases}
# \texttt{[MASK]} & \text{if } i \in W \\
# x_i & \text{otherwise.}
# \end{cases}
# $$ (eq-09-copy)
#
# ## From scratch
#
# Here is the ranking in plain Python, one text after another. Where two magnitudes are equal, a rule has to decide: the
# *earlier* token counts as the stronger one, so the later one is masked first.

# %%
def weakest(scores, content_mask, ratio):
    """True at the floor(ratio x n) content tokens of the smallest magnitude, for each text."""
    masked = torch.zeros_like(content_mask)
    for row, counts in enumerate(content_mask):
        places = counts.nonzero().flatten().tolist()
        k = math.floor(ratio * len(places) + 1e-6)  # 0.7 x 90 must not become 62.999... and then 62
        order = sorted(places, key=lambda place: (abs(scores[row, place].item()), -place))
        masked[row, order[:k]] = True
    return masked


def covered(input_ids, masked, token_id):
    """The same ids with another one where a token is masked."""
    return torch.where(masked, torch.tensor(token_id, device=input_ids.device), input_ids)


# %% [markdown]
# The package does the same for a whole batch at once, on any device: {py:func}`regex_lib.masks.token_budget` counts,
# {py:func}`regex_lib.masks.bottom_k_mask` ranks, {py:func}`regex_lib.masks.replace` covers. Both must agree, for real
# scores and for scores full of ties.

# %%
sample = plain.tokenize(texts["test"]["text"][:32])
generator = torch.Generator().manual_seed(seed)
real = torch.randn(sample.input_ids.shape, generator=generator).to(plain.device)
tied = real.round()  # -1, 0 and 1 over and over
for scores in (real, tied):
    for ratio in (0.0, 0.1, 0.3, 0.7, 1.0):
        k = token_budget(sample.content_mask, ratio, rounding="down")
        ours = weakest(scores, sample.content_mask, ratio)
        theirs = bottom_k_mask(scores.abs(), sample.content_mask, k)
        assert torch.equal(ours, theirs)
        copy = covered(sample.input_ids, ours, plain.mask_id)
        assert torch.equal(copy, replace(sample.input_ids, theirs, plain.mask_id))
print(f"the same masks for {len(sample.input_ids)} texts, 5 ratios, with ties and without")

# %% [markdown]
# ## Four places to go wrong
#
# **Special tokens.** In the next cell the first and the last token are special, and have the smallest magnitudes. They must
# stay: [CLS] is the {term}`pooling token`, and without it there is nothing for the head to read. The table shows ranks for
# [CLS] and [SEP] too, behind those of all content tokens. They are never used, because the mask of content tokens leaves
# them out.
#
# **Ties.** Three content tokens have the same score. The rule above decides, and decides the same way on every machine.
#
# **The sign.** The token with the score $-0.9$ speaks loudest. Rank by $a$ instead of $|a|$, and it goes first.

# %%
content = torch.tensor([[False, True, True, True, True, True, False]])
toy = torch.tensor([[0.0, 0.2, 0.5, 0.2, -0.9, 0.2, 0.0]])
k = token_budget(content, 0.5, rounding="down")
by_size, by_sign = bottom_k_mask(toy.abs(), content, k)[0], bottom_k_mask(toy, content, k)[0]
yes = {True: "yes", False: ""}
pd.DataFrame(
    {
        "score": [f"{score:.1f}" for score in toy[0].tolist()],
        "content": [yes[it] for it in content[0].tolist()],
        "rank of |score|": ranks(toy.abs(), content)[0].tolist(),
        "masked, by |score|": [yes[it] for it in by_size.tolist()],
        "masked, by score": [yes[it] for it in by_sign.tolist()],
    },
    index=["[CLS]", "1", "2", "3", "4", "5", "[SEP]"],
).T  # fmt: skip

# %% [markdown]
# **Short texts.** How many tokens are 30 % of three? In training the package rounds down, so that a text of one token
# keeps its token. In the faithfulness metrics of {doc}`05_measuring_faithfulness` it rounds up, so that a short text still
# loses something. The table shows where the two differ.

# %%
lengths = range(1, 11)
row_of = torch.arange(10) < torch.tensor(list(lengths))[:, None]
pd.DataFrame(
    {rounding: token_budget(row_of, mask_ratio, rounding=rounding) for rounding in ("down", "up")},
    index=pd.Index(lengths, name="content tokens"),
).T.rename_axis(f"K = {mask_ratio:.0%}, rounded")

# %% [markdown]
# ## What a masked copy looks like
#
# Now real scores: Integrated Gradients ({doc}`04_attributions`) of the plain classifier, for the sentence above. Each line
# covers more of it.

# %%
sentence = "The trailer looked cheap and the poster was ugly, but I loved every minute of this film."
explanation = attribute(plain, [sentence])[0]
one = plain.tokenize([sentence])
scores = torch.zeros(one.input_ids.shape, device=plain.device)
scores[one.content_mask] = torch.tensor(explanation.scores, device=plain.device)
print(f"predicted: {plain.label_names[explanation.prediction]} ({explanation.probability:.2f})")
for ratio in (0.0, 0.2, 0.4, 0.6, 0.8):
    masked = weakest(scores, one.content_mask, ratio)
    shown = zip(explanation.tokens, masked[one.content_mask].tolist(), strict=True)
    line = " ".join("____" if gone else token for token, gone in shown)
    print(textwrap.fill(f"K = {ratio:3.0%}  {line}", 100, subsequent_indent=" " * 9))

# %% [markdown]
# The first line is what the classifier predicts. It may be wrong about this sentence, which says one thing and then
# another. The ranking is about what the *model* does, right or wrong.
#
# Read the last line. Which verdict would *you* give? And what does the classifier say? Step through it.
#
# The stepper strikes out the tokens at the top of a ranking. Here it gets the ranking upside down, so that the weakest go
# first. (It rounds up and writes the padding token, as the metrics do.)

# %%
upside_down = dataclasses.replace(explanation, scores=[-abs(score) for score in explanation.scores])
mask_ratio_stepper(plain, upside_down, (0.0, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0))

# %% [markdown]
# ```{admonition} Change this and predict before you run
# :class: tip
#
# Put a sentence of yours into `sentence`. Which three words will be the last to go? Write them down first.
# ```
#
# ## Is the ranking any good?
#
# One sentence proves nothing. Take many test texts, mask more and more of each, and watch the mean probability of the
# class that was predicted for the full text. Three rankings:
#
# - the **weakest first**, as in {eq}`eq-09-copy`;
# - the **strongest first**, the opposite;
# - a **random** order, five times: the {term}`control`.
#
# A ranking that knows something keeps the prediction longer than chance when the weakest go, and loses it sooner when the
# strongest go.

# %%
chosen = texts["test"].shuffle(seed=seed).select(range(min(max_examples, len(texts["test"]))))
batch = plain.tokenize(chosen["text"][:])


def probabilities(classifier, ids, attention_mask):
    with evaluating(classifier), torch.no_grad():
        return classifier(classifier.embed(ids), attention_mask).logits.softmax(dim=-1)


full = probabilities(plain, batch.input_ids, batch.attention_mask)
predicted = full.argmax(dim=-1)
attribution = score_batch(plain, batch, "integrated_gradients", predicted)
random_order = torch.Generator().manual_seed(seed)
rankings = {
    "weakest first": [attribution.abs()],
    "random": [torch.rand(attribution.shape, generator=random_order).to(plain.device) for _ in range(5)],
    "strongest first": [-attribution.abs()],
}


# %%
def after_masking(ranking, ratio, token_id):
    """For each text: the probability that is left of the prediction, and whether another class is predicted."""
    k = token_budget(batch.content_mask, ratio, rounding="down")
    left, changed = [], []
    for scores in rankings[ranking]:
        ids = replace(batch.input_ids, bottom_k_mask(scores, batch.content_mask, k), token_id)
        now = probabilities(plain, ids, batch.attention_mask)
        left.append(now.gather(1, predicted[:, None])[:, 0])
        changed.append((now.argmax(dim=-1) != predicted).float())
    return torch.stack(left).mean(dim=0).cpu(), torch.stack(changed).mean(dim=0).cpu()


grid = [step / 10 for step in range(11)]
curves = {
    name: [after_masking(name, ratio, plain.mask_id)[0].mean().item() for ratio in grid] for name in rankings
}

# %% mystnb={"image": {"alt": "Three lines over the share of masked tokens: the mean probability of the prediction when the weakest, random or the strongest tokens are masked first. All three start at the same point and end at the same point."}, "figure": {"name": "fig-09-curves", "caption": "The prediction of the plain classifier as more tokens are masked. The lines meet at 0, where nothing is masked, and at 100 %, where all is. The dotted line is the K of the settings."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
    styles = {
        "weakest first": (RECIPE_COLOURS["egt"], "-", "o"),
        "random": ("#6b6b6b", "--", "s"),
        "strongest first": (RECIPE_COLOURS["regex"], "-.", "^"),
    }
    for name, (colour, line, marker) in styles.items():
        axis.plot([100 * ratio for ratio in grid], curves[name], line, color=colour, marker=marker, label=name)
    axis.axvline(100 * mask_ratio, color="black", linestyle=":", linewidth=1)
    axis.set(xlabel="masked tokens, %", ylabel="probability of\nthe prediction", ylim=(0, 1.02))
    axis.legend(title="masked")
plt.show()

# %% [markdown]
# Look at {numref}`fig-09-curves` where the dotted line crosses *weakest first* and *random*. The distance between the two
# is what the attribution knows and chance does not. The next cell puts a 95 % interval around it, over the test texts.

# %%
left, changed = after_masking("weakest first", mask_ratio, plain.mask_id)
left_random, changed_random = after_masking("random", mask_ratio, plain.mask_id)
gap = paired_bootstrap(left.double(), left_random.double(), seed=seed)
verdict = "better than" if gap.low > 0 else "worse than" if gap.high < 0 else "not clearly different from"
print(f"K = {mask_ratio:.0%}, {len(left)} texts: the probability that is left, weakest first minus random:")
print(f"{gap.estimate:+.3f}, 95 % interval {gap.low:+.3f} to {gap.high:+.3f}: {verdict} chance")

# %% [markdown]
# ### What to put in their place
#
# {eq}`eq-09-copy` writes [MASK], which BERT-like encoders know from their pre-training. There are two other ways. You can
# write [PAD] instead, as the metrics of this book do by default. Or you can leave the tokens out, and the text gets
# shorter ({py:func}`regex_lib.masks.drop`).
#
# None of these copies is a text as people write it. The table gives the share of predictions that change. The `random`
# column says how much covering disturbs by itself. Only the difference from it speaks for the ranking.

# %%
def after_deletion(ranking, ratio):
    """The share of texts for which another class is predicted when tokens are left out."""
    k, shares = token_budget(batch.content_mask, ratio, rounding="down"), []
    for scores in rankings[ranking]:
        remove = bottom_k_mask(scores, batch.content_mask, k)
        now = probabilities(plain, *drop(batch.input_ids, batch.attention_mask, remove, plain.pad_id))
        shares.append((now.argmax(dim=-1) != predicted).float().mean().item())
    return sum(shares) / len(shares)


ways = {"[MASK]": plain.mask_id, "[PAD]": plain.pad_id}
table = pd.DataFrame(
    {
        name: [after_masking(name, mask_ratio, token)[1].mean().item() for token in ways.values()]
        + [after_deletion(name, mask_ratio)]
        for name in rankings
    },
    index=[*ways, "left out"],
)
table.rename_axis(f"changed predictions, K = {mask_ratio:.0%}").round(3)

# %% [markdown]
# ## With the package: the K sweep
#
# In a {py:class}`regex_lib.training.Recipe` the decisions are options. `mask_ratio` is $K$. `masking` is what covers:
# `"mask"`, `"pad"` or `"delete"`. `selector` is `"lowest"` or, as a control, `"random"`. The scores are computed anew in
# every training step, by the model as it is then.
#
# What is the copy for? In {term}`explanation-guided training` the model's attention on $\tilde x$ is pulled towards the
# attribution of $x$. {doc}`10_attention_and_attribution` takes that loss apart. Here you only turn one knob of it.
#
# The recipe that adds only this loss to cross-entropy is `egt` (explanation-guided training).
#
# Which $K$ is best? Train the plain classifier further, several times from the same weights: without guidance, with
# guidance at $K = 0$ (the copy is the text itself), and at two larger $K$, each with the *lowest* and with *random*
# tokens masked. Guidance may begin at once (`guidance_from=0.0`), because this model has learned something already.
#
# The last training is another control. It uses no attribution at all. It masks random tokens, and asks for the right
# label on the masked copy.

# %%
egt = find_recipe("egt").changed(guidance_from=0.0)
sweep = {
    ("no guidance", ""): find_recipe("vanilla"),
    ("guided, K = 0%", "nothing"): egt.changed(mask_ratio=0.0),
}
for ratio in (mask_ratio, other_ratio):
    for selector in ("lowest", "random"):
        recipe = egt.changed(mask_ratio=ratio, selector=selector)
        sweep[f"guided, K = {ratio:.0%}", selector] = recipe
sweep["random mask only", "random"] = find_recipe("random_mask_only").changed(mask_ratio=mask_ratio)

models = {}
for name, recipe in sweep.items():
    model = load_classifier("minilm", layers=layers, seed=seed)
    model.load_state_dict(plain.state_dict())
    train(model, texts, recipe, epochs=1, learning_rate=learning_rate / 2, max_train=guided_texts, **settings)
    models[name] = model
print(f"{len(models)} models, each trained further from the same weights")

# %% [markdown]
# The table has, for each model, its accuracy on all test texts; how faithful its Integrated Gradients are, by themselves
# and above the random attribution of the same model; and how many predictions change when random tokens are masked.
# Between models, compare the columns *above random*: the scale itself moves with the model
# ({doc}`05_measuring_faithfulness`).

# %%
def measured(model):
    report = evaluate_faithfulness(
        model, texts["test"], ["random", "integrated_gradients"], max_examples=max_examples, seed=seed
    )
    scores = report.table.set_index("attribution")
    ours, control = scores.loc["integrated_gradients"], scores.loc["random"]
    k = token_budget(batch.content_mask, mask_ratio, rounding="down")
    before, changed = probabilities(model, batch.input_ids, batch.attention_mask).argmax(dim=-1), []
    for scores in rankings["random"]:
        ids = replace(batch.input_ids, bottom_k_mask(scores, batch.content_mask, k), model.mask_id)
        after = probabilities(model, ids, batch.attention_mask).argmax(dim=-1)
        changed.append((before != after).float().mean().item())
    return {
        "accuracy": classify(model, texts["test"])["accuracy"],
        "sufficiency": ours["sufficiency"],
        "suff. above random": ours["sufficiency"] - control["sufficiency"],
        "comprehensiveness": ours["comprehensiveness"],
        "compr. above random": ours["comprehensiveness"] - control["comprehensiveness"],
        "changed by a random mask": sum(changed) / len(changed),
    }


results = pd.DataFrame({name: measured(model) for name, model in models.items()}).T
results.index.names = ["training", "masked"]
results.round(3)

# %% [markdown]
# How to read it. The two rows of one $K$ differ in nothing but *which* tokens were masked. If the `lowest` row is not
# better than its `random` row, the ranking is not what helped. And if `random mask only` is as good as the guided rows,
# then having seen masked texts is enough, and no explanation was needed.

# %%
def compare(one, other, metric):
    difference = results.loc[one, metric] - results.loc[other, metric]
    word = "higher" if difference > 0.05 else "lower" if difference < -0.05 else "about the same"
    return f"{metric} {word} ({difference:+.3f})"


METRICS = ("accuracy", "suff. above random", "compr. above random")
for ratio in (mask_ratio, other_ratio):
    name = f"guided, K = {ratio:.0%}"
    print(f"{name}, lowest against random:")
    print("   " + "; ".join(compare((name, "lowest"), (name, "random"), metric) for metric in METRICS))
name = f"guided, K = {mask_ratio:.0%}"
print(f"random mask only against {name}, lowest:")
print("   " + "; ".join(compare(("random mask only", "random"), (name, "lowest"), m) for m in METRICS))
print("These are single runs with one seed each: differences of a few hundredths are noise.")

# %% [markdown]
# ### The K sweep of the study
#
# The study of this book sweeps $K$ for the whole of REGEX, trained on 2,000 sentences of SST with three layers. Here [MASK]
# is the replacement in the evaluation too. The next cell shows the accuracy, the share of {term}`degenerate` texts, and
# what two attributions gain over the random one of the same model, Integrated Gradients and attention. Look at `seeds`
# first: with a single one, the intervals below are over the texts alone.

# %%
K_OF = {"vanilla": math.nan, "regex_k10": 0.1, "regex": 0.3, "regex_k50": 0.5, "regex_k70": 0.7}
SHORT = {"integrated_gradients": "IG", "attention": "attention"}
AOPC = ["sufficiency", "comprehensiveness"]
study = read_rows("sweeps/means", split="test")
study = study[(study["kind"] == "quality") | (study["replacement"] == "mask")]
scores = study[study["metric"].isin(AOPC)]
wide = scores.pivot_table(index="recipe", columns=["metric", "attribution"], values="mean")
by_k = pd.DataFrame({"seeds": scores.groupby("recipe")["seeds"].min()}).reindex(list(K_OF))
for name in ("accuracy", "degenerate"):
    by_k[name] = study[study["metric"] == name].groupby("recipe")["mean"].mean()
for metric, method in wide.columns:
    if method in SHORT:
        by_k[f"{SHORT[method]} {metric[:4]}."] = wide[metric, method] - wide[metric, "random"]
if len(scores):
    print(f"normalised scores above random, on {scores['examples'].max()} test sentences")
by_k.index = ["vanilla", *(f"K = {share:.0%}" for share in list(K_OF.values())[1:])]
by_k.dropna(subset="seeds").round(3)

# %% mystnb={"image": {"alt": "Two panels, sufficiency and comprehensiveness, over the share K of masked tokens: how much more Integrated Gradients and attention gain over random scores with REGEX than with plain training, with intervals."}, "figure": {"name": "fig-09-sweep", "caption": "The study's K sweep: the gain over random of a model trained with REGEX minus that of a plainly trained one, with 95 % intervals over seeds and sentences. At the grey line they are equal."}}
masked = {"minus": "random", "replacement": "mask"}
gains = read_rows("sweeps/differences", **masked, base="vanilla").query("recipe in @K_OF")
gains = gains.assign(K=gains["recipe"].map(K_OF).astype(float)).sort_values("K")
looks = {"integrated_gradients": ("-", "s", -0.6), "attention": ("--", "o", 0.6)}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), sharey=True, layout="constrained")
    for axis, metric in zip(axes, AOPC, strict=True):
        for method, (line, marker, aside) in looks.items():
            rows = gains[(gains["metric"] == metric) & (gains["attribution"] == method)]
            span = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
            axis.errorbar(100 * rows["K"] + aside, rows["difference"], yerr=span, fmt=line, marker=marker, capsize=3,
                          color=ATTRIBUTION_COLOURS[method], label=SHORT[method])
        if gains.empty:
            axis.text(0.5, 0.55, "not measured yet", ha="center", transform=axis.transAxes)
        axis.axhline(0, color="#6b6b6b", linewidth=1.5)
        axis.set(title=metric, xlabel="K, % of the tokens", xlim=(0, 80))
    axes[0].set_ylabel("gain over random,\nminus vanilla's")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
plt.show()

# %%
of_ig = read_rows("sweeps/differences", **masked, attribution="integrated_gradients")
of_ig = of_ig.assign(K=of_ig["recipe"].map(K_OF).astype(float)).dropna(subset="K").sort_values("K")
for base, theirs in (("vanilla", "vanilla's"), ("regex", "that of K = 30%")):
    for metric in AOPC:
        for row in of_ig[(of_ig["base"] == base) & (of_ig["metric"] == metric)].itertuples():
            word = "above" if row.low > 0 else "below" if row.high < 0 else "not clearly different from"
            interval = f"{row.difference:+.3f}, {row.low:+.3f} to {row.high:+.3f}"
            print(f"{metric}, K = {row.K:.0%}: IG {word} {theirs} ({interval})")

# %% [markdown]
# What would tell you that $K$ matters? A line in {numref}`fig-09-sweep` that bends, and a difference between two $K$, paired by
# seed and text, whose interval leaves out 0. Whether the intervals of the figure overlap does not decide it: each is of a
# difference from the same vanilla models, and much of its width is theirs ({doc}`05_measuring_faithfulness`). The printed
# lines compare each $K$ with 30 % itself. And mind what is *not* in the figure: all these models share the robustness
# terms, so a point above the grey line is not yet the merit of the mask. {doc}`11_regex` takes the parts away one at a
# time.

# %% [markdown]
# ## What can go wrong
#
# **Masked texts are out of distribution.** A plain classifier never saw [MASK] in its training. When its prediction
# changes, you cannot tell whether the masked words mattered or the gaps confused it {cite:p}`hase-etal-2021-ood`. Go back
# to your own sweep, and to its column `changed by a random mask`: no attribution is involved there. Compare the first row
# with the last, which was trained on randomly masked texts for a little while. Training on masked texts can change that
# column a lot, and with it every metric that masks {cite:p}`madsen-etal-2024-faithfulness`.
#
# So the control `random_mask_only` must stand beside every claim about explanation-guided training. The weights of this
# book's recipes were chosen by a search on SST, and that search contains the control. It was evaluated with [MASK], which
# is what these models saw in training. The next cell looks up what it said.

# %%
search = read_table("recipe_search")


def as_published(row):
    """Whether a row was measured with the weights that the named recipe has now."""
    recipe = RECIPES.get(row["recipe"])
    changes = json.loads(row["changes"]).items()
    return recipe is not None and all(getattr(recipe, name, None) == value for name, value in changes)


kept = search[search.apply(as_published, axis=1)]
kept = kept[kept["attribution"].isin(["random", "integrated_gradients"])]
wanted = ("vanilla", "egt", "regex", "random_mask_only")
shown = kept[kept["recipe"].isin(wanted)].set_index(["recipe", "attribution"])
print("not in the table:", ", ".join(name for name in wanted if name not in set(kept["recipe"])) or "nothing")
shown[["sufficiency", "comprehensiveness", "degenerate_share", "accuracy", "examples"]].sort_index().round(3)

# %%
means = shown.groupby(level=[0, 1])[["sufficiency", "comprehensiveness", "accuracy"]].mean()
for rival in ("regex", "vanilla"):
    if {rival, "random_mask_only"} <= set(means.index.get_level_values(0)):
        for metric in ("sufficiency", "comprehensiveness"):
            control, ours = (
                means.loc[(name, "integrated_gradients"), metric] - means.loc[(name, "random"), metric]
                for name in ("random_mask_only", rival)
            )
            gap = control - ours
            word = "above" if gap > 0.02 else "below" if gap < -0.02 else "about as high as"
            print(f"{metric}, IG minus random: random_mask_only {control:.3f} is {word} {rival} {ours:.3f}")

# %% [markdown]
# Where the control is above or about as high as `regex`, the honest sentence is: *training on randomly masked texts does
# about as well on this metric, and needs no attribution*. Where it is below, something else in `regex` adds to it. That
# table has one seed. The study with several is in {doc}`12_in_domain`, and {doc}`17_what_reproduced` sums up.
#
# **The ranking is the model's own.** In the first steps of training the model knows nothing about the task. Its
# attribution is close to noise, and the masks are close to random whatever `selector` says. That is one of two reasons why
# guidance starts late; the other is in {doc}`10_attention_and_attribution`.
#
# **A large K covers what matters.** {numref}`fig-09-curves` shows where the line *weakest first* begins to fall. Beyond
# that, the copy no longer says what the text says.
#
# **Pieces of words.** Masks here cover tokens. *"unhurried"* may lose one of its three pieces, and a masked syllable is an
# odd thing to read. The metrics can work on whole words (`level="word"`); the recipes mask tokens.
#
# ## Strengths and limitations
#
# - **Cheap to make.** Guidance needs the scores anyway. What the copy adds is one more pass through the model.
# - **Nothing to annotate.** No labels for it, and no human {term}`rationales <rationale>`.
# - **One size for all.** $K$ is the same for every text, whether three of its words decide or thirty.
# - **As good as its ranking.** A wrong attribution covers the wrong words. {doc}`11_regex` has the study's curve of what
#   happens as the attribution is degraded step by step.
#
# ## Summary
#
# Content tokens are ranked by the magnitude of their attribution; the lowest $\lfloor K n \rfloor$ are replaced by [MASK].
# Ties, special tokens, the sign and the rounding each need a rule. To see whether a ranking is any good, compare it with
# random masks. To see whether training with it is any good, compare it with training on random masks.
#
# ## Exercises
#
# ```{exercise} A mask by hand
# :label: ex-09-1
#
# Six tokens, all content, have the scores in `six`, in the next cell. $K$ is 50 %. Set `answer` to a list of six booleans:
# true where {eq}`eq-09-copy` writes [MASK]. Mind the ties.
# ```

# %%
answer = ...  # replace the dots
six = torch.tensor([[0.1, -0.7, 0.3, -0.1, 0.3, 0.3]])
every = torch.ones(1, 6, dtype=torch.bool)
check_answer(answer, bottom_k_mask(six.abs(), every, token_budget(every, 0.5, rounding="down"))[0].tolist())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Three tokens go. Two of them have the magnitude 0.1. Of the three with magnitude 0.3, an earlier one counts as stronger.
# ```
#
# ````{solution-start} ex-09-1
# :class: dropdown
# ````

# %%
answer = [True, False, False, True, False, True]
check_answer(answer, bottom_k_mask(six.abs(), every, token_budget(every, 0.5, rounding="down"))[0].tolist())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} The shortest text that loses a token
# :label: ex-09-2
#
# With $K$ = 30 %, how many content tokens must a text have for training to mask any of them? Set `answer` to the number.
# How many for the metrics, which round up?
# ```

# %%
answer = ...  # replace the dots
growing = torch.arange(20) < torch.arange(1, 21)[:, None]
check_answer(answer, 1 + int((token_budget(growing, 0.3, rounding="down") > 0).int().argmax()))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# {eq}`eq-09-k` has to reach 1.
# ```
#
# ````{solution-start} ex-09-2
# :class: dropdown
# ````
#
# $0.3 \cdot 4 = 1.2$ is the first product that is 1 or more. The metrics round up, so that a single token is enough.

# %%
answer = 4
check_answer(answer, 1 + int((token_budget(growing, 0.3, rounding="down") > 0).int().argmax()))

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} How much does the sign matter?
# :label: ex-09-3
#
# Somebody forgets the absolute value and masks the tokens with the lowest $a_i$. For what share of the texts in `batch`
# is the mask a different one, at the $K$ of the settings? Set `answer` to that share.
# ```

# %%
answer = ...  # replace the dots
budget = token_budget(batch.content_mask, mask_ratio, rounding="down")
right, wrong = (bottom_k_mask(each, batch.content_mask, budget) for each in (attribution.abs(), attribution))
check_answer(answer, (right != wrong).any(dim=1).float().mean().item())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `weakest` takes the magnitude. What do you have to give it, so that it ranks by the signed score? Or call
# `bottom_k_mask` twice, and compare row by row.
# ```
#
# ````{solution-start} ex-09-3
# :class: dropdown
# ````
#
# Shift the scores, so that none is negative and their order stays. The cell prints the share in which the masks differ.

# %%
scores = attribution.double()
masks = [weakest(each, batch.content_mask, mask_ratio) for each in (scores, scores - scores.min())]
answer = (masks[0] != masks[1]).any(dim=1).float().mean().item()
print(f"{answer:.0%} of the texts")
check_answer(answer, (right != wrong).any(dim=1).float().mean().item())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} What random masks spare
# :label: ex-09-4
#
# A text has 10 content tokens, and one of them decides. A random mask covers 3. How probable is it that the decisive
# token stays? Set `answer`. Then say why the random rows of the sweep are a strong control.
# ```

# %%
answer = ...  # replace the dots
ten = torch.ones(20000, 10, dtype=torch.bool)
draws = random_k_mask(ten, torch.full((20000,), 3), generator=torch.Generator().manual_seed(0))
check_answer(answer, 1 - draws[:, 0].double().mean().item(), tolerance=0.02)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Every token is as likely to be covered as any other.
# ```
#
# ````{solution-start} ex-09-4
# :class: dropdown
# ````
#
# Three of ten go, so that each stays with the probability $1 - 3/10$. Most random masks leave the decisive token in place,
# and a model that is trained on them sees, most of the time, a copy that still carries the decision. A perfect ranking
# would have made such copies too.

# %%
answer = 1 - 3 / 10
check_answer(answer, 1 - draws[:, 0].double().mean().item(), tolerance=0.02)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The masks are those of {cite:t}`li-etal-2023-regex`. Masking the least salient tokens in training goes back to
# saliency-guided training {cite:p}`ismail-etal-2021-improving`, which compares *predictions* on $x$ and $\tilde x$ instead of
# attention. {cite:t}`hase-etal-2021-ood` explain why masked inputs mislead, and {cite:t}`madsen-etal-2024-faithfulness` make
# a model measurable by training it on masked texts on purpose.
