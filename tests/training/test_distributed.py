import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_gradients import gradients_of, loss_of, objective_of
from torch.testing import assert_close

WORKER = Path(__file__).with_name("distributed_gradients.py")


@pytest.mark.slow
def test_two_processes_have_the_gradients_of_one(make_tiny, tmp_path):
    model = str(tmp_path / "model")
    make_tiny("bert").save(model)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run([*launch, str(WORKER), model, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    objective = objective_of(model)
    (sum(loss_of(objective, objective.classifier, rank) for rank in (0, 1)) / 2).backward()
    expected = gradients_of(objective.classifier)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, gradient in found.items():
            assert_close(gradient, expected[name], rtol=1e-5, atol=1e-8, msg=name)
