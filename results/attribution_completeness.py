"""How complete attributions are: by how much the sum of a text's scores misses the change of the logit they explain.

    python results/attribution_completeness.py [--sst 200] [--imdb 20] [--layers 6]

Writes `tables/attribution_completeness.csv`: |sum - change| / |change|, its median and 95th percentile over the texts,
where the change is that of the predicted class's logit from the [PAD] baseline; and the erasure scores of DeepLift,
captum's DeepLift and a random attribution, with [PAD] in the place of what is removed.

The models: MiniLM, trained on 1000 sentences of SST, is the BERT. The others have its trained weights in another
family's modules. RoBERTa computes the same function with them; DistilBERT's head has a ReLU in the place of the tanh,
and so is another function. None of them is a published checkpoint of its family.
"""

import argparse
import re
import time
import warnings
from pathlib import Path

import captum.attr
import datasets
import pandas as pd
import torch
import transformers

from regex_lib.attributions import baseline_embeddings, register, score_batch
from regex_lib.attributions.explain import length_batches
from regex_lib.data import load_data
from regex_lib.evaluation import evaluate_faithfulness
from regex_lib.models import TextClassifier, TokenBatch, evaluating, load_classifier
from regex_lib.training import train

TABLE = Path(__file__).parent / "tables" / "attribution_completeness.csv"
MAX_LENGTH = 256
"""Longer reviews are cut, in tokens."""

MEASURED = {
    "deep_lift, fp32": ("deep_lift", {}),
    "deep_lift, fp64": ("deep_lift", {}),
    "integrated_gradients, 20 steps": ("integrated_gradients", {"n_steps": 20}),
    "- Gauss-Legendre, as captum's default": ("integrated_gradients", {"n_steps": 20, "quadrature": "gauss_legendre"}),
    "- midpoints, as captum's riemann_middle": ("integrated_gradients", {"n_steps": 20, "quadrature": "midpoint"}),
    "captum DeepLift": ("captum_deep_lift", {}),
}
"""Methods with their options, by the name that they have in the table; those with a dash for the BERT alone."""

SIZES = (
    *("hidden_size", "num_attention_heads", "intermediate_size", "num_hidden_layers", "layer_norm_eps"),
    *("vocab_size", "type_vocab_size", "max_position_embeddings", "pad_token_id"),
)
"""What the models have in common, by its names in a configuration."""

ERASED = {"deep_lift, fp32": "deep_lift", "captum DeepLift": "captum_deep_lift", "random": "random"}
"""Methods whose faithfulness is measured."""


class Logits(torch.nn.Module):
    """A classifier as captum's DeepLift wants it: a module."""

    def __init__(self, classifier: TextClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embeddings and attention mask to logits."""
        return self.classifier(embeddings, attention_mask).logits


@register("captum_deep_lift")
def captum_deep_lift(classifier: TextClassifier, batch: TokenBatch, target: torch.Tensor) -> torch.Tensor:
    """Stock captum: it has rules for modules of torch.nn, and everything else passes as linear without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it sets hooks, and it requires gradients
        scores = captum.attr.DeepLift(Logits(classifier)).attribute(
            classifier.embed(batch.input_ids).detach(),
            baseline_embeddings(classifier, batch),
            target=target,
            additional_forward_args=(batch.attention_mask,),
        )
    return scores.sum(dim=-1)


def as_roberta(bert: TextClassifier) -> TextClassifier:
    """The same weights in RoBERTa's modules, whose positions count from the padding token's id plus one."""
    names = {
        r"^classifier": "classifier.out_proj",
        r"^bert\.pooler": "classifier",
        r"^bert": "roberta",
    }
    weights = _renamed(bert, names)
    unused = torch.zeros(bert.pad_id + 1, bert.model.config.hidden_size)
    positions = torch.cat([unused, weights["roberta.embeddings.position_embeddings.weight"]])
    weights["roberta.embeddings.position_embeddings.weight"] = positions
    return _filled("roberta", bert, weights, max_position_embeddings=len(positions))


def as_distilbert(bert: TextClassifier) -> TextClassifier:
    """The same weights in DistilBERT's modules, which know no segments: the first one's vector joins the positions."""
    names = {
        r"^bert\.pooler\.dense": "pre_classifier",
        r"^bert\.encoder": "distilbert.transformer",
        r"^bert": "distilbert",
        r"attention\.self\.([qkv])\w+": r"attention.\1_lin",
        r"attention\.output\.dense": "attention.out_lin",
        r"attention\.output\.LayerNorm": "sa_layer_norm",
        r"intermediate\.dense": "ffn.lin1",
        r"(\d)\.output\.dense": r"\1.ffn.lin2",
        r"(\d)\.output\.LayerNorm": r"\1.output_layer_norm",
    }
    weights = _renamed(bert, names)
    segments = weights.pop("distilbert.embeddings.token_type_embeddings.weight")
    positions = weights["distilbert.embeddings.position_embeddings.weight"]
    weights["distilbert.embeddings.position_embeddings.weight"] = positions + segments[0]
    return _filled("distilbert", bert, weights, hidden_dim=bert.model.config.intermediate_size)


def _renamed(bert: TextClassifier, names: dict[str, str]) -> dict[str, torch.Tensor]:
    """The weights of a BERT, with parts of their names replaced one after another."""
    weights = {}
    for name, tensor in bert.model.state_dict().items():
        for pattern, replacement in names.items():
            name = re.sub(pattern, replacement, name)
        weights[name] = tensor
    return weights


def _filled(kind: str, bert: TextClassifier, weights: dict[str, torch.Tensor], **options: int) -> TextClassifier:
    """A model of another family with a BERT's sizes and these weights, every one of them."""
    sizes = {name: getattr(bert.model.config, name) for name in SIZES}
    config = transformers.AutoConfig.for_model(kind, **sizes | options, num_labels=bert.num_labels)
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    model.load_state_dict(weights)
    return TextClassifier(model.eval(), bert.tokenizer)


def incompleteness(classifier: TextClassifier, texts: list[str], row: str) -> torch.Tensor:
    """The relative error of each text's sum."""
    method, options = MEASURED[row]
    errors = []
    for rows in length_batches(texts, 16):
        batch = classifier.tokenize([texts[row] for row in rows], MAX_LENGTH)
        with torch.no_grad():
            ends = classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch)
            full, empty = (classifier(end, batch.attention_mask).logits for end in ends)
        target = full.argmax(dim=-1)
        change = (full - empty).gather(1, target[:, None])[:, 0]
        total = score_batch(classifier, batch, method, target, **options).sum(dim=1)
        errors.append((total - change).abs() / change.abs())
    return torch.cat(errors).double()


