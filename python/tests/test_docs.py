"""The examples of the documentation, as written."""

import doctest
import importlib
import re

import pytest

import spikegrad
from conftest import REPOSITORY


def blocks(page):
    return re.findall(r"```python\n(.*?)```", (REPOSITORY / page).read_text(encoding="utf-8"), re.S)


def test_the_pages_examples_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks("docs/python.md")
    assert len(code) == 5
    names = {}
    for block in code:
        if "import torch" in block:
            pytest.importorskip("torch")
        exec(compile(block, "docs/python.md", "exec"), names)
    assert names["model"].score(names["events"]) == 1.0 and (tmp_path / "sample.png").exists()
    assert names["module"].to_model().score(names["events"]) == 1.0


def test_the_readmes_examples_work(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = blocks("README.md")
    assert len(code) == 2
    names = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert names["model"].score(names["data"].test) == 1.0


def test_docstrings_work():
    result = doctest.testmod(spikegrad)
    assert result.attempted and not result.failed


def test_the_docstrings_of_the_torch_module_work():
    pytest.importorskip("torch")
    result = doctest.testmod(importlib.import_module("spikegrad.torch"))
    assert result.attempted and not result.failed


@pytest.mark.parametrize("name", spikegrad.__all__)
def test_everything_public_is_documented(name):
    thing = getattr(spikegrad, name)
    if name == "__version__":
        assert re.fullmatch(r"\d+\.\d+\.\d+.*", thing)
        return
    assert thing.__doc__
    for attribute, value in vars(thing).items() if isinstance(thing, type) else ():
        if not attribute.startswith("_") and callable(value):
            assert value.__doc__, f"{name}.{attribute}"
