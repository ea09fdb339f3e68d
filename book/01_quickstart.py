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
# # Quickstart: are explanations faithful?
#
# **What you will learn.** How to train a plain text classifier and a REGEX classifier, how to ask both which words
# their predictions rest on, and how to measure whether the answer is true.
#
# **Time.** A few minutes on a GPU, or on two CPU cores with the small sizes.
#
# ## The question
#
# A classifier calls a review negative. An attribution method highlights *"dull"* and *"overlong"*. That looks right to
# you. But does the *model* rest on these words?
#
# An explanation that you find convincing is **plausible**. One that tells what the model does is **faithful**. The two
# are different things, and only the second can be tested without asking people: remove the highlighted words, and see
# whether the prediction goes with them {cite:p}`deyoung-etal-2020-eraser`.
#
# REGEX {cite:p}`li-etal-2023-regex` trains a classifier so that its explanations become more faithful. It adds three terms to the
# cross-entropy:
#
# - **input gradient regularisation** keeps predictions from changing abruptly;
# - **virtual adversarial training** keeps them the same under the worst small change of the input;
# - a **KL divergence** pulls the model's attention towards its own attribution, on the text and on a copy of it in which
#   the unimportant words are masked.
#
# You will train with and without them, and compare.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "reviews"  # a data set's name, or a file or folder of your own
model: str = "minilm"  # minilm, bert, roberta, distilbert, or a hub id
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
epochs: float = 5
learning_rate: float = 1e-4
max_examples: "Optional[int]" = None  # explain so many test texts; None takes all
seed: int = 0
output_dir: str = "runs/quickstart"

# %%
import textwrap
from pathlib import Path

import pandas as pd
from IPython.display import display

from regex_lib.attributions import attribute
from regex_lib.data import load_data
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.models import load_classifier
from regex_lib.plots import faithfulness_bars, heatmap
from regex_lib.training import train

folder = Path(output_dir)
folder.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The data
#
# `reviews` is a small corpus written for this book: films, restaurants and gadgets. Each review is negative (0) or
# positive (1). Many are hard on purpose. They negate, they concede, they are ironic.

# %%
reviews = load_data(data)
print({name: len(split) for name, split in reviews.items()})
for row in reviews["test"].select(range(3)):
    print(textwrap.fill(f"{row['label']}  {row['text']}", 88, subsequent_indent="   "))

# %% [markdown]
# ## Two classifiers
#
# Both start from the same pre-trained encoder and the same new classification head, and see the same texts in the same
# order. Only the **recipe** differs: `vanilla` is cross-entropy alone, `regex` adds the three terms.

# %%
settings = {
    "epochs": epochs,
    "batch_size": 16,
    "learning_rate": learning_rate,
    "seed": seed,
}
classifiers, runs = {}, {}
for recipe in ("vanilla", "regex"):
    classifier = load_classifier(model, layers=layers, seed=seed)
    runs[recipe] = train(classifier, reviews, recipe, folder / recipe, **settings)
    classifiers[recipe] = classifier
    print(f"{recipe}: {runs[recipe].seconds:.0f} s on {runs[recipe].device}")

# %% [markdown]
# Every term of the loss is logged by its name. `kl` and `kl_masked` appear half-way: guiding attention from the first step
# would pull it towards the attributions of a model that has learned nothing yet.

# %%
history = pd.DataFrame(runs["regex"].history).set_index("step")
history.drop(columns=["grad_norm", "learning_rate"]).round(4)

# %% [markdown]
# ## Is it faithful?
#
# Take the prediction for a text. Rank the words by an attribution. Keep only the top few: if the prediction stays, they
# were **sufficient**. Remove them: if the prediction goes, they were **comprehensive**. Both are scaled so that 0 is what
# an empty text gives and 1 is the full effect, and averaged over four sizes of the top. Higher is better for both.
#
# The `random` row is the control. An attribution that does not beat it says nothing about the model.

# %%
reports = {}
for recipe, classifier in classifiers.items():
    report = evaluate_faithfulness(
        classifier, reviews["test"], max_examples=max_examples, seed=seed
    )
    report.to_file(folder / f"{recipe}.csv")
    display(report.table.style.format(precision=3).set_caption(recipe).hide(axis="index"))
    reports[recipe] = report

