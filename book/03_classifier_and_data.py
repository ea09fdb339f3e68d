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
# # A classifier and its data
#
# **What you will learn.** What a text classifier reads and how it decides: tokens, embeddings, attention. How to train one.
# And how to tell whether it has learned anything, whether its probabilities can be believed, and whether another seed would
# give the same.
#
# **Time.** Half an hour to read. The code takes a few minutes on a GPU; the line under the title says how long it took here.
#
# ## The question
#
# > Battery life is nothing like what they advertise.
#
# A classifier says: negative. {doc}`In the last chapter <02_faithful_and_plausible>` you asked which words it rests on. But
# it has never seen a word. It gets numbers. Some stand for pieces of words, and some for nothing at all. And how much should
# you care about the reasons of a classifier that is right only by luck?
#
# Every explanation in this book is about a classifier like the one that you take apart now.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
layers: "Optional[int]" = None  # keep only the first so many layers; None keeps all
fewer_layers: int = 2  # of the smaller classifier, to compare with
epochs: float = 3
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_test: int = 1000  # measure on so many texts
seeds: int = 3  # train so many times, with seeds 0, 1, 2...

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

from regex_lib.attributions import attribute
from regex_lib.book import check_answer
from regex_lib.data import describe, find_source, load_data
from regex_lib.metrics import classification_report
from regex_lib.models import load_classifier
from regex_lib.plots import figure_style, heatmap
from regex_lib.training import train

# %% [markdown]
# ## The data
#
# A data set for classification is a list of texts, each with a **label**: the number of its class. The package has a
# catalogue of those that this book uses.

# %%
describe()[["name", "labels", "where from"]]

# %% [markdown]
# - `reviews` was written for this book and is bundled with it. The {doc}`data_card` describes it.
# - `sst`, `imdb` and `yelp` come from the Hugging Face hub, at a fixed commit, so that everybody reads the same rows
#   {cite:p}`socher2013recursive,maas2011learning,zhang2015character`.
# - The others you have to get yourself. Set the environment variable `REGEX_DATA` to the folder that they are in.
#
# {py:func}`regex_lib.data.load_data` takes one of these names, or a file or folder of your own with columns `text` and
# `label`. It gives three **splits**: one to train on, one to choose settings with (validation), and one to report on (test).
# A score on texts that you trained on, or chose settings by, says little about new texts.

# %%
splits = load_data(data)
test = splits["test"].shuffle(seed=0).select(range(min(max_test, len(splits["test"]))))
print(data, {name: len(split) for name, split in splits.items()}, "measured on:", len(test))
for row in test.select(range(3)):
    print(row["label"], row["text"][:90])
classes = max(splits["train"]["label"]) + 1
shares = np.bincount(test["label"][:], minlength=classes) / len(test)
print("share of each class:", shares.round(2).tolist())

# %% [markdown]
# The last line matters. A classifier that always names the most common class gets that share right without reading a word.
#
# ## Tokens, and which of them count
#
# A **tokenizer** cuts a text into pieces from a fixed vocabulary, its {term}`tokens <token>`, and gives each its number. A
# common word is one token, a rare one several.
#
# Texts are processed in batches: $B$ texts make one table of $B \times T$ numbers. Shorter texts are filled up with `[PAD]`.
# `[CLS]` and `[SEP]` mark where a text begins and ends. They are not part of it either.

# %%
classifier = load_classifier("minilm", num_labels=classes, layers=layers, seed=0)
texts = ["Battery life is nothing like what they advertise.", "Unhurried, and never dull."]
batch = classifier.tokenize(texts)
pieces = [classifier.tokenizer.convert_ids_to_tokens(row) for row in batch.input_ids.tolist()]
pd.DataFrame({
    "first text": pieces[0], "second text": pieces[1], "id": batch.input_ids[1].tolist(),
    "attention_mask": batch.attention_mask[1].tolist(), "content_mask": batch.content_mask[1].tolist(),
})

# %% [markdown]
# Two masks run through everything that follows. The last two columns show them for the second text.
#
# - The **attention mask** is false at padding. What it hides, the model never sees.
# - The **content mask** $m$ is true only at {term}`content tokens <content token>`, which are neither padding nor special. Only
#   they come from the text, so only they are ranked, removed and counted. $n = \sum_i m_i$ is the length of a text.
#
# From scratch, the content mask asks of each number whether it belongs to a special token:

