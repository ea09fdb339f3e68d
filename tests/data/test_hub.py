"""The real clients, in processes of their own, against a hub on the loopback interface."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from loopback_hub import HubRepository, HubRequest, client_environment, loopback_hub

from regex_lib.data import CATALOGUE

SST, IMDB = CATALOGUE["sst"].hub, CATALOGUE["imdb"].hub
ROWS = [{"text": f"text {number}", "label": number % 2} for number in range(25)]
LOAD = """
import json, sys
from regex_lib.data import load_data
from regex_lib.errors import UserError
try:
    splits = load_data(sys.argv[1])
except UserError as error:
    print(error)
    sys.exit(2)
print(json.dumps({name: split.to_list() for name, split in splits.items()}))
"""
WITHOUT_WAITING = "import time; time.sleep = lambda seconds: None\n"
"""The clients try again for about 23 seconds when nobody listens."""


def load(name: str, environment: dict[str, str], before: str = "") -> dict[str, list[dict]]:
    done = subprocess.run([sys.executable, "-c", before + LOAD, name], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def error_of(name: str, environment: dict[str, str], before: str = "") -> str:
    done = subprocess.run([sys.executable, "-c", before + LOAD, name], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.count("\n") == 1
    return done.stdout.strip()


def how_to_mend(otherwise: str) -> str:
    return "; check the name and the network, log in with 'hf auth login' if it is private or gated, or " + otherwise


def own_copy(name: str) -> str:
    return how_to_mend(f"name in REGEX_DATA a folder that has {name}/{{train,validation,test}}.parquet")


GIVE_A_FILE = how_to_mend("give a file or folder instead")


@pytest.fixture
def sst(tmp_path):
    folder = tmp_path / "SetFit-sst2"
    folder.mkdir()
    for number, file in enumerate(SST.files.values()):
        row = ROWS[number] | {"label_text": "unused"}
        (folder / file).write_text(json.dumps(row) + "\n")
    return HubRepository("datasets", SST.repo, folder, commit=SST.revision)


@pytest.fixture
def mine(tmp_path):
    """A repository of a user, with a split of ours, one of another name, and labels that are declared as classes."""
    folder = tmp_path / "owner-mine"
    (folder / "data").mkdir(parents=True)
    for split in ("train", "unsupervised"):
        pq.write_table(pa.Table.from_pylist(ROWS[:2]), folder / "data" / f"{split}-00000-of-00001.parquet")
    (folder / "README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    dtype:\n"
        "      class_label:\n        names:\n          '0': negative\n          '1': positive\n---\n"
    )
    return HubRepository("datasets", "owner/mine", folder)


def test_a_name_of_the_catalogue_asks_for_its_files_at_its_commit_only(sst, tmp_path):
    with loopback_hub(sst) as hub:
        loaded = load("sst", client_environment(hub.url, tmp_path / "home"))
    assert loaded == {
        split: [ROWS[number] | {"label_text": "unused"}] for number, split in enumerate(("train", "validation", "test"))
    }
    assert hub.requests == [
        HubRequest(method, f"/datasets/SetFit/sst2/resolve/{SST.revision}/{file}")
        for file in SST.files.values()
        for method in ("HEAD", "GET")
    ]


def test_what_was_loaded_once_needs_no_network(sst, tmp_path):
    with loopback_hub(sst) as hub:
        first = load("sst", client_environment(hub.url, tmp_path / "home"))
    for more in ({}, {"HF_HUB_OFFLINE": "1"}):
        assert load("sst", client_environment(hub.url, tmp_path / "home", **more)) == first


def test_an_own_copy_needs_no_network(tmp_path):
    (tmp_path / "sst").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "sst" / "train.parquet")
    with loopback_hub() as hub:
        assert load("sst", client_environment(hub.url, tmp_path / "home", REGEX_DATA=str(tmp_path))) == {"train": ROWS}
    assert hub.requests == []


def test_every_tenth_row_of_train_becomes_validation(tmp_path):
    folder = tmp_path / "imdb"
    (folder / "plain_text").mkdir(parents=True)
    for file in IMDB.files.values():
        pq.write_table(pa.Table.from_pylist(ROWS), folder / file)
    with loopback_hub(HubRepository("datasets", IMDB.repo, folder, commit=IMDB.revision)) as hub:
        loaded = load("imdb", client_environment(hub.url, tmp_path / "home"))
    assert list(loaded) == ["train", "validation", "test"]
    assert loaded["validation"] == [ROWS[9], ROWS[19]]
    assert loaded["train"] == [row for row in ROWS if row not in loaded["validation"]]
    assert loaded["test"] == ROWS


def test_a_repository_of_a_user(mine, tmp_path):
    with loopback_hub(mine) as hub:
        assert load("owner/mine", client_environment(hub.url, tmp_path / "home")) == {"train": ROWS[:2]}
        assert load(f"owner/mine@{mine.commit}", client_environment(hub.url, tmp_path / "other")) == {"train": ROWS[:2]}
    assert {request.path for request in hub.requests if "/resolve/" in request.path} >= {
        f"/datasets/owner/mine/resolve/{revision}/README.md" for revision in ("main", mine.commit)
    }


def test_another_revision_in_the_cache_is_not_taken_for_the_one_asked_for(mine, tmp_path):
    other = "d" * 40
    with loopback_hub(mine) as hub:
        environment = client_environment(hub.url, tmp_path / "home")
        load(f"owner/mine@{mine.commit}", environment)
        load("owner/mine", environment)
        assert error_of(f"owner/mine@{other}", environment) == (
            f"cannot get owner/mine at {other[:12]} from the Hugging Face hub:"
            f" Revision '{other}' doesn't exist for dataset 'owner/mine' on the Hub{GIVE_A_FILE}"
        )
    offline = environment | {"HF_HUB_OFFLINE": "1"}
    assert error_of(f"owner/mine@{other}", offline) == (
        f"cannot get owner/mine at {other[:12]} from the Hugging Face hub:"
        f" Couldn't reach 'owner/mine' on the Hub (OfflineModeIsEnabled){GIVE_A_FILE}"
    )
    assert load("owner/mine", offline) == load(f"owner/mine@{mine.commit}", offline) == {"train": ROWS[:2]}


def test_a_repository_without_our_splits(mine, tmp_path):
    (mine.folder / "data" / "train-00000-of-00001.parquet").unlink()
    with loopback_hub(mine) as hub:
        assert error_of("owner/mine", client_environment(hub.url, tmp_path / "home")) == (
            "owner/mine has none of train, validation, test; its splits: unsupervised"
        )


def test_a_repository_that_is_not_there(tmp_path):
    with loopback_hub() as hub:
        environment = client_environment(hub.url, tmp_path / "home")
        message = error_of("sst", environment)
        assert message.startswith(
            "cannot get train.jsonl of SetFit/sst2 at 00ea8ccb7a54 from the Hugging Face hub: 404 Client Error."
            f" Repository Not Found for url: {hub.url}/datasets/SetFit/sst2/resolve/{SST.revision}/train.jsonl."
        )
        assert message.endswith(own_copy("sst"))
        assert error_of("owner/gone", environment) == (
            "cannot get owner/gone from the Hugging Face hub:"
            f" Dataset 'owner/gone' doesn't exist on the Hub or cannot be accessed{GIVE_A_FILE}"
        )


@pytest.mark.parametrize(
    ("token", "status", "why"),
    [
        ({}, 401, "You must be authenticated to access it"),
        ({"HF_TOKEN": "hf_x"}, 403, "Visit the dataset page at https://huggingface.co/datasets/{} to ask for access"),
    ],
)
def test_a_gated_repository(sst, tmp_path, token, status, why):
    gated = HubRepository("datasets", sst.name, sst.folder, commit=sst.commit, gated=True)
    with loopback_hub(gated) as hub:
        environment = client_environment(hub.url, tmp_path / "home", **token)
        assert error_of("sst", environment).startswith(
            "cannot get train.jsonl of SetFit/sst2 at 00ea8ccb7a54 from the Hugging Face hub:"
            f" {status} Client Error. Cannot access gated repo for url {hub.url}/datasets/SetFit/sst2/resolve/"
        )
        assert error_of("SetFit/sst2", environment) == (
            "cannot get SetFit/sst2 from the Hugging Face hub: Dataset 'SetFit/sst2' is a gated dataset on the Hub."
            f" {why.format('SetFit/sst2')}{GIVE_A_FILE}"
        )


def test_nobody_listens(tmp_path):
    with loopback_hub() as hub:
        pass
    environment = client_environment(hub.url, tmp_path / "home")
    assert error_of("sst", environment, WITHOUT_WAITING) == (
        "cannot get train.jsonl of SetFit/sst2 at 00ea8ccb7a54 from the Hugging Face hub:"
        f" [Errno 111] Connection refused{own_copy('sst')}"
    )
    assert error_of("owner/mine", environment, WITHOUT_WAITING) == (
        "cannot get owner/mine from the Hugging Face hub:"
        f" Couldn't reach 'owner/mine' on the Hub (LocalEntryNotFoundError){GIVE_A_FILE}"
    )


def test_offline(tmp_path):
    with loopback_hub() as hub:
        environment = client_environment(hub.url, tmp_path / "home", HF_HUB_OFFLINE="1")
        message = error_of("sst", environment)
    assert message.startswith("cannot get train.jsonl of SetFit/sst2 at 00ea8ccb7a54 from the Hugging Face hub:")
    assert "offline mode is enabled" in message
    assert message.endswith(own_copy("sst"))
    assert hub.requests == []
