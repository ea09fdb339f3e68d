"""Select, then predict: a classifier that reads nothing but rationales (FRESH, Jain et al. 2020).

A support model's attribution selects the words; a new classifier is trained on these words alone. Its predictions are
faithful to the rationale by construction. How good it is says how much of the task the rationales keep.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import datasets
import pandas as pd

from regex_lib.attributions import Explanation, attribute, word_scores, words_of
from regex_lib.data.tables import SPLITS
from regex_lib.errors import UserError
from regex_lib.evaluation import classify
from regex_lib.evaluation.protocol import check_attributions, names_of
from regex_lib.models import TextClassifier
from regex_lib.models.loading import has_classification_head
from regex_lib.models.rows import labelled_texts
from regex_lib.training import train

__all__ = ["extract_rationales", "rationale_spans", "select_then_predict"]

_TOKENIZED = 256  # texts in memory at once while those without content are looked for


def extract_rationales(
    classifier: TextClassifier,
    dataset: datasets.Dataset,
    method: str = "integrated_gradients",
    ratio: float = 0.2,
    contiguous: bool = False,
    *,
    batch_size: int = 32,
    max_length: int | None = None,
    **options: Any,
) -> datasets.Dataset:
    """The rationale of every text, as a text.

    Of the n words that the model reads, the ceil(ratio x n) with the highest scores for the predicted class stay, in
    their original order, with a space between; of equal scores the earlier word's counts as higher. Or, where they have
    to be contiguous, the stretch of so many words with the highest sum, as it stands in the text.

    Words are those of :func:`regex_lib.attributions.words_of`, so that punctuation can be selected too. Of a text that
    is longer than the model takes, only what the model reads can be selected. A text without words stays as it is.

    Args:
        classifier: the support model.
        dataset: rows of ``text``, with or without ``label``.
        method: a name in :data:`regex_lib.attributions.METHODS`.
        ratio: share of the words that stay, above 0 and at most 1. FRESH as in the ACL 2022 study: SST .2, IMDB .02,
            Yelp .1, the Amazon sets .2.
        contiguous: whether the rationale is one stretch of the text.
        batch_size: texts per pass.
        max_length: cut longer texts; the model's maximum by default.
        **options: the method's own.

    Returns:
        Rows in the same order: ``text`` (the rationale), ``label`` if there was one, ``spans``: for every piece of the
        rationale, its first character in the original text and the one after its last, and ``words``: how many words
        it has.

    Raises:
        UserError: if the ratio is out of its range, the method is unknown, or a text is empty.

    References:
        Jain et al. 2020, section 3.

    Example:
        >>> from regex_lib.models import load_classifier
        >>> rows = datasets.Dataset.from_dict({"text": ["A touching, unhurried film about bees."], "label": [1]})
        >>> rationales = extract_rationales(load_classifier("minilm", layers=1), rows, "random", ratio=0.4)
        >>> len(rationales["text"][0].split()), rationales["label"][0]
        (4, 1)
    """
    if not 0 < ratio <= 1:
        raise UserError(f"ratio must be above 0 and at most 1, got {ratio}")
    texts = dataset["text"][:]
    explanations = attribute(classifier, texts, method, batch_size=batch_size, max_length=max_length, **options)
    spans = [rationale_spans(explanation, ratio, contiguous) for explanation in explanations]
    return datasets.Dataset.from_dict(
        {
            "text": [" ".join(text[a:b] for a, b in pieces) for text, pieces in zip(texts, spans, strict=True)],
            **({"label": dataset["label"][:]} if "label" in dataset.column_names else {}),
            "spans": spans,
            "words": [len(rationale_spans(one, ratio)) if one.words() else 0 for one in explanations],
        }
    )


def rationale_spans(explanation: Explanation, ratio: float, contiguous: bool = False) -> list[tuple[int, int]]:
    """Where the rationale of one text stands in it: a span for each selected word, or one for a contiguous rationale.

    Args:
        explanation: of the text.
        ratio: share of the words that the model has read, rounded up.
        contiguous: whether the rationale is one stretch.

    Example:
        >>> offsets, scores = [(0, 2), (2, 3), (3, 6), (7, 11)], [1.0, 0.0, 1.0, 3.0]
        >>> explanation = Explanation("un!fun film", "random", offsets, scores, 1, 1, 0.9, truncated=False)
        >>> rationale_spans(explanation, 0.5), rationale_spans(explanation, 0.5, contiguous=True)
        ([(0, 2), (7, 11)], [(3, 11)])
    """
    words = words_of(explanation.text, explanation.offsets, [True] * len(explanation.offsets))
    count = len(words.spans)
    if not count:
        return [(0, len(explanation.text))]
    scores = word_scores(words, explanation.scores, explanation.method)
    k = math.ceil(ratio * count - 1e-6)  # .07 * 100 comes out as 7.000000000000001
    if contiguous:
        first = max(range(count - k + 1), key=lambda start: sum(scores[start : start + k]))
        return [(words.spans[first][0], words.spans[first + k - 1][1])]
    best = sorted(range(count), key=lambda word: -scores[word])[:k]
    return [words.spans[word] for word in sorted(best)]


def select_then_predict(
    classifier: TextClassifier,
    data: Mapping[str, datasets.Dataset | pd.DataFrame],
    new_classifier: Callable[[int], TextClassifier],
    attributions: Sequence[str] = ("random", "integrated_gradients"),
    *,
    ratio: float = 0.2,
    contiguous: bool = False,
    out_of_domain: Mapping[str, datasets.Dataset | pd.DataFrame] | None = None,
    seed: int = 0,
    max_train: int | None = None,
    max_length: int | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    output_dir: str | Path | None = None,
    **training: Any,
) -> pd.DataFrame:
    """Train a new classifier on rationales alone, and compare it with the support model on the full texts.

    The new classifiers are trained by the recipe ``vanilla``, whatever the support model was trained by: what differs
    is what they read. Out of domain, the support model selects the rationales and the same new classifier reads them.
    Texts without content tokens have no rationale, and are left out of every split.

    Args:
        classifier: the support model, trained on the full texts.
        data: splits ``train`` and ``test``.
        new_classifier: makes an untrained classifier from a seed: the encoder that the support model was made from,
            with a new head. One that was trained on full texts would know the task before it reads a rationale.
        attributions: what selects, names in :data:`regex_lib.attributions.METHODS`. ``random`` says how good a
            classifier is with any words of that number.
        ratio: share of the words that stay.
        contiguous: whether a rationale is one stretch of the text.
        out_of_domain: more test sets by their names, with the model's labels: see :func:`regex_lib.data.map_labels`.
            Their names are files' names too, and no split's.
        seed: of the new classifiers, their training and the random attribution.
        max_train: train on the first so many texts of a shuffled train split; all by default.
        max_length: cut longer texts; the model's maximum by default.
        options: of single attributions by their names.
        output_dir: keep the rationales here, as ``<attribution>/train.parquet`` and one more file for each test set; a
            folder ``<attribution>`` is what :func:`regex_lib.data.load_data` reads.
        **training: more for :func:`regex_lib.training.train`, such as ``epochs``.

    Returns:
        One row per attribution and test set: ``attribution, data, macro_f1, accuracy, full_text_macro_f1,
        full_text_accuracy, ratio, contiguous, words`` (of a rationale, on average), ``train_texts, examples``. The full
        text's scores are those of the support model; ``data`` is ``test`` in domain. Macro-F1 is over all the model's
        classes, so that of a test set without one of them it stays below 1, however good the model is.

    Raises:
        UserError: if a split is missing or has no text with content, its columns or labels are not the model's, a name
            or an option is unknown, a setting is out of its range, the new classifier's checkpoint has a head already,
            a test set has an unfit name, or the output folder cannot be written to.

    References:
        Jain et al. 2020; out of domain as in Chrysostomou and Aletras 2022, section 6.
    """
    for split in ("train", "test"):
        if split not in data:
            raise UserError(f"there is no split {split!r}, only: {', '.join(data)}")
    for name in out_of_domain or {}:
        if name in SPLITS or not re.fullmatch(r"[^/\\]+", name):
            raise UserError(
                f"out_of_domain cannot name a set {name!r}: take a name that is no split's ({', '.join(SPLITS)}), and "
                "that a file can have"
            )
    if max_train is not None and max_train < 1:
        raise UserError(f"max_train must be 1 or more, got {max_train}")
    attributions, chosen = names_of("attributions", attributions), {"random": {"seed": seed}, **(options or {})}
    check_attributions(attributions, chosen)
    full = labelled_texts(data["train"], classifier)
    if max_train is not None:
        full = full.shuffle(seed=0).select(range(min(len(full), max_train)))
    full = _with_content("train", full, classifier, max_length)
    tests = {
        name: _with_content(name, labelled_texts(rows, classifier), classifier, max_length)
        for name, rows in {"test": data["test"], **(out_of_domain or {})}.items()
    }
    if has_classification_head(new_classifier(seed).model.config.architectures):
        raise UserError(
            "the new classifier's checkpoint has a classification head already, so it may know the task without any "
            "rationale: name the encoder that it was made from (--model on the command line)"
        )
    full_text = {name: classify(classifier, rows, max_length=max_length) for name, rows in tests.items()}
    folder = None if output_dir is None else Path(output_dir)
    table = []
    for method in attributions:

        def rationales(name: str, rows: datasets.Dataset, method: str = method) -> datasets.Dataset:
            kept = extract_rationales(
                classifier, rows, method, ratio, contiguous, max_length=max_length, **chosen.get(method, {})
            )
            if folder is not None:
                _write(kept, folder / method / f"{name.replace(':', '-')}.parquet")
            return kept

        training_rationales = rationales("train", full)
        reader = new_classifier(seed)
        train(reader, {"train": training_rationales}, "vanilla", seed=seed, max_length=max_length, **training)
        for name, rows in tests.items():
            kept = rationales(name, rows)
            quality = classify(reader, kept, max_length=max_length)
            table.append(
                {
                    "attribution": method,
                    "data": name,
                    "macro_f1": quality["macro_f1"],
                    "accuracy": quality["accuracy"],
                    "full_text_macro_f1": full_text[name]["macro_f1"],
                    "full_text_accuracy": full_text[name]["accuracy"],
                    "ratio": ratio,
                    "contiguous": contiguous,
                    "words": sum(kept["words"]) / len(kept),
                    "train_texts": len(full),
                    "examples": len(kept),
                }
            )
    return pd.DataFrame(table)


def _with_content(
    name: str, rows: datasets.Dataset, classifier: TextClassifier, max_length: int | None
) -> datasets.Dataset:
    """The rows whose texts have content tokens."""
    kept: list[int] = []
    for start in range(0, len(rows), _TOKENIZED):
        content = classifier.tokenize(rows[start : start + _TOKENIZED]["text"], max_length).content_mask
        kept += (start + content.any(dim=1).nonzero().squeeze(1)).tolist()
    if not kept:
        raise UserError(f"no text of {name!r} has content tokens: there is nothing to select")
    return rows if len(kept) == len(rows) else rows.select(kept)


def _write(rows: datasets.Dataset, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.to_parquet(path)
    except OSError as error:
        raise UserError(f"cannot write {str(path)!r}: {error.strerror or error}") from error