# %%
def content_mask_by_hand(tokenizer, texts):
    input_ids = tokenizer(texts, padding=True, return_tensors="pt").input_ids
    special = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id])
    return ~torch.isin(input_ids, special)


by_hand = content_mask_by_hand(classifier.tokenizer, texts)
torch.testing.assert_close(by_hand, batch.content_mask.cpu())
print("content tokens:", by_hand.sum(dim=1).tolist(), "of", list(by_hand.shape))

# %% [markdown]
# ## Embeddings: what can be differentiated
#
# A token number cannot be changed by a little: 4895 and 4896 are two unrelated pieces. So the model starts by looking the
# tokens up in a table that has a row of $D$ numbers for each entry of the vocabulary. The rows for the tokens of a batch are
# its {term}`embeddings <embedding>` $e$, of shape $B \times T \times D$.
#
# Embeddings *can* be changed by a little, so one can take gradients. When this book asks how the input matters, it takes the
# gradient with respect to $e$, position by position. If a word occurs twice, each place has its own gradient.

# %%
table = classifier.model.get_input_embeddings().weight
embeddings = classifier.embed(batch.input_ids).detach()
torch.testing.assert_close(embeddings, table[batch.input_ids].detach())
lengths = embeddings.norm(dim=-1)[batch.content_mask]
print("shape:", tuple(embeddings.shape), " lengths of the vectors:", *(f"{x:.2f}" for x in lengths.aminmax()))

# %% [markdown]
# The two lengths are the shortest and the longest of these tokens' vectors. Remember that they differ when, in
# {doc}`08_virtual_adversarial_training`, you have to say how large a *small* change is.
#
# ## Attention: what the head reads
#
# The embeddings go through several layers. In each, every token has a **state**, a vector of $D$ numbers. It looks at all
# tokens and mixes what it sees into its own state {cite:p}`vaswani-etal-2017-attention`. In the end the **classification
# head** reads the state of one token only, the {term}`pooling token`. In BERT and its relatives it is `[CLS]`, the first
# {cite:p}`devlin-etal-2019-bert`.
#
# How does the pooling token look? In the last layer it has a vector $q$, the **query**, and each token $i$ has a vector
# $k_i$, its **key**. The better the two match, the larger is the share $\alpha_i$ of its {term}`attention` that the token gets:
#
# $$
# \alpha_i = \frac{1}{H} \sum_{h=1}^{H} \operatorname{softmax}_i\!\left(\frac{q_h \cdot k_{h,i}}{\sqrt{D_h}}\right)
# $$ (eq-03-attention)
#
# The {term}`softmax` is taken over the tokens that the attention mask lets it see. The layer does this in $H$ **heads**, each
# with its own queries and keys of $D_h = D / H$ numbers, and $\alpha$ is their mean. This is what the book calls *attention*:
# one number for each token, $B \times T$ in all. From scratch, with the weights of the last layer:

# %%
last = classifier.model.base_model.encoder.layer[-1]
seen = []
watch = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
with torch.no_grad():
    output = classifier(embeddings, batch.attention_mask, return_attention=True)
watch.remove()


def by_head(states):  # (batch, tokens, dim) to (batch, heads, tokens, dim of a head)
    return states.unflatten(-1, (classifier.model.config.num_attention_heads, -1)).transpose(1, 2)


attend = last.attention.self
query, keys = by_head(attend.query(seen[0]))[:, :, :1], by_head(attend.key(seen[0]))
scores = (query @ keys.transpose(-1, -2)).squeeze(2) / keys.shape[-1] ** 0.5
scores = scores.masked_fill(~batch.attention_mask[:, None], -torch.inf)
torch.testing.assert_close(scores.softmax(dim=-1).mean(dim=1).detach(), output.attention)
share = (output.attention * batch.content_mask).sum(dim=1)
for name, total in (("all tokens", output.attention.sum(dim=1)), ("content tokens", share)):
    print(f"attention on {name}:", *(f"{value:.2f}" for value in total.tolist()))

