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
# # Other encoders, other sizes, and decoders
#
# **What you will learn.** What an attribution method must know about an architecture, and how to check that it is right
# for yours; whether robust training does the same for a shallow and a deeper model; and which questions only larger models
# can answer.
#
# **Time.** Twenty minutes of reading. The code takes a few minutes on a GPU.
#
# ## The question
#
# Everything so far was shown on MiniLM, a small relative of BERT {cite:p}`wang-etal-2020-minilm`. You work with RoBERTa,
# ModernBERT or Qwen. Does what you have read apply to you? That is two questions:
#
# - Does the **code** still compute what it says? Here you can be certain, and the first half of the chapter shows how.
# - Does the **finding** still hold? That is the paper's second open question: do model size and architecture matter? To
#   answer it you need trained models of each kind, and a chapter can only make a start.
#
# ## Settings
#
# The next cell holds everything you may want to change. The defaults are meant for a GPU. The data must have
# two classes.

# %% tags=["parameters"]
data: str = "sst"  # a data set's name, or a file or folder of your own
depths: list = [1, 2, 3, 6]  # layers of MiniLM to keep
epochs: float = 3
learning_rate: float = 1e-4
max_train: "Optional[int]" = None  # train on so many texts; None takes all
max_examples: int = 300  # explain so many test texts
seed: int = 0

# %%
import warnings

import matplotlib.pyplot as plt
import pandas as pd
import tokenizers
import torch
import transformers

from regex_lib.attributions import attribute, baseline_embeddings, score_batch
from regex_lib.book import check_answer
from regex_lib.data import load_data
from regex_lib.errors import UserError
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.models import FAMILIES, TextClassifier, load_classifier
from regex_lib.plots import RECIPE_COLOURS, figure_style
from regex_lib.study import read_table
from regex_lib.training import train

# %% [markdown]
# ## What a method must know about an architecture
#
# Erasure and gradients need nothing but a function from embeddings to logits. Other methods must know more:
#
# - **Where the head reads.** Most encoders put a special token first and read its state. In a decoder a token sees only
#   what came before it, so the head reads the **last token that is not padding**. This is the {term}`pooling token`. Get it
#   wrong, and a padded batch is explained by its padding.
# - **Where attention is.** Some families compute it in a common function, and some in their own (DeBERTa). And some models
#   average over all tokens before the head, so that no single row is *the* attention (ModernBERT can be configured so).
# - **What each operation is.** Exact {py:func}`regex_lib.attributions.deep_lift` has a rule for every activation,
#   normalisation and product. An operation without a rule must raise an error, and not pass as if it were linear.
#
# A **family** is a group of models with the same architecture. `regex_lib` knows these:

# %%
print(", ".join(sorted(FAMILIES)))

# %% [markdown]
# ## A model of each family, without a download
#
# A check of the *code* needs no trained weights. Random ones are better: large random weights leave no part of the model
# so close to zero that a mistake in it could hide. Each model here is 32 wide, has two layers, and is built from its
# family's own configuration.
#
# First a tokenizer of whole words. For an encoder it adds a special token at the start and one at the end; for a decoder it
# adds none.

# %%
WORDS = sorted({word for row in load_data("reviews")["test"] for word in row["text"].lower().split()})
ENCODER_SPECIALS = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]",
                    "mask_token": "[MASK]"}
DECODER_SPECIALS = {"pad_token": "<pad>", "unk_token": "<unk>", "eos_token": "<end>"}


def word_tokenizer(decoder):
    """A tokenizer of whole words; for an encoder it adds a first and a last special token."""
    specials = DECODER_SPECIALS if decoder else ENCODER_SPECIALS
    vocabulary = {word: number for number, word in enumerate([*specials.values(), *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=specials["unk_token"]))
    words.normalizer = tokenizers.normalizers.Lowercase()
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    if not decoder:
        words.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[(name, vocabulary[name]) for name in ("[CLS]", "[SEP]")])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=64, **specials)


# %% [markdown]
# Then the models. Some families have names of their own for the sizes, and DeBERTa gets the options of its published
# models: it adds no position to an embedding.

