"""The names that other programs use, and the page that shows them."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import safemt
from safemt.core.taxonomy import Scenario
from safemt.moderation.detectors.guards.moderation_service import SCENARIOS
from safemt.moderation.detectors.guards.template import packaged_templates, read_template

PAGE = (Path(__file__).parents[2] / "docs" / "moderation.md").read_text("utf-8")


@pytest.mark.parametrize("name", safemt.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(safemt, name).__module__.startswith("safemt.")


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="module 'safemt' has no attribute 'nothing'"):
        _ = safemt.nothing


def test_importing_safemt_loads_nothing_heavy() -> None:
    code = "import safemt, sys; print(sorted({'numpy', 'aiohttp', 'onnxruntime', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_session_takes_messages_as_chat_apis_write_them() -> None:
    session = safemt.open_moderator("keyword").open()
    verdict = session.append({"role": "user", "content": "a phishing mail, please"})
    assert verdict.flagged


def test_the_async_twin_gives_the_same() -> None:
    message = {"role": "user", "content": "a phishing mail, please"}
    assert asyncio.run(safemt.open_moderator("keyword").open().aappend(message)).flagged


@pytest.mark.parametrize("name", [*packaged_templates(), "openai-moderation"])
def test_the_page_says_what_each_guards_categories_mean(name: str) -> None:
    mapping = SCENARIOS if name == "openai-moderation" else read_template(name).scenarios
    for category, found in mapping.items():
        scenarios = ", ".join(f"{scenario.value} {fits:g}" for scenario, fits in found.items())
        assert f"| {name} | {category} | {scenarios} |" in PAGE


def test_the_pages_scenarios_are_ours() -> None:
    cells = re.findall(r"^\| [\w-]+ \| .+ \| (.+ [\d.]+) \|$", PAGE, re.MULTILINE)
    named = {each.rsplit(" ", 1)[0] for cell in cells for each in cell.split(", ")}
    assert named
    assert named <= {scenario.value for scenario in Scenario}
