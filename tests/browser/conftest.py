"""A headless Chromium of the system, and pages opened in it that may do nothing but show themselves."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

Open = Callable[..., Any]


def chromium() -> str | None:
    names = (os.environ.get("SAFEMT_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    executable = chromium()
    if executable is None:
        pytest.skip("no chromium here: install it, or name it in SAFEMT_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        # No sandbox: as root, in a container, Chromium has none; the page is our own.
        started = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open a file; the test fails if the page logs, throws, asks or requests anything but itself."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def refuse(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def check(requested: str, url: str) -> None:
        if requested.partition("#")[0] != url and not requested.startswith("data:"):
            complaints.append(f"request: {requested}")

    def opened(
        path: Path, *, width: int = 1100, scheme: str = "light", ready: str = "#shown:not(:empty)"
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page = context.new_page()
        url = path.resolve().as_uri()
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", refuse)
        page.on("request", lambda request: check(request.url, url))
        page.goto(url)
        page.wait_for_selector(ready)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints
