"""What ferret's evaluation costs in plain forward passes: `benchmarks/evaluation.py --ferret PYTHON` starts this.

In an interpreter of its own, because ferret-xai needs an older transformers than this package. Reads the folder of a
classifier and texts as JSON, and prints for ONE attribution the seconds of each part and the unit before and after.
"""

import json
import sys
import time

import torch
from ferret.evaluators.faithfulness_measures import (
    AOPC_Comprehensiveness_Evaluation,
    AOPC_Sufficiency_Evaluation,
    TauLOO_Evaluation,
)
from ferret.explainers.gradient import GradientExplainer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

BATCH = 64


def main() -> None:
    """Time both parts, each between two plain passes."""
    task = json.load(sys.stdin)
    torch.set_num_threads(task["threads"])
    tokenizer = AutoTokenizer.from_pretrained(task["model"])
    model = AutoModelForSequenceClassification.from_pretrained(task["model"]).eval()
    texts = task["texts"]

    @torch.inference_mode()
    def plain() -> None:
        for start in range(0, len(texts), BATCH):
            model(**tokenizer(texts[start : start + BATCH], padding=True, return_tensors="pt"))

    explainer = GradientExplainer(model, tokenizer, multiply_by_inputs=True)
    explanations = [explainer(text, target=1) for text in texts]
    parts = {
        "ferret: sufficiency and comprehensiveness": (AOPC_Comprehensiveness_Evaluation, AOPC_Sufficiency_Evaluation),
        "ferret: leave-one-out tau": (TauLOO_Evaluation,),
    }
    for name, kinds in parts.items():
        evaluators = [kind(model, tokenizer) for kind in kinds]
        for _ in range(task["rounds"]):
            before = _seconds(plain)
            took = _seconds(lambda evaluators=evaluators: _evaluate(evaluators, explanations))
            print(json.dumps({"name": name, "seconds": took, "unit": (before + _seconds(plain)) / 2}), flush=True)


def _evaluate(evaluators: list, explanations: list) -> None:
    for explanation in explanations:
        for evaluator in evaluators:
            evaluator.compute_evaluation(explanation, target=1)


def _seconds(work) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main()
