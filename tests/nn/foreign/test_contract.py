"""Every source of models that others made: how it is written, and what is said where its library is not there."""

import sys

import pytest

from holomorph.cli import BAD_INPUT, exit_status
from holomorph.errors import ConfigError, HolomorphError, MissingExtraError
from holomorph.nn.classifiers import build_classifier
from holomorph.nn.foreign import FILES, LIBRARIES, foreign_names, is_code, is_foreign

#: The package that each needs, and the extra that brings it; a program of torch needs its file only.
NEEDS = {"timm": ("timm", "timm"), "torchvision": ("torchvision", "torchvision"),
         "hf": ("transformers", "huggingface"), ".onnx": ("onnxruntime", "onnx"), ".pt2": None}  # fmt: skip
SOURCES = [*LIBRARIES, *FILES]


@pytest.mark.parametrize("source", SOURCES)
def test_a_name_is_read_with_and_without_settings_and_stands_in_messages(source):
    name = f"net{source}" if source in FILES else f"{source}:resnet18"
    for text in (name, f"{name}?mean=0.5"):
        assert is_foreign(text)
        assert is_code(text) == (source == ".pt2"), "only a program runs code of others"
    assert any(listed.startswith(f"{source}:") or listed == f"*{source}" for listed in foreign_names())


@pytest.mark.parametrize("source", SOURCES)
def test_without_its_package_or_its_file_one_sentence_says_what_to_do(source, monkeypatch, tmp_path, capsys):
    (tmp_path / "config.json").write_text("{}")
    name = f"{tmp_path}/net{source}" if source in FILES else f"{source}:{tmp_path if source == 'hf' else 'resnet18'}"
    kind: type[HolomorphError] = ConfigError
    wanted = r"^There is no .* at .*net\.pt2\.$"
    if NEEDS[source] is not None:
        package, extra = NEEDS[source]
        monkeypatch.setitem(sys.modules, package, None)
        wanted = rf"^This needs the package {package}\. Install it with: pip install 'holomorph\[{extra}\]'$"
        kind = MissingExtraError
    with pytest.raises(kind, match=wanted) as caught:
        build_classifier(name, (3, 8, 8), 2)
    assert exit_status(["evaluate", name, "--data", "digits", "--out", str(tmp_path / "out")]) == BAD_INPUT
    assert str(caught.value) in " ".join(capsys.readouterr().err.split())
