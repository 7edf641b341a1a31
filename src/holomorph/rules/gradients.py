"""What compiled networks cannot do."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from holomorph.errors import ConfigError


def is_compiled(model: nn.Module) -> bool:
    """Whether the network, or a part of it, went through ``torch.compile``."""
    return bool(compiled_parts(model.modules()))


def compiled_parts(modules: Iterable[nn.Module]) -> list[nn.Module]:
    """Those that went through ``torch.compile``, wrapped or in place."""
    return [m for m in modules if "_orig_mod" in dict(m.named_children()) or _in_place(m)]


def _in_place(module: nn.Module) -> bool:
    """Whether a module holds what it leaves out of a file: the call that ``module.compile()`` has made."""
    saved = nn.Module.__getstate__(module)  # type: ignore[no-untyped-call]
    return not vars(module).keys() <= saved.keys()


def require_double_backward(model: nn.Module) -> None:
    """Refuse a compiled network: ``torch.compile`` cannot differentiate a gradient.

    Raises
    ------
    ConfigError
        Naming the rules that need a single backward pass.

    >>> require_double_backward(nn.Linear(2, 2))
    """
    if is_compiled(model):
        raise ConfigError(
            "This rule differentiates a gradient, which torch.compile cannot. Use one that needs a single backward "
            "pass (finite, nfgsm, dirichlet with estimator='finite-difference'), or the model before compiling."
        )
