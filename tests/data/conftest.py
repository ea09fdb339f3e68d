import pytest


@pytest.fixture(autouse=True)
def _no_own_copies(request, monkeypatch):
    """What the catalogue's names stand for does not depend on who runs the tests, but in tests of real data."""
    if "real_data" not in request.fixturenames:
        monkeypatch.delenv("REGEX_DATA", raising=False)
