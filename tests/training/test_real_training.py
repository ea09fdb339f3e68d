import math

import datasets
import pytest

from regex_lib.models import load_classifier
from regex_lib.training import RECIPES, train

TERMS = {"cross_entropy", "igr", "vat", "kl", "kl_masked"}


@pytest.mark.slow
def test_real_sentences_train_on_finite_terms_for_an_epoch(real_data):
    splits = {name: str(real_data / "sst" / f"{name}.parquet") for name in ("train", "validation")}
    data = datasets.DatasetDict(
        {name: datasets.Dataset.from_parquet(path).select(range(200)) for name, path in splits.items()}
    )
    classifier = load_classifier("minilm", layers=1, device="cpu")
    run = train(classifier, data, RECIPES["regex"].changed(guidance_from=0.0), epochs=1.0, batch_size=16)
    for entry in run.history:
        assert entry.keys() >= TERMS
        assert all(math.isfinite(entry[name]) and entry[name] >= 0 for name in TERMS)
    assert run.validation["accuracy"] > 0.5
    assert all(parameter.isfinite().all() for parameter in classifier.parameters())