# %% [markdown]
# The rest goes to `[CLS]` and `[SEP]`, which are where many heads look by default. Padding gets exactly 0. This is the
# attention *before* the classifier has been trained for its task.
#
# ## Training
#
# The head gives a {term}`logit` $z_c$ for each class, and the softmax turns the logits into probabilities $p_c$. Training
# lowers the {term}`cross-entropy`: how surprised the model is by the right class, mean over the texts.
#
# $$
# L_{ce} = -\frac{1}{B} \sum_{b=1}^{B} \log p_{y_b}(x_b)
# $$ (eq-03-ce)
#
# A model that gives all $C$ classes the same probability has a cross-entropy of $\log C$.
#
# {py:func}`regex_lib.training.train` with the {term}`recipe` `vanilla` lowers it, and does nothing else. The classifier starts
# from MiniLM {cite:p}`wang-etal-2020-minilm`, a small encoder that was trained on a large amount of text; only the head is new.
#
# You will vary two things: how many layers are kept, and the **seed**, from which the head's first weights and the order of
# the texts are drawn. First come all the runs, then one of them in detail.

# %%
def predict(classifier, batch, attended=None):
    attended = batch.attention_mask if attended is None else attended
    with torch.no_grad():
        logits = classifier(classifier.embed(batch.input_ids), attended).logits
    return logits.double().softmax(dim=-1).cpu()


def trained(layers, seed):
    classifier = load_classifier("minilm", num_labels=classes, layers=layers, seed=seed)
    run = train(
        classifier, {"train": splits["train"]}, "vanilla", epochs=epochs, batch_size=16,
        learning_rate=learning_rate, max_train=max_train, seed=seed,
    )
    return classifier, run


def probabilities_of(classifier):
    groups = [test["text"][start : start + 64] for start in range(0, len(test), 64)]
    return torch.cat([predict(classifier, classifier.tokenize(group)) for group in groups])


# %%
depth = classifier.model.config.num_hidden_layers
labels = torch.tensor(test["label"][:])
probabilities, classifiers, histories = {}, {}, {}
for kept in (depth, fewer_layers):
    for seed in range(seeds):
        classifiers[kept, seed], run = trained(kept, seed)
        histories[kept, seed] = pd.DataFrame(run.history)
        probabilities[kept, seed] = probabilities_of(classifiers[kept, seed])
print(f"{len(classifiers)} classifiers, the last trained in {run.seconds:.0f} s on {run.device}")

# %% mystnb={"image": {"alt": "The cross-entropy of each training run over its steps, solid lines for the deeper classifier and dashed lines for the smaller one, with a dotted line at the cross-entropy of chance."}, "figure": {"name": "fig-03-loss", "caption": "Cross-entropy during training, a line for each seed. The dotted line is chance: all classes equally probable."}}
with figure_style():
    figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
    for (kept, seed), history in histories.items():
        style = {"color": "#0173b2", "ls": "-"} if kept == depth else {"color": "#de8f05", "ls": "--"}
        label = f"{kept} layer{'s' if kept > 1 else ''}" if seed == 0 else None
        axis.plot(history["step"], history["cross_entropy"], linewidth=1.6, label=label, **style)
    axis.axhline(np.log(classes), color="black", linestyle=":", label="chance")
    axis.set(xlabel="step", ylabel="cross-entropy (nats)", ylim=(0, None))
    axis.legend(frameon=False, loc="lower left")
plt.show()

# %% [markdown]
# ## Padding must not matter
#
# A text should get the same prediction alone and in a batch with a longer one. This is easily broken by mistake, and then an
# explanation is about the batch and not about the text. Test it:

# %%
short = "Unhurried, and never dull."
classifier = classifiers[depth, 0]
alone, beside = classifier.tokenize([short]), classifier.tokenize([short, " ".join(texts * 4)])
torch.testing.assert_close(predict(classifier, alone)[0], predict(classifier, beside)[0], atol=1e-5, rtol=1e-4)
everything = torch.ones_like(beside.attention_mask)
moved = (predict(classifier, beside, everything)[0] - predict(classifier, alone)[0]).abs().max()
print(f"with padding hidden: the same. With padding attended: off by {moved:.4f}")

