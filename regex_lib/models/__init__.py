"""A Hugging Face text classifier as this library needs it: embeddings in, logits and attention out."""

from regex_lib.models.classifier import ClassifierOutput, TextClassifier, TokenBatch
from regex_lib.models.loading import ENCODERS, Encoder, load_classifier, verify_sha256
from regex_lib.models.modes import evaluating

__all__ = [
    "ENCODERS",
    "ClassifierOutput",
    "Encoder",
    "TextClassifier",
    "TokenBatch",
    "evaluating",
    "load_classifier",
    "verify_sha256",
]
