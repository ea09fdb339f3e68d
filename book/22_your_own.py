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
# # Bring your own model and data
#
# **What you will learn.** How to use this library with texts, labels and a model of yours; how to move from
# `transformers.Trainer` to REGEX; how to take one loss, and nothing else, into a training loop of your own; and how to add
# an attribution and a metric.
#
# **Time.** Half an hour to read. The code takes about five minutes on a GPU.
#
# ## The question
#
# You have a file of customers' texts, and a classifier that says what each is about. You read *"The waiter dropped my camera
# into the soup."* as a text about restaurants. Does your model say so too, and because of *waiter* and *soup*? If it names
# another topic, the word scores say why. And is the explanation that you see more {term}`faithful` if you train with REGEX?
#
# Nothing here is new theory. This chapter is about the seams: where your things meet the library's, and what it says when
# they do not fit.
#
# ## Settings

# %% tags=["parameters"]
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
max_train: int = 800  # train on so many texts
epochs: float = 2
learning_rate: float = 1e-4
max_examples: int = 200  # measure on so many texts
seed: int = 0
output_dir: str = "runs/22"

# %%
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import datasets
import matplotlib.pyplot as plt
import pandas as pd
import torch
import torch.nn.functional as F
import transformers

from regex_lib.attributions import METHODS, attribute, logits_and_gradient, register, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.errors import UserError
from regex_lib.evaluation import METRICS, Metric, evaluate_faithfulness
from regex_lib.losses import virtual_adversarial_loss, virtual_adversarial_perturbation
from regex_lib.masks import ranks, token_budget
from regex_lib.models import load_classifier
from regex_lib.plots import attribution_switcher, figure_style
from regex_lib.training import Recipe, RegexTrainer, find_recipe

# %% [markdown]
# Files go to a folder of this chapter. Progress bars are off.

# %%
datasets.disable_progress_bars()
transformers.utils.logging.disable_progress_bar()
folder = Path(output_dir)
(folder / "data").mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Your own data
#
# Real files seldom have the columns that a library wants. So make a file that does not have them: the reviews of this book,
# with the **topic** instead of the sentiment, a text column of another name, and labels that are words.

# %%
parts = load_data("reviews")
export = pd.concat([part.to_pandas().assign(split=split) for split, part in parts.items()])
export = export.rename(columns={"text": "review", "domain": "topic"})[["review", "topic", "split"]]
export.to_csv(folder / "export.csv", index=False)
export.sample(3, random_state=seed)

# %% [markdown]
# {py:func}`regex_lib.data.load_data` takes a file (`.csv`, `.jsonl`, `.json` with one object a line, or `.parquet`), or a
# folder with files `train`, `validation` and `test` of any of these types. It wants two columns: `text`, and `label` with
# whole numbers from 0. It checks every row. If something is wrong, a `UserError` says what and where, in one line.


# %%
def tell(action, longest=300):
    """Do something, and print in one paragraph what is wrong with it."""
    try:
        action()
        print("nothing is wrong")
    except UserError as error:
        message = textwrap.shorten(str(error), longest, placeholder=" ...")
        print(textwrap.fill(message, 100, subsequent_indent="  "))


tell(lambda: load_data(folder / "export.csv"))
export.rename(columns={"review": "text", "topic": "label"}).to_csv(folder / "again.csv", index=False)
tell(lambda: load_data(folder / "again.csv"))

# %% [markdown]
# The second message asks for numbers. The order of the names is yours to choose, so the library does not guess it. Write
# down a list of names, and use each name's place in it. The files of the splits may be of different types.

# %%
names = ["films", "restaurants", "gadgets"]
ready = export.rename(columns={"review": "text"}).assign(label=export["topic"].map(names.index))
ready = {split: rows[["text", "label"]] for split, rows in ready.groupby("split")}
ready["train"].to_csv(folder / "data" / "train.csv", index=False)
ready["validation"].to_json(folder / "data" / "validation.jsonl", orient="records", lines=True)
ready["test"].to_parquet(folder / "data" / "test.parquet", index=False)

data = load_data(folder / "data")
train_split = data["train"].shuffle(seed=seed).select(range(min(max_train, len(data["train"]))))
test_split = data["test"].shuffle(seed=seed).select(range(min(max_examples, len(data["test"]))))
print({split: len(rows) for split, rows in data.items()}, "of which", len(train_split), "to train on")

