"""Every example in the detector's docstrings runs, and its exports are what they say."""

import doctest
import importlib
import pkgutil

import pytest

import promptguard.drift

MODULES = [module.name for module in pkgutil.walk_packages(promptguard.drift.__path__, "promptguard.drift.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


def test_exports_are_sorted_and_real():
    assert promptguard.drift.__all__ == sorted(promptguard.drift.__all__)
    assert all(hasattr(promptguard.drift, name) for name in promptguard.drift.__all__)
