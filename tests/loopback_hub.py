"""A Hugging Face hub on the loopback interface, for tests of the real clients without a network.

It serves folders as repositories, and implements what `huggingface_hub` and `datasets` ask for when they read: the
files (`resolve`), the description of a repository and the listing of its tree.

    repository = HubRepository("models", "owner/name", folder)
    with loopback_hub(repository) as hub:
        subprocess.run([sys.executable, "-c", code], env=client_environment(hub.url, tmp_path))
        assert hub.requests[0] == HubRequest("HEAD", "/owner/name/resolve/main/config.json")

The clients read their settings from the environment when they are imported, hence the subprocess.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

__all__ = ["HubRepository", "HubRequest", "LoopbackHub", "client_environment", "loopback_hub"]


@dataclass(frozen=True)
class HubRepository:
    """A folder that is served as one repository with one commit."""

    kind: Literal["models", "datasets"]
    """What the hub takes it for."""
    name: str
    """Its id, such as ``"owner/name"``."""
    folder: Path
    """Where its files are; all of them are served, with their paths in this folder."""
    commit: str = "c0ffee" + "0" * 34
    """The commit, to be asked for by its hash or as ``main``. Every other revision is answered with 404."""
    gated: bool = False
    """Whether every request is refused: 401 without a token, 403 with one."""


class HubRequest(NamedTuple):
    """What a client asked for."""

    method: str
    """``"HEAD"`` or ``"GET"``."""
    path: str
    """The path of the URL, without its query."""


@dataclass
class LoopbackHub:
    """A running server."""

    url: str
    """What ``HF_ENDPOINT`` must be."""
    repositories: tuple[HubRepository, ...]
    """What it serves."""
    requests: list[HubRequest] = field(default_factory=list)
    """Every request so far, in the order of arrival."""


@contextmanager
def loopback_hub(*repositories: HubRepository) -> Iterator[LoopbackHub]:
    """Serves the repositories on a free port of 127.0.0.1 until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = LoopbackHub(f"http://127.0.0.1:{server.server_port}", repositories)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def client_environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """The environment of a client process that knows no hub but the one at `url`, and no cache but `home`."""
    inherited = {key: value for key, value in os.environ.items() if not _decides_for_the_client(key)}
    settings = {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1"}
    return inherited | settings | more


def _decides_for_the_client(variable: str) -> bool:
    return variable.startswith(("HF_", "HUGGING", "TRANSFORMERS_", "REGEX_")) or variable.lower().endswith("_proxy")


class _RefusalError(Exception):
    """An answer that is an error, with the headers by which the clients tell the errors apart."""

    def __init__(self, status: int, code: str):
        super().__init__(status, code)
        self.status, self.headers = status, {"X-Error-Code": code, "X-Error-Message": code}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.hub.requests.append(HubRequest(self.command, path))
        try:
            status, headers, content = 200, *self._route(path)
        except _RefusalError as refusal:
            status, headers, content = refusal.status, refusal.headers, b""
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = _answer  # noqa: N815

    def _route(self, path: str) -> tuple[dict[str, str], bytes]:
        repository, rest = self._find(path.removeprefix("/api"), is_api=path.startswith("/api/"))
        action, revision, inner = [*(rest or "revision/main").split("/", 2), "", ""][:3]
        if revision not in ("main", repository.commit):
            raise _RefusalError(404, "RevisionNotFound")
        if action == "resolve":
            return _file(repository, inner)
        if action == "revision":
            return _json(_description(repository))
        if action == "tree":
            return _json(
                _tree(repository, inner, recursive=parse_qs(urlsplit(self.path).query).get("recursive") == ["true"])
            )
        raise _RefusalError(404, "EntryNotFound")

    def _find(self, path: str, *, is_api: bool) -> tuple[HubRepository, str]:
        for repository in self.server.hub.repositories:
            kind = f"/{repository.kind}" if is_api or repository.kind == "datasets" else ""
            prefix = f"{kind}/{repository.name}"
            if path == prefix or path.startswith(f"{prefix}/"):
                if repository.gated:
                    raise _RefusalError(403 if "Authorization" in self.headers else 401, "GatedRepo")
                return repository, path[len(prefix) + 1 :]
        raise _RefusalError(404, "RepoNotFound")


def _json(answer: object) -> tuple[dict[str, str], bytes]:
    return {"Content-Type": "application/json"}, json.dumps(answer).encode()


def _file(repository: HubRepository, name: str) -> tuple[dict[str, str], bytes]:
    path = repository.folder / name
    if not path.is_file():
        raise _RefusalError(404, "EntryNotFound")
    content = path.read_bytes()
    return {"ETag": f'"{_oid(content)}"', "X-Repo-Commit": repository.commit}, content


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _files(repository: HubRepository) -> list[str]:
    return sorted(
        path.relative_to(repository.folder).as_posix() for path in repository.folder.rglob("*") if path.is_file()
    )


def _description(repository: HubRepository) -> dict[str, object]:
    siblings = [{"rfilename": name} for name in _files(repository)]
    flags = {"private": False, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
    return {"id": repository.name, "_id": "0" * 24, "sha": repository.commit, "siblings": siblings, **flags}


def _entry(repository: HubRepository, name: str) -> dict[str, object]:
    path = repository.folder / name
    if path.is_dir():
        return {"type": "directory", "path": name, "oid": _oid(name.encode()), "size": 0}
    content = path.read_bytes()
    return {"type": "file", "path": name, "oid": _oid(content), "size": len(content)}


def _tree(repository: HubRepository, inner: str, *, recursive: bool) -> list[dict[str, object]]:
    top = repository.folder / inner
    if not top.is_dir():
        raise _RefusalError(404, "EntryNotFound")
    found = sorted(top.rglob("*") if recursive else top.iterdir())
    return [_entry(repository, path.relative_to(repository.folder).as_posix()) for path in found]