# %% [markdown]
# From here on, everything takes rows of `text` and `label`. A `datasets.Dataset` that you made in another way will do as
# well.
#
# ## Your own model
#
# Say you are a user of `transformers`. You have a checkpoint with a head of three classes, and you train it as you always
# do. Here the checkpoint is MiniLM with a new head, written to a folder, so that the chapter runs without a network. Yours
# may come from the hub.

# %%
load_classifier("minilm", num_labels=len(names), layers=layers, seed=seed).save(folder / "start")

labels = {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}
model = transformers.AutoModelForSequenceClassification.from_pretrained(folder / "start", **labels)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "start")
encoded = train_split.rename_column("label", "labels").map(
    lambda rows: tokenizer(rows["text"], truncation=True), batched=True
)
settings = {
    "num_train_epochs": epochs, "per_device_train_batch_size": 8, "learning_rate": learning_rate,
    "warmup_steps": 0.1, "seed": seed, "report_to": "none", "disable_tqdm": True,
    "save_strategy": "no", "dataloader_pin_memory": torch.cuda.is_available(),
}
usual = transformers.TrainingArguments(str(folder / "usual"), logging_strategy="no", **settings)
trainer = transformers.Trainer(model, usual, train_dataset=encoded, processing_class=tokenizer)
trainer.remove_callback(transformers.PrinterCallback)
trainer.train()
model.save_pretrained(folder / "mine")
written = tokenizer.save_pretrained(folder / "mine")

# %% [markdown]
# So far, only the starting checkpoint came from this library; the training was plain `transformers`. Now open your folder
# with {py:func}`regex_lib.models.load_classifier`. A checkpoint with a head keeps its head and its label names.

# %%
mine = load_classifier(folder / "mine")
print(type(mine.model).__name__, "with", mine.num_labels, "classes:", ", ".join(mine.label_names))
text = "The waiter dropped my camera into the soup."
explanation = attribute(mine, [text])[0]
print(f"{mine.label_names[explanation.prediction]}, with probability {explanation.probability:.2f}")
print([(word, round(score, 2)) for word, score in explanation.words()])

# %% [markdown]
# A model that is in memory already needs no folder: {py:class}`regex_lib.models.TextClassifier` takes a model and its fast
# tokenizer, `TextClassifier(model, tokenizer)`. It is a `torch.nn.Module` with embeddings in, and logits and attention
# out. The {py:data}`regex_lib.models.FAMILIES` that it knows are those of {doc}`19_other_encoders`.
#
# ## From Trainer to RegexTrainer
#
# {py:class}`regex_lib.training.RegexTrainer` **is** a `transformers.Trainer`. This is what changes for you:
#
# | you had | you have |
# | --- | --- |
# | `Trainer(model, args, ...)` | `RegexTrainer(classifier, recipe, args, ...)` |
# | a tokenised data set, a collator | rows of `text` and `label` |
# | a `compute_metrics` of yours | accuracy, macro-F1 and {term}`calibration` |
# | one loss in the log | each term of the loss by its name |
#
# Everything else stays: callbacks, checkpoints, resuming, accumulation of gradients, mixed precision, several devices. The
# checkpoints are ordinary ones that `from_pretrained` opens.
#
# Which loss it trains for is up to a {py:class}`regex_lib.training.Recipe`. Take a named one, and change what you like.

# %%
recipe = find_recipe("regex").changed(mask_ratio=0.2, guidance_warmup=0.2)
guided = load_classifier(folder / "start", seed=seed)  # from where the other one started
guided.label_names = names
args = transformers.TrainingArguments(str(folder / "guided"), logging_steps=0.25, **settings)
trainer = RegexTrainer(
    guided, recipe, args, train_dataset=train_split, eval_dataset=data["validation"]
)
trainer.remove_callback(transformers.PrinterCallback)
trainer.train()
measured = trainer.evaluate()
guided.eval().save(folder / "regex")
print({name: round(measured[f"eval_{name}"], 3) for name in ("accuracy", "macro_f1", "ece")})
history = pd.DataFrame(trainer.state.log_history).set_index("step")
terms = ["cross_entropy", "igr", "vat", "kl", "kl_masked"]
history[[name for name in terms if name in history]].dropna(how="all").round(4)