# %%
SIZES = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 80}
OTHER_NAMES = {
    "deberta-v2": SIZES | {"position_biased_input": False, "relative_attention": True, "pos_att_type": ["p2c", "c2p"],
                           "position_buckets": 16, "norm_rel_ebd": "layer_norm", "share_att_key": True},
    "distilbert": {"dim": 32, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 80},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_positions": 80},
    "llama": SIZES | {"num_key_value_heads": 2}, "qwen2": SIZES | {"num_key_value_heads": 2},
    "qwen3": SIZES | {"num_key_value_heads": 2, "head_dim": 8},
}
DECODERS = ("gpt2", "llama", "qwen2", "qwen3")
SHOWN = ("bert", "roberta", "distilbert", "electra", "deberta-v2", "modernbert", *DECODERS)


# %%
def tiny_classifier(kind):
    """A model of a family with random weights, large enough that its predictions differ."""
    torch.manual_seed(seed)
    tokenizer = word_tokenizer(kind in DECODERS)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id")
               for name in ("pad", "bos", "eos", "cls", "sep")}
    config = transformers.AutoConfig.for_model(
        kind, num_hidden_layers=2, vocab_size=len(tokenizer), num_labels=2, **special,
        **OTHER_NAMES.get(kind, SIZES))
    config.initializer_range = 0.2
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    return TextClassifier(model.eval(), tokenizer)


families = {kind: tiny_classifier(kind) for kind in SHOWN}

# %% [markdown]
# ## The same calls, checked
#
# Three texts of different lengths make one padded batch. For each family the next cell checks:
#
# - **padding**: a text alone and the same text in the batch must get the same logits;
# - **attention**: the row of the pooling token must sum to 1 over the tokens, and be 0 on padding;
# - **completeness** ({doc}`04_attributions`): the scores $a_i$ of exact DeepLift, and of Integrated Gradients (IG) with
#   100 steps, must sum to the change of the explained logit $f_c$ between the {term}`baseline` $b$ and the text's
#   embeddings $e$. The baseline is the padding token's embedding, and for IG a second one, the mean of all embeddings.
#   The table shows by how much they miss, relative to that change, and how often the package warned:
#
# $$
# \text{error} = \frac{\left| \sum_i a_i - \big( f_c(e) - f_c(b) \big) \right|}{\left| f_c(e) - f_c(b) \right|}
# $$ (eq-19-error)
#
# Its column `InputXGrad` is another check: how large the scores $e_i \cdot g_i$ are, with the gradient $g_i$ of the
# logit, as a share of what they could be, $\sum_i |e_i \cdot g_i| \, / \, \sum_i \lVert e_i \rVert \lVert g_i \rVert$.

# %%
TEXTS = ["the food was good", "a dull film with a great cast and no story to tell at all", "never again"]
COMPLETE = {
    "DeepLift": ("deep_lift", {"baseline": "pad"}),
    "IG": ("integrated_gradients", {"baseline": "pad", "n_steps": 100}),
    "IG from the mean": ("integrated_gradients", {"baseline": "mean", "n_steps": 100}),
}


def error_of(classifier, batch, target, name, options):
    """By how much an attribution misses the change of the logit, at most."""
    with torch.no_grad():
        points = classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch, options["baseline"])
        end, start = (classifier(point, batch.attention_mask).logits for point in points)
    change = (end - start).gather(1, target[:, None])[:, 0]
    scores = score_batch(classifier, batch, name, target, **options)
    return ((scores.sum(dim=1) - change).abs() / change.abs()).max().item()


