"""docs/troubleshooting.md uses the codes and ids that the program prints."""

import re

import pytest

from tests.services import ROOT

PAGE = (ROOT / "docs/troubleshooting.md").read_text()
SOURCES = "\n".join(
    path.read_text()
    for app in ("robots", "teleop", "videos")
    for path in (ROOT / app).rglob("*.py")
    if "tests" not in path.parts
)


@pytest.mark.parametrize("code", sorted(set(re.findall(r"\(`(\w+)`\)", PAGE))))
def test_each_code_is_one_of_the_program(code: str):
    assert f'"{code}"' in SOURCES


@pytest.mark.parametrize("finding", sorted(set(re.findall(r"teleop\.([EWI]\d{3})", PAGE))))
def test_each_finding_is_one_of_doctor(finding: str):
    assert finding in SOURCES
