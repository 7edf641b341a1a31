"""What compiled networks cannot do."""

from torch import nn

from holomorph.contract.compiled import is_compiled
from holomorph.errors import ConfigError


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