# %%
def check(classifier):
    """What a family's model must fulfil, by how much its scores miss, and how often the package warns."""
    batch = classifier.tokenize(TEXTS)
    embeddings, real = classifier.embed(batch.input_ids).detach(), batch.attention_mask
    with torch.no_grad():
        output = classifier(embeddings, real, return_attention=True)
        alone = classifier.tokenize(TEXTS[:1])
        single = classifier(classifier.embed(alone.input_ids), alone.attention_mask).logits
    torch.testing.assert_close(output.logits[:1], single, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(output.attention.sum(dim=1), torch.ones(len(TEXTS)).to(output.attention))
    assert (output.attention[~real] == 0).all()
    target = output.logits.argmax(dim=1)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        row = {f"{column} misses by": error_of(classifier, batch, target, *how) for column, how in COMPLETE.items()}
        largest = embeddings.norm(dim=-1) * score_batch(classifier, batch, "gradient_norm", target)
        row["InputXGrad"] = (score_batch(classifier, batch, "input_x_gradient", target).abs().sum() / largest.sum()).item()
    reads = "last token" if classifier.pooling_weights(real)[0].argmax() else "first token"
    return row | {"warnings": len(told), "head reads": reads}


# %%
checked = pd.DataFrame({kind: check(classifier) for kind, classifier in families.items()}).T
checked.style.format({f"{column} misses by": "{:.0e}" for column in COMPLETE} | {"InputXGrad": "{:.0e}"})

# %% [markdown]
# DeepLift is exact up to rounding, or it is wrong. That is what makes it a test of the code: a single rule that does not
# fit the architecture makes the error large. Integrated Gradients takes a finite number of steps along its path, so it has a
# real error, which depends on how curved the model is.
#
# Llama, Qwen and DeBERTa, started from the padding token, are another matter: the sum is off by about the whole
# change, or by more. In these models the embedding of the padding token is zero, no position is added to it, and the first thing
# they do is to divide each state by its size. So the logit jumps at the very start of the path, where the vector 0 gets
# a direction, and no point of the quadrature lies there. More steps do not help. The package warns of it, and says what
# does: a baseline that has a direction, such as the mean of all embeddings. Compare the two columns.
#
# DeBERTa and ModernBERT go one step further: all that they see of an embedding is its direction. Then the gradient is at
# right angles to the embedding, and **input times gradient is 0 by construction**. What is left to rank is rounding and
# a constant that keeps the division from failing. The package warns of that, too. Take another attribution there.
#
# The package's tables have the same check on trained models: MiniLM's weights in the shape of three families, with captum's
# DeepLift beside ours. captum's has no rule for the GELU, the normalisation and the attention of these models, and passes
# them as if they were linear. The numbers are medians of the error over texts of SST. captum's error of about 1 means that
# the sum is off by as much as the whole change.

# %%
measured = read_table("attribution_completeness")
measured = measured[measured["data"] == "sst"].dropna(subset="median_error")
measured.pivot_table(index="method", columns="model", values="median_error").dropna().map("{:.1e}".format)

# %% [markdown]
# ### A family that it does not know
#
# What about a family without rules? A wrong explanation without any warning would be worse than an error. So there is an
# error, which says what to do.

# %%
stranger = transformers.AutoModelForSequenceClassification.from_config(
    transformers.AutoConfig.for_model("funnel", vocab_size=99, d_model=32, n_head=2, d_head=16, d_inner=64,
                                      block_sizes=[1], num_labels=2))
try:
    TextClassifier(stranger, word_tokenizer(decoder=False))
except UserError as error:
    print(error)

# %% [markdown]
# ## Does the finding depend on the size?
#
# Now the second half of the question. MiniLM has six layers. Keep the first few, train `vanilla` and `robust`
# ({doc}`08_virtual_adversarial_training`) on the same texts, and explain both with Integrated Gradients. The random
# attribution is the {term}`control`. This varies the *depth* alone; the width stays the same.

# %%
texts = load_data(data)
rows = []
for depth in depths:
    for recipe in ("vanilla", "robust"):
        classifier = load_classifier("minilm", layers=depth, seed=seed)
        run = train(classifier, texts, recipe, epochs=epochs, batch_size=16, learning_rate=learning_rate,
                    max_train=max_train, seed=seed)
        report = evaluate_faithfulness(
            classifier, texts["test"], ["random", "integrated_gradients"], replacement="mask",
            max_examples=max_examples, seed=seed)
        rows += [{"layers": depth, "recipe": recipe} | scores for scores in report.table.to_dict("records")]
sizes = pd.DataFrame(rows)
columns = ["accuracy", "sufficiency", "comprehensiveness", "degenerate_share"]
print(f"{data}, {run.settings['train_texts']} training texts, {run.device}")
sizes.pivot_table(index=["layers", "recipe"], columns="attribution", values=columns[1:3]).round(3)

# %% [markdown]
# Before you compare anything, look at the accuracy and at the share of {term}`degenerate` texts. They decide whether a
# row can be read at all. The rule: the accuracy must be at least 0.1 above that of the most frequent class, and fewer
# than half of the texts may be degenerate. The accuracy counts only the texts that are explained, so on a few dozen it
# is itself off by several hundredths.

# %%
quality = sizes[sizes["attribution"] == "random"].set_index(["layers", "recipe"])[["accuracy", "degenerate_share"]]
chance = pd.Series(texts["test"]["label"][:]).value_counts(normalize=True).max()
quality["can be read"] = (quality["accuracy"] >= chance + 0.1) & (quality["degenerate_share"] < 0.5)
print(f"the most frequent class alone: {chance:.3f}")
quality.round(3)

# %% mystnb={"image": {"alt": "Two panels, sufficiency and comprehensiveness: the score of Integrated Gradients minus that of random scores, over the number of layers, one line for the vanilla recipe and one for the robust one."}, "figure": {"name": "fig-19-depth", "caption": "Integrated Gradients minus random scores, by depth. One seed; the line at 0 is what random scores get. The table above says which points can be read."}}
styles = {"vanilla": ("o", "--"), "robust": ("s", "-")}
with figure_style():
    figure, axes = plt.subplots(1, 2, figsize=(7, 3), layout="constrained", sharey=True)
    for axis, metric in zip(axes, ("sufficiency", "comprehensiveness"), strict=True):
        wide = sizes.pivot_table(index="layers", columns=["recipe", "attribution"], values=metric)
        for recipe, (marker, line) in styles.items():
            gain = wide[recipe, "integrated_gradients"] - wide[recipe, "random"]
            axis.plot(gain.index, gain, marker=marker, linestyle=line, color=RECIPE_COLOURS[recipe], label=recipe)
        axis.axhline(0, color="black", linewidth=1)
        axis.set(title=metric, xlabel="layers", xticks=depths)
    axes[0].set_ylabel("gain over random")
    axes[0].legend(fontsize="small")
plt.show()

# %%
for depth in depths:
    of_depth = sizes[sizes["layers"] == depth].set_index(["recipe", "attribution"])
    said = []
    for metric in ("sufficiency", "comprehensiveness"):
        gains = {recipe: of_depth.loc[(recipe, "integrated_gradients"), metric]
                 - of_depth.loc[(recipe, "random"), metric] for recipe in styles}
        said.append(f"{metric} over random {gains['robust'] - gains['vanilla']:+.3f}")
    usable = quality["can be read"][depth].all()
    print(f"{depth} layer(s), robust minus vanilla: {', '.join(said)}{'' if usable else ' (cannot be read)'}")

# %% [markdown]
# This is one seed and one width. If the signs differ between depths, you have seen how little one seed says. If they
# agree, you have a guess to test. To test it, name several encoders and seeds in a study's file,
# `models = ["minilm", "bert", "roberta"]`, and let `regex-lib study run` train and measure the grid. {doc}`12_in_domain`
# reads such a study.
#
# Full-size encoders need a GPU, and **this book has not measured them**. Nothing here says that its findings hold for them.
#
# ## What can go wrong
#
# - **A decoder's first token.** Methods written for BERT explain the state of token 0. In a decoder, token 0 has seen
#   nothing but itself.
# - **Padding on the wrong side.** With padding on the left, positions move. Compare a text alone with the same text in a
#   batch, as above: it takes a minute.
# - **A model cut short is not a small pre-trained model.** The first three layers of MiniLM were never trained to feed a
#   head. A model of three layers that was *pre-trained* at that size may behave differently.
# - **Comparing raw scores across sizes.** The scale moves with the model ({doc}`05_measuring_faithfulness`).
#
# ## Strengths and limitations
#
# The checks of the code are exact, and they take seconds for any family. But they are made with random weights at a small
# width. The question of size was asked by depth alone, with one encoder and one seed. That is a template for an answer, and
# not the answer.
#
# ## Summary
#
# An attribution is right for an architecture if it knows where the head reads, where the attention is, and what every
# operation does. Tests of completeness and padding tell in seconds whether it does. Whether a training recipe helps another
# model is a different kind of question, and it takes a study.
#
# ## Exercises
#
# ```{exercise} Where the head reads
# :label: ex-19-1
#
# For the GPT-2 of this chapter and the three texts, which position does the head read in each row? Set `answer` to a list
# of three integers, counted from 0.
# ```

# %%
answer = ...  # replace the dots
batch = families["gpt2"].tokenize(TEXTS)
check_answer(answer, families["gpt2"].pooling_weights(batch.attention_mask).argmax(dim=1).tolist())

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# Print `batch.attention_mask.long()`. Padding is on the right here.
# ```
#
# ````{solution-start} ex-19-1
# :class: dropdown
# ````

# %%
answer = [len(text.split()) - 1 for text in TEXTS]
check_answer(answer, families["gpt2"].pooling_weights(batch.attention_mask).argmax(dim=1).tolist())

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} A decoder looks back only
# :label: ex-19-2
#
# Why would it be a mistake to explain the state of a decoder's first token? Take the last state of the *first* token of the
# Llama for the first text, and sum its entries. Set `answer` to the largest absolute gradient of that sum with respect to
# the embeddings of the *later* tokens.
# ```

