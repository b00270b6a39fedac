"""The rules that keep the specification readable, checked on its source."""

import ast
from pathlib import Path
from typing import Any

import pytest

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
