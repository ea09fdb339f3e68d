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
# # Data card: the corpus `reviews`
#
# `reviews` is a corpus of short reviews of films, restaurants and gadgets, written for this book, one by one. No review
# was generated from a template or taken from anywhere. It is dedicated to the public domain
# ([CC0 1.0](https://creativecommons.org/publicdomain/zero/1.0/)): use it for anything.
#
# It has what a study of explanations needs:
#
# - a **label**, negative (0) or positive (1), balanced in every split;
# - a **rationale**: the words that carry the verdict, as a careful reader would highlight them;
# - a **phenomenon**: how the verdict is expressed. Most of them are hard for a model that only counts words;
# - **minimal pairs**: the same review twice, with the smallest edit that flips its label;
# - **three domains**, to train in one and test in another.
#
# Every number on this page is the output of a cell.

# %% tags=["parameters"]
layers: "Optional[int]" = None  # layers of the encoder; None keeps all
epochs: float = 5
seed: int = 0

# %%
import re
from collections import Counter

import datasets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from regex_lib.data import load_data
from regex_lib.evaluation import classify
from regex_lib.models import load_classifier
from regex_lib.plots import figure_style
from regex_lib.training import train

datasets.disable_progress_bars()
DOMAINS = ["films", "restaurants", "gadgets"]
reviews = load_data("reviews")
rows = pd.concat([split.to_pandas().assign(split=name) for name, split in reviews.items()], ignore_index=True)

# %% [markdown]
# ## What is in it
#
# Reviews by domain and by label, in each split:

# %%
pd.crosstab(rows.domain, [rows.split, rows.label])[["train", "validation", "test"]]

# %% [markdown]
# The phenomena:
#
# | phenomenon | how the verdict is expressed |
# | --- | --- |
# | plain | said directly |
# | negation | a word or its effect is turned round: *no*, *not*, *won't find* |
# | contrast | praise and blame, joined by *but*, *yet* or *however*; the second part decides |
# | concession | something is granted first: *although*, *despite*, *for all its* |
# | comparative | by comparison with something else: *better than*, *worse than* |
# | intensifier | the degree decides: *far too*, *scarcely*, *wildly* |
# | mixed | good and bad points side by side, with a verdict on balance |
# | irony | the words say one thing and mean another |
# | implicit | nothing is judged; what happened tells |
#
# How many reviews of each there are:

# %%
pd.crosstab(rows.phenomenon, rows.domain, margins=True, margins_name="all")

# %% [markdown]
# One review of each phenomenon, with its label and with its rationale in capitals:

# %%
for name, group in rows[rows.split == "train"].groupby("phenomenon"):
    row = group[group.text.str.len() < 110].iloc[0]
    marked = [word.upper() if chosen else word for word, chosen in zip(row.tokens, row.rationale, strict=True)]
    print(f"{name:12} {'+' if row.label else '-'} {' '.join(marked)}")

# %% [markdown]
# A minimal pair:

# %%
for text, label in rows[rows["pair"] == rows["pair"].dropna().iloc[0]][["text", "label"]].itertuples(index=False):
    print("+" if label else "-", text)

# %% [markdown]
# ## How it reads
#
# Length in words, the share of words in the rationale, and how varied the language is. The type/token ratio is the number of
# different words over the number of all words; it is given for the whole corpus, and as the mean over single reviews.

# %%
tokens = rows.text.str.lower().apply(lambda text: re.findall(r"[a-z0-9']+", text))
pd.Series(
    {
        "reviews": len(rows),
        "minimal pairs": rows["pair"].nunique(),
        "words": tokens.str.len().sum(),
        "mean length": tokens.str.len().mean(),
        "share in the rationale": np.concatenate(rows.rationale.to_list()).mean(),
        "type/token ratio, corpus": len(set(tokens.explode())) / tokens.str.len().sum(),
        "type/token ratio, review": tokens.apply(lambda words: len(set(words)) / len(words)).mean(),
    }
).round(3).to_frame("value")

# %% mystnb={"image": {"alt": "Stacked histogram of the lengths of the reviews in words, with one colour for each of the three domains."}, "figure": {"caption": "Lengths of the reviews in words."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(7, 3.2), layout="constrained")
    sns.histplot(
        rows.assign(words=rows.tokens.str.len()),
        x="words",
        hue="domain",
        multiple="stack",
        binwidth=5,
        palette="colorblind",
        ax=axis,
    )
    axis.set(xlabel="words", ylabel="reviews")
plt.show()

# %% [markdown]
# How often does a phrase come back? Here are the commonest runs of five words and the commonest openings, with the number of
# reviews that contain them. Of a minimal pair, only one review is counted.

