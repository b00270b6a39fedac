"""What holds for every module of the package."""

import ast
import dataclasses
import importlib
import pkgutil
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

import blitz
from blitz.base.errors import BlitzError
from blitz.base.versions import installed

KINDS = {
    RuntimeError: {"DataError", "Diverged", "DownloadError", "PhotoError", "UnusableDevice"},
    ImportError: {"NoMatplotlib"},
}
"""Errors that code which knows nothing of this package can catch, by Python's names for them."""


@pytest.fixture(scope="module")
def modules() -> list[ModuleType]:
    names = [module.name for module in pkgutil.walk_packages(blitz.__path__, "blitz.")]
    return [importlib.import_module(name) for name in names]


def classes(modules: list[ModuleType]) -> list[type]:
    return [
        thing
        for module in modules
        for thing in vars(module).values()
        if isinstance(thing, type) and thing.__module__ == module.__name__
    ]


def test_records_cannot_be_changed(modules: list[ModuleType]) -> None:
    records = [each for each in classes(modules) if dataclasses.is_dataclass(each)]

    assert [each for each in records if not each.__dataclass_params__.frozen] == []


def test_errors_are_of_python_s_kinds(modules: list[ModuleType]) -> None:
    errors = [each for each in classes(modules) if issubclass(each, BlitzError)]

    found = {kind: {e.__name__ for e in errors if issubclass(e, kind)} for kind in KINDS}

    assert found == KINDS


def test_version_of_a_package_is_told_or_that_it_is_not_installed() -> None:
    assert installed("pytest") == pytest.__version__
    assert installed("no-such-package-of-nobody") == "not installed"


def test_every_package_that_is_imported_is_named_in_pyproject() -> None:
    root = Path(__file__).parents[1]
    files = [root / "conftest.py", *root.glob("blitz/**/*.py"), *root.glob("spec/**/*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    tops = {name.split(".")[0] for name in names} - sys.stdlib_module_names - {"blitz", "spec"}
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["pictures"]]
    declared = {Requirement(line).name for line in named}

    of_top = packages_distributions()

    assert {
        top for top in tops if not declared & {name.lower() for name in of_top.get(top, [])}
    } == set()
    assert len(tops) > 8