# %% [markdown]
# `NaN` means that the term was off at that time; {doc}`11_regex` explains the schedule. `ece` is the calibration error,
# where lower is better. If you do not want to deal with `TrainingArguments`, call {py:func}`regex_lib.training.train`,
# which has defaults for all of them.
#
# ## Your own attribution
#
# Your model has three classes. *"Why this class?"* is then a vague question. *"Why this class and not the runner-up?"* is a
# sharper one {cite:p}`yin-neubig-2022-interpreting`. So explain the **margin** between the two:
#
# $$
# a_i = e_i \cdot \nabla_{e_i} \big( z_{\hat y}(x) - z_{c}(x) \big), \qquad c = \arg\max_{j \ne \hat y} z_j(x)
# $$ (eq-22-margin)
#
# with the logits $z$ and the embeddings $e$. It is InputXGradient ({doc}`04_attributions`) of a difference.
#
# An attribution is a function of a classifier, a batch of tokens and a class for each text. It returns a score for each
# token. {py:func}`regex_lib.attributions.register` gives it a name. From then on, whatever takes the name of an attribution
# takes yours.


# %%
METHODS.pop("margin_x_gradient", None)  # so that this cell can be run again


@register("margin_x_gradient")
def margin_x_gradient(classifier, batch, target):
    """The embeddings times the gradient of the target's lead over the runner-up."""
    embeddings = classifier.embed(batch.input_ids)
    of_target = logits_and_gradient(
        classifier.forward_func(), embeddings, batch.attention_mask, target
    )
    others = of_target[0].scatter(1, target[:, None], -torch.inf)
    _, of_other = logits_and_gradient(
        classifier.forward_func(), embeddings, batch.attention_mask, others.argmax(dim=1)
    )
    return (embeddings * (of_target[1] - of_other)).sum(dim=-1)

# %% [markdown]
# Test a new method against something that you know. The gradient of a difference is the difference of the gradients, so
# yours must be the package's `input_x_gradient` of one class minus that of the other.

# %%
batch = mine.tokenize(test_split["text"][:4])
with torch.no_grad():
    first, second = mine(mine.embed(batch.input_ids), batch.attention_mask).logits.topk(2, dim=1)[1].T
known = score_batch(mine, batch, "input_x_gradient", first)
known = known - score_batch(mine, batch, "input_x_gradient", second)
torch.testing.assert_close(score_batch(mine, batch, "margin_x_gradient", first), known)
print("the new attribution agrees with the difference of two old ones")

# %% [markdown]
# Then look at it. The first two buttons explain your model, the last two the one trained with REGEX.

# %%
shown = {}
for name, classifier in {"usual": mine, "regex": guided}.items():
    for method in ("margin_x_gradient", "integrated_gradients"):
        shown[f"{name}: {method}"] = attribute(classifier, [text], method)[0]
attribution_switcher(shown, names)

# %% [markdown]
# ## Your own metric
#
# A metric has two halves: its **plan**, which says what to remove, and a function of the model's answers. The evaluation
# collects the plans of all metrics and attributions, and runs each distinct input once.
#
# Your metric asks: if the half of the tokens with the highest scores goes, does the class change? Over many texts that is
# a share, and higher is better.


# %%
def upper_half(explained):
    """For each text, one removal: the half of its tokens that has the highest scores."""
    mask = explained.chunk.removals.features.mask
    return (ranks(explained.scores, mask) < token_budget(mask, 0.5)[:, None])[:, None]


def changes_class(explained, answers):
    """1 where the model predicts another class without them."""
    return (answers[:, 0].argmax(dim=-1) != explained.chunk.removals.target).double()


METRICS["flip_at_half"] = Metric(changes_class, plan=upper_half)

methods = ("random", "margin_x_gradient", "input_x_gradient", "integrated_gradients")
reports = {}
for name, classifier in {"usual": mine, "regex": guided}.items():
    reports[name] = evaluate_faithfulness(
        classifier, test_split, methods, ("flip_at_half", "comprehensiveness"), seed=seed
    )
columns = ["attribution", "flip_at_half", "comprehensiveness", "accuracy", "degenerate_share"]
tables = [report.table[columns].assign(model=name) for name, report in reports.items()]
pd.concat(tables).set_index(["model", "attribution"]).round(3)