# %%
singles = tokens[~rows["pair"].duplicated() | rows["pair"].isna()]
runs = Counter(gram for words in singles for gram in set(zip(*(words[i:] for i in range(5)), strict=False)))
openings = Counter(tuple(words[:3]) for words in singles)
for title, counts in (("five words", runs), ("opening", openings)):
    print(title, [(" ".join(gram), count) for gram, count in counts.most_common(4)])

# %% [markdown]
# ## How hard it is
#
# A model that only counts words and pairs of words, a **bag of words**, should find something, but not everything. A
# fine-tuned encoder should do better. Accuracy on the test split (the bag of words gets the validation texts to train
# on as well):


# %%
def bag_of_words(train_rows, test_rows):
    vectors = TfidfVectorizer(ngram_range=(1, 2)).fit(train_rows["text"])
    fitted = LogisticRegression(C=10, max_iter=1000).fit(vectors.transform(train_rows["text"]), train_rows["label"])
    return fitted.score(vectors.transform(test_rows["text"]), test_rows["label"])


def encoder(splits):
    classifier = load_classifier("minilm", layers=layers, seed=seed)
    run = train(classifier, splits, "vanilla", epochs=epochs, batch_size=16, learning_rate=1e-4, seed=seed)
    print(f"{len(splits['train'])} texts, {run.seconds:.0f} s on {run.device}")
    return classifier


both = datasets.concatenate_datasets([reviews["train"], reviews["validation"]])
whole = encoder(reviews)
accuracy = {"bag of words": bag_of_words(both, reviews["test"]), "minilm": classify(whole, reviews["test"])["accuracy"]}
pd.Series(accuracy).round(3).to_frame("accuracy")

# %% [markdown]
# By phenomenon, for the encoder:

# %%
by_phenomenon = {
    name: classify(whole, reviews["test"].filter(lambda row, name=name: row["phenomenon"] == name))["accuracy"]
    for name in sorted(rows.phenomenon.unique())
}
pd.Series(by_phenomenon).sort_values().round(2).to_frame("accuracy")

# %% [markdown]
# ## Across domains
#
# Each row is a domain to train on, and each column one to test on. What is off the diagonal is {term}`out of domain`.

# %%
parts = {domain: load_data(f"reviews:{domain}") for domain in DOMAINS}
fitted = {domain: encoder(parts[domain]) for domain in DOMAINS}
across = {
    "bag of words": {d: {e: bag_of_words(parts[d]["train"], parts[e]["test"]) for e in DOMAINS} for d in DOMAINS},
    "minilm": {d: {e: classify(fitted[d], parts[e]["test"])["accuracy"] for e in DOMAINS} for d in DOMAINS},
}
pd.concat({name: pd.DataFrame(table).T for name, table in across.items()}, axis=1).round(2)

# %% [markdown]
# How much does a model lose out of domain? For the encoder: accuracy in the test domain when trained there, minus the
# accuracy when trained on the domain of the row. One seed and a small test split: small differences are noise.

# %%
matrix = pd.DataFrame(across["minilm"]).T
(matrix.apply(lambda column: column[column.name] - column)).round(2)

# %% [markdown]
# ## Do the rationales carry the label?
#
# Train and test on the rationale words alone and, as the {term}`control`, on as many random words of each review.


# %%
def keep(row, chosen):
    return {"text": " ".join(word for word, mark in zip(row["tokens"], chosen, strict=True) if mark)}


def random_words(row):
    draw = np.random.default_rng(int(re.sub(r"\D", "", row["id"])) + seed)
    return keep(row, draw.permutation(row["rationale"]))


subsets = {
    "rationale words": reviews.map(lambda row: keep(row, row["rationale"])),
    "random words": reviews.map(random_words),
}
kept = {name: classify(encoder(splits), splits["test"])["accuracy"] for name, splits in subsets.items()}
pd.Series({"all words": accuracy["minilm"], **kept}).round(3).to_frame("accuracy")

# %% [markdown]
# ## Use and limits
#
# **Use it** to learn, to test code, and to compare methods where real data may not be shipped.
#
# **Do not** take results on it for results on real reviews. It is small. Its authors knew what it is for, so its hard cases
# are more frequent and cleaner than in the wild. Each of its rationales is one careful opinion: they measure whether an
# explanation is {term}`plausible`, and never whether it is {term}`faithful`. The language is English, with British and
# American spelling, and the topics are those that its authors thought of.
#
# **Columns**: `id`, `domain`, `text`, `label`, `tokens` (words, split at spaces), `rationale` (0 or 1 per word),
# `phenomenon`, `pair` (the id of a minimal pair, or none).
