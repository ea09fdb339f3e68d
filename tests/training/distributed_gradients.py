"""One of the processes that `test_distributed.py` starts: its share of a batch, through DistributedDataParallel."""

import sys

import torch
from torch import distributed, nn

from regex_lib.models import TextClassifier, load_classifier
from regex_lib.training import RECIPES, RegexObjective

TEXTS = ["a fine film", "dull and very bad acting but a great plot", "never once", "not great not bad and dull"]
LABELS = torch.tensor([1, 0, 0, 1])


def objective_of(folder: str) -> RegexObjective:
    """The recipe `regex` for a saved classifier, in double precision and without dropout."""
    classifier = load_classifier(folder, device="cpu").double()
    for part in classifier.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return RegexObjective(classifier, RECIPES["regex"]).train()


def loss_of(model: nn.Module, classifier: TextClassifier, rank: int) -> torch.Tensor:
    """The loss on half of the texts, with random numbers that belong to that half."""
    share = slice(2 * rank, 2 * rank + 2)
    batch = classifier.tokenize(TEXTS[share])
    torch.manual_seed(rank)
    return model(batch.input_ids, batch.attention_mask, batch.content_mask, LABELS[share], progress=1.0)["loss"]


def gradients_of(classifier: TextClassifier) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in classifier.model.named_parameters()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    objective = objective_of(sys.argv[1])
    model = nn.parallel.DistributedDataParallel(objective)
    loss_of(model, objective.classifier, distributed.get_rank()).backward()
    torch.save(gradients_of(objective.classifier), f"{sys.argv[2]}/{distributed.get_rank()}.pt")
    distributed.destroy_process_group()