# %% mystnb={"image": {"alt": "Bars of sufficiency and comprehensiveness for five attributions, the vanilla and the regex model side by side, with 95 % intervals."}, "figure": {"caption": "Faithfulness of five attributions to the two models. The lines are 95 % intervals over the test texts."}}
faithfulness_bars(reports)

# %% [markdown]
# Read such a table with care:
#
# - **Within one model** the rows can be compared: which attribution tells most about this model?
# - **Between models** they cannot be compared at once. The scale depends on how far each model's prediction falls when
#   everything is removed, so a change of the model moves even the `random` row {cite:p}`edin-etal-2025-normalized`.
# - **`degenerate_share`** is the share of texts for which an empty input gets the same prediction as the full text.
#   There the scores say nothing. Where that share is large, the table says little.
# - **One seed is an anecdote.** The study in this book uses several, with controls.
#
# The next cell takes the first step towards a fair comparison: it subtracts each model's own `random` row.

# %%
gains = []
for recipe, report in reports.items():
    means = report.table.set_index("attribution")[["sufficiency", "comprehensiveness"]]
    gains.append((means - means.loc["random"]).drop("random").add_prefix(f"{recipe}: "))
pd.concat(gains, axis=1).round(3)

# %% [markdown]
# ## Look at it
#
# Orange words speak for the explained class, blue words against it. The deeper the colour, the stronger the word. The
# attribution is Integrated Gradients, the default.

# %%
text = "A wonderful cast and lovely songs cannot save this boring, overlong mess."
explanations = {recipe: attribute(classifiers[recipe], [text])[0] for recipe in classifiers}
picture = heatmap(explanations, ["negative", "positive"])
picture.save(folder / "heatmap.html")
picture

# %% [markdown]
# ## What can go wrong
#
# - **A model that has learned nothing can score well.** Always look at the accuracy first; it stands in the same table.
# - **Guidance from the first step** can cost accuracy while the scores rise. Try it in the second exercise.
# - **Masked texts look strange to a model that never saw any.** Part of what you measure is that strangeness, and
#   training on masked texts changes it. The control `regex_random_mask` masks *any* words instead of the unimportant
#   ones {cite:p}`hase-etal-2021-ood`.
#
# ## Summary
#
# You trained two classifiers that differ in nothing but their loss, explained both with five attributions, and measured
# how faithful the explanations are, with a control, and with the accuracy beside each number.
#
# ## Exercises
#
# **1. Your own text.** Explain a review of yours with `scaled_attention` and with `integrated_gradients`. Do they agree?
#
# **2. Guide too early.** Make a recipe that guides from the first step: `find_recipe("regex").changed(guidance_from=0.0)`.
# Train it and look at its accuracy.
#
# **3. Another replacement.** Pass `replacement="mask"` to `evaluate_faithfulness`. Which rows move, and why?
#
# ```{admonition} Solution to 1
# :class: dropdown
#
#     for method in ("scaled_attention", "integrated_gradients"):
#         display(heatmap(attribute(classifiers["regex"], ["Your text."], method)))
# ```
#
# ```{admonition} Solution to 2
# :class: dropdown
#
#     from regex_lib.training import find_recipe
#
#     early = find_recipe("regex").changed(guidance_from=0.0)
#     print(train(load_classifier(model, layers=layers, seed=seed), reviews, early, **settings).validation)
# ```
#
# ```{admonition} Solution to 3
# :class: dropdown
#
#     evaluate_faithfulness(classifiers["regex"], reviews["test"], replacement="mask", max_examples=100).table
#
# `[PAD]` was never attended to in training; `[MASK]` was, in the masked copies. The baseline of the attributions is made
# of `[PAD]` too.
# ```
#
# ## Further reading
#
# The method is {cite:t}`li-etal-2023-regex`; the metrics come from {cite:t}`deyoung-etal-2020-eraser`,
# {cite:t}`carton-etal-2020-evaluating` and {cite:t}`chrysostomou-aletras-2022-empirical`.
