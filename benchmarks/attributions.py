"""What each attribution costs, in plain forward passes over the same texts, measured side by side in one process.

    python benchmarks/attributions.py [--model FOLDER] [--data reviews] [--texts 64] [--batch 32] [--rounds 5]

A plain pass tokenizes the texts and predicts them without gradients, in batches of similar length; so does everything
else here. It is measured before and after each method, and times on a CPU are the process's own, so that other work on
the machine does not count. `input_x_gradient` predicts and explains from one forward pass; the other methods are told
the class. Captum stands beside them. Where the scores should sum to the change of the logit, the relative error of that
sum follows, its median and 90th percentile over the texts. Without --model, MiniLM is trained for a minute first, since
the path of an untrained model bends little. How leave-one-out is shared is in `benchmarks/evaluation.py`.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import captum.attr
import torch

from regex_lib.attributions import METHODS, baseline_embeddings, logits_and_gradient, score_batch
from regex_lib.attributions.explain import length_batches
from regex_lib.data import load_data
from regex_lib.models import TextClassifier, TokenBatch, load_classifier
from regex_lib.training import train

Method = Callable[[TextClassifier, TokenBatch, torch.Tensor], torch.Tensor | None]

SLOW = {"lime", "kernel_shap"}  # hundreds of passes: once is enough


class Logits(torch.nn.Module):
    """A classifier as captum's DeepLift wants it: a module."""

    def __init__(self, classifier: TextClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, embeddings: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Embeddings and attention mask to logits."""
        return self.classifier(embeddings, attention_mask).logits


def plain(classifier: TextClassifier, batch: TokenBatch, _: torch.Tensor) -> None:
    """The unit of cost."""
    with torch.no_grad():
        classifier(classifier.embed(batch.input_ids), batch.attention_mask)


def predict_and_explain(classifier: TextClassifier, batch: TokenBatch, _: torch.Tensor) -> torch.Tensor:
    """InputXGradient of the predicted class, and the prediction with it."""
    embeddings = classifier.embed(batch.input_ids).detach()
    _, gradient = logits_and_gradient(classifier.forward_func(), embeddings, batch.attention_mask)
    return (embeddings * gradient).sum(dim=-1)


def captum_input_x_gradient(classifier: TextClassifier, batch: TokenBatch, target: torch.Tensor) -> torch.Tensor:
    """A batch at once."""
    return captum.attr.InputXGradient(classifier.forward_func()).attribute(
        classifier.embed(batch.input_ids).detach().requires_grad_(),
        target=target,
        additional_forward_args=(batch.attention_mask,),
    )


def captum_deep_lift(classifier: TextClassifier, batch: TokenBatch, target: torch.Tensor) -> torch.Tensor:
    """A batch at once. It is no DeepLift: activations, softmax, normalisation and products pass as linear."""
    return captum.attr.DeepLift(Logits(classifier)).attribute(
        classifier.embed(batch.input_ids).detach(),
        baseline_embeddings(classifier, batch),
        target=target,
        additional_forward_args=(batch.attention_mask,),
    )


def captum_integrated_gradients(classifier: TextClassifier, batch: TokenBatch, target: torch.Tensor) -> torch.Tensor:
    """One text after another, whose steps are the batch: on a CPU faster than batches of texts."""
    explainer = captum.attr.IntegratedGradients(classifier.forward_func())
    baselines = baseline_embeddings(classifier, batch)
    rows = []
    for row, length in enumerate(batch.attention_mask.sum(dim=1).tolist()):
        scores = explainer.attribute(
            classifier.embed(batch.input_ids[row : row + 1, :length]).detach(),
            baselines[row : row + 1, :length],
            target=int(target[row]),
            additional_forward_args=(batch.attention_mask[row : row + 1, :length],),
            n_steps=20,
        )
        rows.append(scores.sum(dim=-1)[0])
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def method(name: str, **options: object) -> Method:
    """A method of the library."""
    return lambda classifier, batch, target: score_batch(classifier, batch, name, target, **options)


def contestants() -> dict[str, Method]:
    """Everything that is measured."""
    named = {name: method(name) for name in METHODS if not name.startswith("random")}
    ig = partial(method, "integrated_gradients")
    return (
        {"plain": plain}
        | named
        | {"input_x_gradient": predict_and_explain}
        | {
            "- 20 gauss_legendre": ig(n_steps=20, quadrature="gauss_legendre"),
            "- 10 equal_angle": ig(n_steps=10),
            "- 20 equal_angle": ig(n_steps=20),
            "- tolerance .05": ig(n_steps=6, tolerance=0.05),
            "captum InputXGradient": captum_input_x_gradient,
            "captum DeepLift": captum_deep_lift,
            "captum IG, 20 steps": captum_integrated_gradients,
        }
    )


def seconds(run: Method, classifier: TextClassifier, texts: list[list[str]], targets: list[torch.Tensor]) -> float:
    """How long a method takes for all batches, with tokenization: the process's time on a CPU, the clock's on a GPU."""
    on_gpu = classifier.device.type == "cuda"
    clock = time.perf_counter if on_gpu else time.process_time
    started = clock()
    for chosen, target in zip(texts, targets, strict=True):
        run(classifier, classifier.tokenize(chosen), target)
        if on_gpu:
            torch.cuda.synchronize()
    return clock() - started


@torch.no_grad()
def incompleteness(
    run: Method, classifier: TextClassifier, texts: list[list[str]], targets: list[torch.Tensor]
) -> torch.Tensor:
    """How far the sum of a text's scores is from the change of the logit, relative to that change."""
    errors = []
    for chosen, target in zip(texts, targets, strict=True):
        batch = classifier.tokenize(chosen)
        points = classifier.embed(batch.input_ids), baseline_embeddings(classifier, batch)
        logits = [classifier(point, batch.attention_mask).logits.gather(1, target[:, None])[:, 0] for point in points]
        change = logits[0] - logits[1]
        errors.append((run(classifier, batch, target).flatten(1).sum(dim=1) - change).abs() / change.abs())
    return torch.cat(errors).cpu()


def main() -> None:
    """Time the methods in turns, so that noise of the machine meets all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder of a trained classifier")
    parser.add_argument("--data", default="reviews")
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="names of rows; all by default")
    sizes = parser.parse_args()

    data = load_data(sizes.data)
    classifier = load_classifier(sizes.model or "minilm")
    if not sizes.model:
        train(classifier, {"train": data["train"]}, "vanilla", epochs=1, max_train=1000)
    classifier.eval()
    drawn = data["test"].shuffle(seed=0).select(range(sizes.texts))["text"]
    texts = [[drawn[row] for row in rows] for rows in length_batches(drawn, sizes.batch)]
    batches = [classifier.tokenize(chosen) for chosen in texts]
    with torch.no_grad():
        targets = [classifier(classifier.embed(b.input_ids), b.attention_mask).logits.argmax(dim=-1) for b in batches]
    filled = statistics.mean(float(b.attention_mask.float().mean()) for b in batches)

    runs = {name: run for name, run in contestants().items() if not sizes.only or name in ("plain", *sizes.only)}
    work = classifier, texts, targets
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(sizes.rounds):
        for name, run in runs.items():
            if number == 0 or name not in SLOW:
                before, own, after = (seconds(each, *work) for each in (plain, run, plain))
                taken[name].append((own, 2 * own / (before + after)))

    print(f"{sizes.texts} texts of {sizes.data} in batches of {sizes.batch}, {filled:.0%} of them not padding,")
    print(f"on {classifier.device}, {torch.get_num_threads()} threads, median of {sizes.rounds} rounds\n")
    print(f"{'method':30}{'passes':>8}{'texts/s':>9}   relative error of the sum")
    for name, times in taken.items():
        own, passes = (statistics.median(column) for column in zip(*times, strict=True))
        error = ""
        if any(word in name for word in ("IG", "deep_lift", "DeepLift", "integrated", "- ")) and "acl2022" not in name:
            median, high = incompleteness(runs[name], *work).quantile(torch.tensor([0.5, 0.9]))
            error = f"median {median:.2g}, 90 % below {high:.2g}"
        print(f"{name:30}{passes:8.2f}{sizes.texts / own:9.1f}   {error}", flush=True)


if __name__ == "__main__":
    main()
