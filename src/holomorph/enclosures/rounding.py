r"""How far floating-point arithmetic can stray from the numbers it stands for.

A sum of n products, computed in any order in arithmetic of unit roundoff u, with or without fused operations, is off by
at most $\gamma_n \sum_i |w_i||x_i|$, where $\gamma_n = nu/(1 - nu)$ (Higham, *Accuracy and Stability of Numerical
Algorithms*, section 3.1). Every enclosure of this package is widened by it twice over: for the arithmetic of the model,
whose computed answers are what is certified, and for the double precision in which the enclosure itself is found.
"""

import torch

from holomorph.errors import ConfigError

#: Unit roundoff of double precision, in which enclosures are computed.
DOUBLE = 2.0**-53

#: What a sum of up to four million terms of one sign, computed in double precision, is multiplied by to be no less than
#: the exact one: gamma of 2^22 terms is 2^-31.
SUM = 1 + 2.0**-30

#: More than four million numbers too small to be represented, lost from one sum in single precision.
TINY = 2.0**-100


def unit_roundoff(dtype: torch.dtype, device: torch.device) -> float:
    """The unit roundoff of a model's sums, in its precision on its device.

    On a GPU single precision may stand for TensorFloat-32, with 11 digits; that is asked of torch's own switches.

    Raises
    ------
    ConfigError
        For precisions too coarse to bound sums of thousands of terms.

    >>> unit_roundoff(torch.float32, torch.device("cpu")) == 2**-24
    True
    """
    if dtype == torch.float64:
        return DOUBLE
    if dtype != torch.float32:
        raise ConfigError(
            f"Certificates are for models in float32 or float64, not {dtype}. Convert with model.float()."
        )
    coarse = device.type == "cuda" and (
        torch.backends.cudnn.allow_tf32 or torch.get_float32_matmul_precision() != "highest"
    )
    return 2.0**-11 if coarse else 2.0**-24


def gamma(terms: int, unit: float) -> float:
    """$nu/(1 - nu)$ for a sum of n products.

    Raises
    ------
    ConfigError
        Where nu is not below 1: then nothing is known of the sum.

    >>> gamma(3, 2**-24) < 4 * 2**-24
    True
    """
    if terms * unit >= 1:
        raise ConfigError(f"A sum of {terms} terms in this precision may be off by any amount. Use float64.")
    return terms * unit / (1 - terms * unit)
