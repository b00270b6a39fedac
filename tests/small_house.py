"""A small specification in a folder of its own, with the real conftest.py and pytest.ini."""

from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGE = """
[[page]]
title = "Tensors"
url = "https://example.org/tensors.html"
file = "test_1.py"
[[page.section]]
heading = "Joining"
anchor = "joining"
class = "TestJoining"
[page.section.claims]
"""
"""The contents of one page with one section, up to its claims, which are to follow."""


def make(folder: Path, contents: str, tests: str) -> Path:
    """Write ``spec/contents.toml`` and ``spec/test_1.py``; the folder ``spec``."""
    for name in ("conftest.py", "pytest.ini"):
        (folder / name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    spec = folder / "spec"
    spec.mkdir(exist_ok=True)
    (spec / "contents.toml").write_text(contents, encoding="utf-8")
    (spec / "test_1.py").write_text(tests, encoding="utf-8")
    return spec