# %%
answer = ...  # replace the dots
check_answer(answer, 0.0, tolerance=1e-9)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `families["llama"].model.model(inputs_embeds=...)` gives the states of all tokens as `.last_hidden_state`.
# ```
#
# ````{solution-start} ex-19-2
# :class: dropdown
# ````

# %%
llama = families["llama"]
batch = llama.tokenize(TEXTS[:1])
embeddings = llama.embed(batch.input_ids).detach().requires_grad_()
states = llama.model.model(inputs_embeds=embeddings).last_hidden_state
(gradient,) = torch.autograd.grad(states[0, 0].sum(), embeddings)
answer = gradient[0, 1:].abs().max().item()
check_answer(answer, 0.0, tolerance=1e-9)

# %% [markdown]
# ````{solution-end}
# ````
#
# ```{exercise} Break a rule
# :label: ex-19-3
#
# captum's DeepLift treats the softmax as if it were linear. How much does completeness suffer if you explain the tiny BERT
# by InputXGradient, which treats *everything* as linear? Set `answer` to the error {eq}`eq-19-error` of it for the first
# text, with the change from the `[PAD]` baseline in the denominator, and print it: at 1 the account is off by the whole
# change.
# ```

# %%
answer = ...  # replace the dots
bert = families["bert"]
first = bert.tokenize(TEXTS[:1])
with torch.no_grad():
    logits = bert(bert.embed(first.input_ids), first.attention_mask).logits
    blank = bert(baseline_embeddings(bert, first), first.attention_mask).logits
chosen = logits.argmax(dim=1)
rise = (logits - blank)[0, chosen].item()
total = score_batch(bert, first, "input_x_gradient", chosen).sum().item()
check_answer(answer, abs(total - rise) / abs(rise), tolerance=1e-3)

# %% [markdown]
# ```{hint}
# :class: dropdown
#
# `attribute(bert, TEXTS[:1], "input_x_gradient")[0].scores` are the scores; `rise` is the change of the logit.
# ```
#
# ````{solution-start} ex-19-3
# :class: dropdown
# ````

# %%
scores = attribute(bert, TEXTS[:1], "input_x_gradient")[0].scores
answer = abs(sum(scores) - rise) / abs(rise)
check_answer(answer, abs(total - rise) / abs(rise), tolerance=1e-3)

# %% [markdown]
# ````{solution-end}
# ````
#
# ## Further reading
#
# Three of the families: {cite:t}`devlin-etal-2019-bert`, {cite:t}`liu-etal-2019-roberta` and
# {cite:t}`sanh-etal-2019-distilbert`. MiniLM comes from {cite:t}`wang-etal-2020-minilm`. The question of size and
# architecture is left open by {cite:t}`li-etal-2023-regex`.
