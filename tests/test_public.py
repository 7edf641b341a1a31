import subprocess
import sys

import pytest

import holomorph as hm


@pytest.mark.parametrize("name", hm.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    assert getattr(hm, name).__doc__


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'dirichlet_rule'"):
        _ = hm.dirichlet_rule


def test_dir_lists_the_public_names():
    assert set(hm.__all__) <= set(dir(hm))


def test_importing_holomorph_brings_no_heavy_package():
    code = (
        "import sys, holomorph; holomorph.ThreatModel; holomorph.Dirichlet; holomorph.calculus.dirichlet_energy; "
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"foolbox", "pyautoattack", "sklearn", "matplotlib", "lightning_fabric", "onnxruntime", "tensorboard"}
    assert "torch" in loaded
    assert not heavy & set(loaded)