def measure(classifier: TextClassifier, data: datasets.Dataset) -> pd.DataFrame:
    """A row per method."""
    rows = []
    for name in MEASURED:
        if name.startswith("-") and classifier.model.config.model_type != "bert":
            continue
        classifier.to(torch.float64 if name.endswith("fp64") else torch.float32)
        started = time.process_time()
        errors = incompleteness(classifier, data["text"], name)
        seconds = round(time.process_time() - started, 1)
        rows.append({
            "method": name, "median_error": errors.median().item(), "p95_error": errors.quantile(0.95).item(),
            "cpu_seconds": seconds,
        })  # fmt: skip
    classifier.float()
    report = evaluate_faithfulness(classifier, data, list(ERASED.values()), max_length=MAX_LENGTH)
    erasure = report.table.set_index("attribution")[["sufficiency", "comprehensiveness"]].round(4)
    erasure = erasure.rename(index={method: name for name, method in ERASED.items()}).rename_axis("method")
    names = dict.fromkeys([*(row["method"] for row in rows), *ERASED])
    return pd.DataFrame(rows).set_index("method").join(erasure, how="outer").loc[[*names]].reset_index()


def main() -> None:
    """Measure every model on every data set, and write the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sst", type=int, default=200, help="sentences")
    parser.add_argument("--imdb", type=int, default=20, help="reviews")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--max-train", type=int, default=1000, help="sentences to train on")
    parser.add_argument("--output", type=Path, default=TABLE)
    sizes = parser.parse_args()

    datasets.disable_progress_bars()
    sst = load_data("sst")
    bert = load_classifier("minilm", layers=sizes.layers)
    run = train(bert, {"train": sst["train"]}, "vanilla", epochs=1, max_train=sizes.max_train)
    tests = {
        name: split.shuffle(seed=0).select(range(count))
        for name, split, count in (("sst", sst["test"], sizes.sst), ("imdb", load_data("imdb")["test"], sizes.imdb))
    }
    tables = []
    for model, classifier in (("bert", bert), ("roberta", as_roberta(bert)), ("distilbert", as_distilbert(bert))):
        for data, rows in tests.items():
            with evaluating(classifier):
                table = measure(classifier, rows)
            facts = {"model": model, "layers": sizes.layers, "data": data, "texts": len(rows)}
            versions = {"torch": run.packages["torch"], "captum": captum.__version__}
            tables.append(pd.concat([pd.DataFrame([facts] * len(table)), table], axis=1).assign(**versions))
            pd.concat(tables).to_csv(sizes.output, index=False, float_format="%.3g")
            print(tables[-1].to_string(index=False, float_format="%.3g"), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