# %% [markdown]
# Read it like any table of this book: the accuracy first, then each row against the `random` row of the *same* model, the
# {term}`control`. The next cell puts that into words.

# %%
for name, report in reports.items():
    table = report.table.set_index("attribution")
    over = table["flip_at_half"] - table.loc["random", "flip_at_half"]
    better = [method for method in methods[1:] if over[method] > 0]
    print(f"{name}: accuracy {table['accuracy'].iloc[0]:.3f}; above random: {', '.join(better) or 'none'}")
    print("  flip_at_half minus random:", {m: round(float(over[m]), 3) for m in methods[1:]})

# %% [markdown]
# ## One loss in your own loop
#
# You may want none of this: no trainer, no Hugging Face. The losses are pure functions of tensors. This one asks for
# embeddings, a mask of what is not padding, and a function that turns both into logits.
#
# So here is a model of a few lines, with a plain loop. It reads the same token ids. One line adds virtual adversarial
# training ({doc}`08_virtual_adversarial_training`): {py:func}`regex_lib.losses.virtual_adversarial_loss`.


# %%
class Small(torch.nn.Module):
    """The mean of the embeddings, a hidden layer, three classes."""

    def __init__(self, words, dim=32, classes=3):
        super().__init__()
        self.embed = torch.nn.Embedding(words, dim)
        hidden, out = torch.nn.Linear(dim, dim), torch.nn.Linear(dim, classes)
        self.head = torch.nn.Sequential(hidden, torch.nn.Tanh(), out)

    def forward(self, embeddings, attention_mask):
        """Embeddings and attention mask to logits."""
        mask = attention_mask[..., None]
        return self.head((embeddings * mask).sum(dim=1) / mask.sum(dim=1))


batch = mine.tokenize(train_split["text"])
ids, attended = batch.input_ids.cpu(), batch.attention_mask.cpu()
target = torch.tensor(train_split["label"])

# %% [markdown]
# The loop is the one you know. Look for `virtual_adversarial_loss`.


# %%
def own_loop(vat_weight, steps=60):
    """A small model after some steps on the whole training data."""
    torch.manual_seed(seed)
    small = Small(words=int(ids.max()) + 1)
    optimiser = torch.optim.Adam(small.parameters(), lr=0.02)
    for _ in range(steps):
        e = small.embed(ids)
        logits = small(e, attended)
        loss = F.cross_entropy(logits, target)
        if vat_weight:
            loss = loss + vat_weight * virtual_adversarial_loss(small, e, attended, logits, epsilon=0.3)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return small


batch = mine.tokenize(test_split["text"])
known = (batch.input_ids <= ids.max()) & batch.attention_mask
test_ids, test_mask = (batch.input_ids * known).cpu(), known.cpu()
small_models = {"without VAT": own_loop(0.0), "with VAT": own_loop(1.0)}
right = torch.tensor(test_split["label"])
for name, small in small_models.items():
    found = small(small.embed(test_ids), test_mask).argmax(dim=1)
    print(f"{name}: accuracy {(found == right).float().mean():.3f}")

# %% [markdown]
# Did the line do what it promises? Move the embeddings of the test texts in the direction that changes the prediction
# most and, as the control, in a random one. {numref}`fig-22-loop` shows how far the prediction moves.

# %% mystnb={"image": {"alt": "Lines over the size of the perturbation: the divergence from the clean prediction for the model with and without virtual adversarial training, in the worst direction and in a random one."}, "figure": {"name": "fig-22-loop", "caption": "How far the prediction of a small model moves, mean over the test texts, in the worst direction (solid) and in a random one (dotted)."}}
sizes = [0.0, 0.1, 0.2, 0.3, 0.4]
moved = {}
for name, small in small_models.items():
    e = small.embed(test_ids).detach()
    logits = small(e, test_mask).detach()
    for iterations, direction in ((1, "worst"), (0, "random")):
        generator = torch.Generator().manual_seed(seed)
        r = virtual_adversarial_perturbation(
            small, e, test_mask, logits, epsilon=1.0, power_iterations=iterations, generator=generator
        )
        after = [small(e + size * r, test_mask).log_softmax(dim=1) for size in sizes]
        log_p = logits.log_softmax(dim=1)
        moved[name, direction] = [
            F.kl_div(q, log_p, reduction="batchmean", log_target=True).item() for q in after
        ]
