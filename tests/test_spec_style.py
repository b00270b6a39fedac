"""The rules that keep the specification readable, checked on its source."""

import ast
from pathlib import Path
from typing import Any

import pytest

from blitz.harness import contents

SPEC = Path(__file__).parents[1] / "spec"
FILES = sorted(f for f in SPEC.rglob("*.py") if f.name.startswith(("test_", "bench_")))


def functions_of(file: Path) -> list[ast.FunctionDef]:
    nodes = ast.walk(ast.parse(file.read_text(encoding="utf-8")))
    return [n for n in nodes if isinstance(n, ast.FunctionDef) and n.name.startswith("test_")]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SPEC)))
class TestEveryTest:
    def test_has_one_true_sentence_for_a_docstring(self, file: Any) -> None:
        for function in functions_of(file):
            sentence = (ast.get_docstring(function) or "").split("\n\n")[0].replace("\n", " ")
            assert sentence.endswith("."), f"{function.name}: {sentence!r}"
            words = f" {sentence.lower()} "
            assert " should " not in words, function.name
            assert not words.startswith((" test ", " tests ", " check")), function.name

    def test_has_no_branch_and_no_loop(self, file: Any) -> None:
        for function in functions_of(file):
            for node in ast.walk(function):
                assert not isinstance(node, ast.If | ast.For | ast.While | ast.Try), (
                    f"{function.name}, line {getattr(node, 'lineno', 0)}"
                )

    def test_asserts_something(self, file: Any) -> None:
        for function in functions_of(file):
            code = function.body[1:]  # without the docstring
            source = "\n".join(ast.unparse(statement) for statement in code)
            assert any(word in source for word in ("assert", "raises(", "warns(")), function.name

    def test_neither_sleeps_nor_retries(self, file: Any) -> None:
        source = file.read_text(encoding="utf-8")
        assert "sleep(" not in source
        assert "flaky" not in source


class TestEveryClaim:
    table = contents.load(SPEC / "contents.toml")

    def test_is_accounted_for(self) -> None:
        for claim, _ in self.table.claims():
            reason = claim.erratum or claim.untestable
            assert claim.tests or claim.benchmarks or reason, claim.key
            for test in self.table.tests(claim):
                assert test.benchmark == (test.id in claim.benchmarks), test.id

    def test_is_led_by_a_test_in_its_chapter(self) -> None:
        for place in self.table.places():
            if place.test.id in place.claim.tests[:1]:
                assert place.test.file == place.page.file, place.test.id

    def test_has_its_tests_in_the_class_of_its_section(self) -> None:
        for place in self.table.places():
            if place.test.file == place.page.file:
                assert place.test.class_name == place.section.class_name, place.test.id