# %% [markdown]
# ## How good is it?
#
# Three numbers say how good a classifier is. The first stands beside the faithfulness scores in this book; the package's
# reports have all three.
#
# - **Accuracy**: the share of right predictions.
# - **Macro-F1**: for each class, the harmonic mean of precision and recall, then the mean over the classes. A classifier that
#   always names the most common class scores 0 for all the others, so its macro-F1 is low.
# - **Expected calibration error** (ECE): whether the probabilities mean what they say {cite:p}`guo-etal-2017-calibration`.
#   Sort the $N$ predictions by their **confidence** $\max_c p_c$ into bins $B_1 \ldots B_M$. In each bin the mean confidence
#   and the accuracy should agree:
#
# $$
# \mathrm{ECE} = \sum_{m=1}^{M} \frac{|B_m|}{N}\, \big|\, \mathrm{acc}(B_m) - \mathrm{conf}(B_m) \,\big|
# $$ (eq-03-ece)

# %%
def macro_f1_by_hand(predicted, labels, classes):
    scores = []
    for c in range(classes):
        hits = ((predicted == c) & (labels == c)).sum()
        scores.append(2 * hits / ((predicted == c).sum() + (labels == c).sum()).clamp(min=1))
    return float(sum(scores) / classes)


def ece_by_hand(probabilities, labels, bins=15):
    confidence, predicted = probabilities.max(dim=-1)
    gaps = 0.0
    for m in range(bins):
        inside = (confidence > m / bins) & (confidence <= (m + 1) / bins)
        if inside.any():
            correct = (predicted == labels)[inside].double()
            gaps += inside.double().mean() * (correct.mean() - confidence[inside].mean()).abs()
    return float(gaps)


p, report = probabilities[depth, 0], classification_report(probabilities[depth, 0], labels)
f1 = macro_f1_by_hand(p.argmax(dim=-1), labels, classes)
torch.testing.assert_close(f1, report["macro_f1"], atol=1e-6, rtol=0)
torch.testing.assert_close(ece_by_hand(p, labels), report["ece"])
print({name: round(value, 3) for name, value in report.items()})

# %% [markdown]
# In the package, {py:func}`regex_lib.metrics.classification_report` gives all three, and
# {py:func}`regex_lib.metrics.expected_calibration_error` the last alone.
#
# ## What a model at chance looks like
#
# The {term}`control` of a trained classifier is one that has learned nothing. Here are three: the same model before training;
# one that always names the most common class, with probability 1; and one that names a class at random, with a probability
# just above that of the others, as is right for a guess.

# %%
draw = torch.Generator().manual_seed(0)
always = torch.nn.functional.one_hot(torch.full_like(labels, int(shares.argmax())), classes).double()
coin = torch.nn.functional.one_hot(torch.randint(classes, labels.shape, generator=draw), classes)
coin = (coin + 99.0) / (classes * 99.0 + 1.0)  # just enough to name a class
untrained = probabilities_of(load_classifier("minilm", num_labels=classes, layers=layers, seed=0))
models = {"trained": p, "untrained": untrained, "always the most common": always, "a coin": coin}
rows = {name: classification_report(q, labels) | {"confidence": q.amax(1).mean().item()} for name, q in models.items()}
pd.DataFrame(rows).T.round(3)

# %%
share = shares.max()
error = 1.96 * (share * (1 - share) / len(test)) ** 0.5
print(f"chance: {share:.3f}, and by luck up to about {share + error:.3f} on {len(test)} texts")
for name, row in rows.items():
    print(f"{name}: {'above chance' if row['accuracy'] > share + error else 'not above chance'}")

# %% [markdown]
# The `untrained` row is a real classifier with random weights in its head. Look at the columns one by one:
#
# - The **accuracy** of a coin is not exactly one in $C$, but near it. How near depends on the number of test texts.
# - The **macro-F1** gives away a classifier that always says the same.
# - The **ECE** of the coin is as small as luck allows. It knows nothing, *and says so*: good calibration without accuracy. The
#   classifier that always names the most common class is sure each time, and often wrong. So look at both numbers: neither
#   replaces the other.
#
# A model at chance still has attributions and heat maps, and it can have high faithfulness scores.
# {doc}`05_measuring_faithfulness` shows one.