with figure_style():
    figure, axis = plt.subplots(figsize=(6, 3), layout="constrained")
    looks = {"without VAT": ("#6b6b6b", "o"), "with VAT": ("#0173b2", "s")}
    for (name, direction), values in moved.items():
        colour, marker = looks[name]
        line = "-" if direction == "worst" else ":"
        axis.plot(sizes[1:], values[1:], line, color=colour, marker=marker, label=f"{name}, {direction}")
    axis.set(xlabel="size of the change, share of the embeddings", ylabel="divergence, nats", yscale="log")
    figure.legend(loc="outside upper center", ncols=2)
plt.show()

# %%
for direction in ("worst", "random"):
    without, with_vat = (moved[name, direction][-1] for name in small_models)
    word = "less" if with_vat < without else "not less"
    print(f"{direction} direction: with VAT the prediction moves {word} ({with_vat:.4f} against {without:.4f} nats)")

# %% [markdown]
# The other losses come in the same way. {py:func}`regex_lib.losses.input_gradient_penalty` takes a loss for each text and
# the embeddings. {py:func}`regex_lib.losses.attention_attribution_divergence` takes any two rows of scores: it does not
# ask where your attention comes from.
#
# ## From the command line
#
# What you did in Python you can also do in a terminal. Each command lists its options with `--help`.
#
# ```bash
# regex-lib train --data runs/22/data --model runs/22/start --recipe regex --output runs/22/trained
# regex-lib evaluate runs/22/trained --data runs/22/data --metrics sufficiency,comprehensiveness
# regex-lib explain runs/22/trained "The waiter dropped my camera into the soup."
# ```
#
# The next cell runs `evaluate`, with the model that you trained above and on a few texts.

# %%
command = [sys.executable, "-m", "regex_lib", "evaluate", folder / "regex", "--data", folder / "data"]
command += ["--attributions", "random,input_x_gradient", "--max-examples", "8"]
plain = {name: value for name, value in os.environ.items() if "COLOR" not in name}
ran = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=plain)
print("\n".join(line.rstrip() for line in ran.stdout.splitlines() if line.strip()))
print("exit code", ran.returncode)

# %% [markdown]
# An attribution that you registered in a notebook is not known there: the command is another process. If something is
# wrong that you can fix, the command prints one line, the `UserError`, and ends with exit code 2.
#
# ## What can go wrong
#
# Here are errors that you may meet, and what they say. Long messages are cut here: where a name is wrong, the message goes
# on with all names that would be right.

# %%
wrong = {
    "a name": lambda: load_data("review"),
    "a folder": lambda: load_data(folder / "dat"),
    "a head": lambda: load_classifier(folder / "start", num_labels=2),
    "an option": lambda: find_recipe("regex").changed(mask_ration=0.2),
    "a number": lambda: Recipe(mask_ratio=30),
    "one text": lambda: attribute(mine, "a single text"),
    "a method": lambda: attribute(mine, [text], "integrated_gradient"),
    "a length": lambda: mine.tokenize([text], max_length=100_000),
    "a column": lambda: evaluate_faithfulness(mine, parts["test"].rename_column("text", "review")),
    "a label": lambda: evaluate_faithfulness(
        mine, datasets.Dataset.from_dict({"text": [text], "label": [3]})
    ),
}
for what, action in wrong.items():
    print(f"{what}: ", end="")
    tell(action, longest=130)

# %% [markdown]
# Some errors are silent. No message can tell you that
#
# - **the order of your label names is not that of your labels.** Look at a few predictions by name.
# - **your model has learned nothing.** Its explanations can still score well. Look at the accuracy.
# - **your texts are cut.** A `TrainingRun` counts `texts_cut`, a report says so in its `notes`.
# - **your metric rewards something other than faithfulness.** Try it on the `random` attribution first.
#
# ## A checklist
#
# 1. Columns `text` and `label`, labels from 0 without a gap, names in the same order.
# 2. A validation split, for every choice you make. The test split, once.
# 3. A fast tokenizer with a padding token; a model of a known family; a head with as many classes as there are labels.
# 4. The vanilla recipe first. Is its accuracy what you expect?
# 5. Then `regex`, with the same start, texts and seed.
# 6. `evaluate_faithfulness` on both, with the `random` row, an attribution that did not guide the training, and the share
#    of {term}`degenerate` texts.
# 7. The controls `regex_random_mask` and `regex_shuffled_target`.
# 8. More than one seed before you believe a difference: `regex-lib study` runs a grid of them.
#
# ## Strengths and limitations
#
# - **Any sequence classifier of a known family** can be explained and measured without training it again.
# - **Losses and metrics are plain functions** that know nothing of Hugging Face.
# - **Single labels only.** Multi-label and regression heads are not supported.
# - **Pairs of texts**, as in entailment, are not a column of their own: join them into one `text`.
#
# ## Summary
#
# You brought a file with the wrong columns, a checkpoint with a head, an attribution, a metric and a loop. The library asked
# for rows of `text` and `label`, and for embeddings, a mask and logits. Everything else stayed yours.
#
# ## Exercises
#
# ```{exercise} Another file
# :label: ex-22-1
#
# Write `raw` to a file `tweets.jsonl` in `folder` that {py:func}`regex_lib.data.load_data` accepts, with 0 for `bad` and 1
# for `good`. Load it, and set `answer` to the list of labels of its split `train`.
# ```

# %%
raw = [("good", "Sunny again."), ("bad", "The train is late."), ("good", "Coffee!")]
answer = ...  # replace the dots
written = (folder / "tweets.jsonl").exists()
check_answer(answer if written else ..., [1, 0, 1])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# One JSON object a line, with the keys `text` and `label`. `pandas` writes that with `orient="records", lines=True`.
# ```
#
# ````{solution-start} ex-22-1
# :class: dropdown
# ````

# %%
rows = [{"text": tweet, "label": int(mood == "good")} for mood, tweet in raw]
pd.DataFrame(rows).to_json(folder / "tweets.jsonl", orient="records", lines=True)
answer = list(load_data(folder / "tweets.jsonl")["train"]["label"])
check_answer(answer, [1, 0, 1])

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A recipe of your own
# :label: ex-22-2
#
# Make a recipe that is `regex` without virtual adversarial training. A fifth of the tokens goes, and they are deleted
# instead of replaced by [MASK]. Set `answer` to it.
# ```

# %%
answer = ...
two = {name: getattr(find_recipe("regex"), name) for name in ("igr_weight", "kl_weight")}
expected = Recipe(**two, mask_ratio=0.2, masking="delete")
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# A term of weight 0 is left out. The fields are in the documentation of {py:class}`regex_lib.training.Recipe`.
# ```
#
# ````{solution-start} ex-22-2
# :class: dropdown
# ````

# %%
answer = find_recipe("regex").changed(vat_weight=0.0, mask_ratio=0.2, masking="delete")
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A control of your own
# :label: ex-22-3
#
# Many texts say early what they are about. Write an attribution that looks at nothing but the position: the first content
# token of a text gets the score 1, the second 1/2, the third 1/3, and so on. It needs no model. If it beats your own
# attribution, be worried. Set `answer` to its scores for `batch`.
# ```

# %%
batch = mine.tokenize(["A short one.", "And a slightly longer text."])
answer = ...
place = batch.content_mask.cumsum(dim=1).clamp(min=1)
expected = batch.content_mask / place
check_answer(answer, expected)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `cumsum` over the content mask counts the content tokens.
# ```
#
# ````{solution-start} ex-22-3
# :class: dropdown
# ````

# %%
METHODS.pop("earliest", None)


@register("earliest")
def earliest(_classifier, batch, _target):
    """1 over the place among the content tokens."""
    return batch.content_mask / batch.content_mask.cumsum(dim=1).clamp(min=1)


answer = score_batch(mine, batch, "earliest", torch.zeros(2, dtype=torch.long))
control = evaluate_faithfulness(mine, test_split, ("random", "earliest"), ("flip_at_half",), seed=seed)
print(control.table.set_index("attribution")["flip_at_half"].round(3).to_dict())
check_answer(answer, expected)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# The trainer and the models are those of {cite:t}`wolf-etal-2020-transformers`. {cite:t}`yin-neubig-2022-interpreting` make
# the case for explaining one prediction against another. What it takes to call an explanation faithful is discussed by
# {cite:t}`jacovi-goldberg-2020-towards`.