# %% mystnb={"image": {"alt": "Two reliability diagrams side by side, of the trained and of the untrained classifier: accuracy against confidence, one marker per bin with its size showing how many texts are in it, and the diagonal of perfect calibration."}, "figure": {"name": "fig-03-reliability", "caption": "Accuracy of the predictions in each bin of confidence. The larger a marker, the more texts are in the bin. On the dashed line a probability means what it says; below it the classifier is too sure of itself."}}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3.3), sharey=True, layout="constrained")
    for axis, name in zip(axes, ("trained", "untrained"), strict=True):
        confidence, predicted = models[name].max(dim=-1)
        bins = (confidence * 15).ceil()
        points = pd.DataFrame({"confidence": confidence, "right": (predicted == labels).double(), "bin": bins})
        means = points.groupby("bin").agg(x=("confidence", "mean"), y=("right", "mean"), n=("right", "size"))
        axis.plot([0, 1], [0, 1], color="black", linestyle="--", linewidth=1)
        sizes = 15 + 300 * means["n"] / len(points)
        axis.scatter(means["x"], means["y"], s=sizes, color="#0173b2", edgecolor="black", alpha=0.8)
        axis.set(title=name, xlabel="confidence", xlim=(1 / classes - 0.05, 1.03), ylim=(-0.03, 1.03))
    axes[0].set_ylabel("accuracy")
plt.show()

# %% [markdown]
# ## Once is an anecdote: seeds and layers
#
# All of this was one training run. Another seed gives another classifier, from the same data and by the same recipe. How much
# the two differ can be surprising {cite:p}`dodge-etal-2020-finetuning`. Predict before you look: is the difference between the
# two depths larger than the difference between two seeds of the same depth?

# %%
spread = pd.DataFrame([
    {"layers": kept, "seed": seed, **classification_report(q, labels)}
    for (kept, seed), q in probabilities.items()
])
spread.round(3).style.hide(axis="index").format(precision=3)

# %%
by_depth = spread.groupby("layers")["accuracy"].agg(["mean", "std", "min", "max"])
print(by_depth.round(3).to_string())
gap = by_depth.loc[depth, "mean"] - by_depth.loc[fewer_layers, "mean"]
widest = (by_depth["max"] - by_depth["min"]).max()
print(f"\n{depth} layers minus {fewer_layers}: {gap:+.3f}; widest spread over seeds: {widest:.3f}")
print("the depths differ by more than the seeds" if abs(gap) > widest else "the seeds differ by as much as the depths")
one, two = (probabilities[depth, seed].argmax(dim=-1) for seed in (0, seeds - 1))
print(f"seeds 0 and {seeds - 1} predict differently on {(one != two).double().mean():.1%} of the texts")

# %% [markdown]
# Look at the macro-F1 before you read the gap. Where it is about a third, a classifier of two classes names one class
# for every text. Its accuracy is then that class's share of the data, and the seed decides which class. Such a row says
# that this depth has not learned with so few texts and steps. It does not say how good the depth is.
#
# The standard deviation of a few seeds is itself a rough number. And there is a second source of chance, the test texts: with
# $N$ of them, an accuracy $A$ has a standard error of $\sqrt{A (1 - A) / N}$. Before you call one recipe better than another,
# its lead has to be larger than what either source explains. The studies in this book use several seeds, the same texts for
# all recipes, and intervals.
#
# Do two seeds give the same *reasons*? Here are two classifiers that differ in nothing but the seed, and one text. The method
# is Integrated Gradients, which {doc}`the next chapter <04_attributions>` takes apart. Orange words speak for the predicted
# class, blue words against it.

# %%
known = find_source(data)
sentence = "Battery life is nothing like what they advertise, but I still love it."
heatmap({
    f"seed {seed}": attribute(classifiers[depth, seed], [sentence])[0] for seed in dict.fromkeys((0, seeds - 1))
}, label_names=known.label_names if known else None)

# %% [markdown]
# Look first whether the two agree on the prediction, then whether they agree on the words.
# {doc}`14_randomisation_and_stability` turns this picture into a test.
#
# ## What can go wrong
#
# - **Explaining a model at chance.** Look at the accuracy first, against the share of the most common class.
# - **Choosing on the test split.** Whatever you try out, try it on the validation split.
# - **Counting `[CLS]` and `[SEP]` as content.** They can get high scores, but nobody wrote them.
# - **Attending to padding.** The test above takes a few lines. Run it on your own model.
# - **Taking gradients of the embedding table instead of the embeddings.** Then equal words share a gradient, even across the
#   texts of a batch.
# - **Using one seed.** It is the cheapest way to a positive result.
#
# ## Strengths and limitations
#
# A small encoder trains in minutes and has all the parts that the large ones have: layers, heads, attention, a pooling token,
# a seed. What you learn here carries over. The numbers do not: a large encoder is more accurate, and what holds for a small
# one has to be measured again. With `layers=None` and a GPU you have all of MiniLM. {doc}`19_other_encoders` goes on to larger
# encoders.
#
# ## Summary
#
# A classifier reads the embeddings of tokens. Only the content tokens come from the text. The head reads one token, and that
# token's attention is a distribution over all tokens. Any number about a classifier needs its accuracy beside it, the accuracy
# of chance for comparison, and the same number from other seeds.
#
# ## Exercises
#
# ```{exercise} What counts
# :label: ex-03-1
#
# The next cell prints the tokens of two texts. In one a word is hidden: `[MASK]` stands in its place, and counts as content.
# How many content tokens does each text have? Set `answer` to a list of two numbers.
# ```

# %%
answer = ...  # replace the dots
hidden = classifier.tokenize(["A [MASK] film.", "Unwatchable"])
for row in hidden.input_ids.tolist():
    print(classifier.tokenizer.convert_ids_to_tokens(row))
check_answer(answer, hidden.content_mask.sum(dim=1).tolist())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Punctuation is content. `[CLS]`, `[SEP]` and `[PAD]` are not.
# ```
#
# ````{solution-start} ex-03-1
# :class: dropdown
# ````

# %%
answer = [
    sum(piece not in ("[CLS]", "[SEP]", "[PAD]") for piece in classifier.tokenizer.convert_ids_to_tokens(row))
    for row in hidden.input_ids.tolist()
]
check_answer(answer, hidden.content_mask.sum(dim=1).tolist())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Less sure, and as right
# :label: ex-03-2
#
# Divide the logits of a classifier by a **temperature** of 2. Up to a constant that the softmax ignores, logits are logarithms
# of probabilities, so take `p.log()` of the trained classifier's `p`. What are its new accuracy and its new ECE? Set `answer`
# to a list of the two. Which of them can never change, and why?
# ```

# %%
answer = ...  # replace the dots
cooler = (p.log() / 2).softmax(dim=-1)
expected = classification_report(cooler, labels)
check_answer(answer, [expected["accuracy"], expected["ece"]])

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `p.log().softmax(dim=-1)` gives `p` again. Divide in between, and use `ece_by_hand`.
# ```
#
# ````{solution-start} ex-03-2
# :class: dropdown
# ````
#
# The largest logit stays the largest, so the accuracy stays. The confidence falls. That lowers the ECE of a classifier that
# was much too sure of itself, and raises that of one that was not.

# %%
softer = torch.softmax(p.log() / 2, dim=-1)
answer = [(softer.argmax(dim=-1) == labels).double().mean().item(), ece_by_hand(softer, labels)]
print(f"ECE before {report['ece']:.3f}, after {answer[1]:.3f}")
check_answer(answer, [expected["accuracy"], expected["ece"]])

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} How many texts do you need?
# :label: ex-03-3
#
# One classifier has an accuracy of 0.80, another of 0.82. On how many test texts is the difference as large as two standard
# errors of an accuracy of 0.80? Set `answer` to the number.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, next(n for n in range(1, 10_000) if 2 * (0.8 * 0.2 / n) ** 0.5 <= 0.02 + 1e-12))

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Solve $0.02 = 2 \sqrt{0.8 \cdot 0.2 / N}$ for $N$.
# ```
#
# ````{solution-start} ex-03-3
# :class: dropdown
# ````
#
# $N = 0.8 \cdot 0.2 / 0.01^2$. If both classifiers are tested on the same texts, a paired test can need fewer: what is hard
# for one is often hard for the other.

# %%
answer = round(0.8 * 0.2 / 0.01**2)
print(answer, "texts; this chapter measured on", len(test))
check_answer(answer, next(n for n in range(1, 10_000) if 2 * (0.8 * 0.2 / n) ** 0.5 <= 0.02 + 1e-12))

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# {cite:t}`vaswani-etal-2017-attention` for attention, {cite:t}`devlin-etal-2019-bert` for encoders that are trained first and
# taught a task afterwards, {cite:t}`wang-etal-2020-minilm` for the small one used here. {cite:t}`guo-etal-2017-calibration`
# on calibration, and {cite:t}`dodge-etal-2020-finetuning` on what a seed can do.
