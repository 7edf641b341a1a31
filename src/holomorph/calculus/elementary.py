r"""Normalisation and attention written in elementary operations, so that every kind of jet can follow them.

They also mend torch's forward mode. In torch 2.13 the forward derivative of layer_norm gives a silently wrong number
when it is differentiated again, because the saved statistics count as constants (pytorch issues #196699, #196700). So
do batch_norm and instance_norm in training mode. Fused attention has no forward derivative at all.
"""

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from holomorph.calculus.determinants import DETERMINANTS
from holomorph.calculus.lengths import LENGTHS
from holomorph.calculus.missing import check_derivative, naming_the_operation
from holomorph.calculus.products import CUMULATIVE, power_of_tensors
from holomorph.errors import ConfigError, ModelError, NotDifferentiableError


def standardise(x: Tensor, axes: Sequence[int], eps: float) -> Tensor:
    r"""$(x - \bar x)/\sqrt{\operatorname{mean}(x - \bar x)^2 + \epsilon}$, squares without modulus: analytic."""
    axes = list(axes)
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


class NormCall(NamedTuple):
    """The arguments of ``torch.nn.functional.batch_norm``, by their names, however they were given."""

    input: Any
    running_mean: Any
    running_var: Any
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.layer_norm``."""
    return _affine(standardise(input, range(-len(normalized_shape), 0), eps), weight, bias)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """``torch.nn.functional.group_norm``."""
    grouped = input.reshape(input.shape[0], num_groups, -1)
    return _by_channel(standardise(grouped, [2], eps).reshape(input.shape), weight, bias)


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """``torch.nn.functional.instance_norm``; running statistics are used, but not learned."""
    if not use_input_stats:
        return batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    return _by_channel(standardise(input, range(2, input.ndim), eps), weight, bias)


def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
    """``torch.nn.functional.batch_norm`` for plain tensors; batch statistics count as functions of the input."""
    input, mean, variance, weight, bias, training, _, eps = NormCall(*args, **kwargs)
    if not training and mean is not None and variance is not None:
        shape = (1, -1, *(1,) * (input.ndim - 2))
        unit = (input - mean.reshape(shape)) * (variance + eps).rsqrt().reshape(shape)
        return _by_channel(unit, weight, bias)
    return _by_channel(standardise(input, [0, *range(2, input.ndim)], eps), weight, bias)


def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    """``torch.nn.functional.rms_norm``."""
    axes = list(range(-len(normalized_shape), 0))
    floor = torch.finfo(input.dtype).eps if eps is None else eps
    return _affine(input * (input.square().mean(axes, keepdim=True) + floor).rsqrt(), weight, None)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``torch.nn.functional.hardsigmoid``, which torch differentiates once only."""
    result = torch.nn.functional.relu6(input + 3) / 6
    return input.copy_(result) if inplace else result


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """``torch.nn.functional.glu``, whose forward derivative torch cannot differentiate."""
    value, gate = input.chunk(2, dim)
    return value * torch.sigmoid(gate)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``torch.nn.functional.scaled_dot_product_attention`` by its definition."""
    if enable_gqa:
        raise ConfigError("Grouped-query attention cannot be followed. Repeat the keys and values instead.")
    query = query * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)  # shorter than the scores
    scores = torch.matmul(query, key.transpose(-2, -1))
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is not None:
        scores = scores + _additive(attn_mask, scores)
    weights = torch.softmax(scores, -1)
    return torch.matmul(torch.dropout(weights, dropout_p, True) if dropout_p > 0 else weights, value)


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    **others: Any,
) -> tuple[Tensor, None]:
    """``torch.nn.functional.multi_head_attention_forward`` in its plain form; the weights are not returned."""
    unsupported = [bias_k, bias_v, others.get("key_padding_mask"), others.get("static_k"), others.get("static_v")]
    if in_proj_weight is None or add_zero_attn or any(t is not None for t in unsupported) or query.ndim != 3:
        raise ConfigError(
            "Multi-head attention with extra keys, padding masks, or different key and value sizes cannot be followed. "
            "Use batches of one length and one embedding size."
        )
    weights: Sequence[Tensor] = in_proj_weight.chunk(3)
    biases: Sequence[Tensor | None] = (None, None, None) if in_proj_bias is None else in_proj_bias.chunk(3)
    width = embed_dim_to_check // num_heads
    heads = [
        torch.unflatten(torch.nn.functional.linear(t, w, b), -1, (num_heads, width)).movedim(0, -2)
        for t, w, b in zip((query, key, value), weights, biases, strict=True)
    ]  # (batch, heads, length, width)
    mask = None if is_causal else attn_mask
    q, k, v = heads
    mixed = scaled_dot_product_attention(q, k, v, mask, dropout_p if training else 0.0, is_causal)
    return torch.nn.functional.linear(mixed.movedim(-2, 0).flatten(-2), out_proj_weight, out_proj_bias), None


def sinc(input: Tensor) -> Tensor:
    """``torch.sinc``, near 0 by its series: there torch's own second derivative is 0 or NaN."""
    z = math.pi * input
    near = (input < 0.03) & (input > -0.03)
    square = z * z
    series = 1 - square / 6 * (1 - square / 20 * (1 - square / 42 * (1 - square / 72)))
    far = torch.where(near, torch.ones_like(z), z)
    return torch.where(near, series, far.sin() / far)


#: Normalisations, and what else torch's reverse mode gets wrong, by the names of torch's functions.
NORMALISATIONS: dict[str, Callable[..., Any]] = {
    "layer_norm": layer_norm,
    "group_norm": group_norm,
    "instance_norm": instance_norm,
    "rms_norm": rms_norm,
    "hardsigmoid": hardsigmoid,
    "glu": glu,
    "sinc": sinc,
    **LENGTHS,
    **CUMULATIVE,
}
#: All operations that are taken apart.
COMPOSITES: dict[str, Callable[..., Any]] = {
    **NORMALISATIONS,
    **DETERMINANTS,
    "scaled_dot_product_attention": scaled_dot_product_attention,
    "multi_head_attention_forward": multi_head_attention_forward,
}
_FORWARD = {**COMPOSITES, "batch_norm": batch_norm}

_REFUSALS = {
    "mutate a captured Tensor": "The function writes into a tensor of its own, as BatchNorm in training mode does with "
    "its running statistics, which forward mode cannot follow. Call model.eval() first, or use jets.dual.",
    "autograd.Function": "A custom autograd.Function has no forward derivative. Write it with torch operations, or use "
    "input_gradient, jacobian or vjp.",
}


def decomposed(func: Any, args: Any, kwargs: Any, table: dict[str, Callable[..., Any]]) -> Any:
    """What the function of the table gives, in place too; what torch gives where there is none, or no derivative."""
    raw = getattr(func, "__name__", "")
    name = raw.strip("_")
    check_derivative(name)
    given = [t for t in (*args[:2], *kwargs.values()) if isinstance(t, Tensor)]
    plain = power_of_tensors if name == "pow" and len(args) == len(given) == 2 else table.get(name)
    if plain is None or not any(t.is_floating_point() or t.is_complex() for t in given):
        return func(*args, **kwargs)
    if raw.endswith("_") and not raw.endswith("__"):
        return args[0].copy_(plain(args[0].clone(), *args[1:], **kwargs))
    result = plain(*args, **kwargs)
    return func(*args, **kwargs) if result is NotImplemented else result


class ElementaryOperations(TorchFunctionMode):
    """Inside this context normalisation and attention run as elementary operations, on plain tensors too."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Replace the operations of the table."""
        with naming_the_operation(getattr(func, "__name__", "")):
            result = decomposed(func, args, kwargs or {}, _FORWARD)
        if torch.is_grad_enabled() or not isinstance(result, Tensor) or not result.is_floating_point():
            return result
        return result.detach()  # torch's forward mode would differentiate what a no_grad block makes


def forward_mode(
    f: Callable[..., Any], points: tuple[Tensor, ...], directions: tuple[Tensor, ...], *, strict: bool = False
) -> tuple[Any, Any]:
    """``torch.func.jvp`` made safe: elementary operations, and a graph, without which some derivatives are missing.

    Raises
    ------
    NotDifferentiableError
        If ``strict``, where the output does not depend differentiably on the input.
    ModelError
        For what torch's forward mode cannot do: batch statistics that are updated, functions with a backward only.
    """
    load_forward_mode()
    try:
        with torch.enable_grad(), ElementaryOperations():
            result = torch.func.jvp(f, points, directions, strict=strict)
    except (RuntimeError, NotImplementedError) as error:
        if strict and "independent" in str(error):
            raise NotDifferentiableError(
                "The output does not depend differentiably on the input. Look for detach(), argmax, rounding, or numpy "
                "inside the function."
            ) from None
        remedy = next((remedy for words, remedy in _REFUSALS.items() if words in str(error)), None)
        if remedy is None:
            raise
        raise ModelError(remedy) from error
    return result[0], result[1]


@functools.cache
def load_forward_mode() -> None:
    """Let torch load its forward derivatives, which it does with functions that it has itself deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.zeros(()),))


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _by_channel(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    shape = (-1, *(1,) * (x.ndim - 2))
    return _affine(x, None if weight is None else weight.reshape(shape), None if bias is None else bias.reshape(shape))


def _additive(mask: Tensor, like: Tensor) -> Tensor:
    if mask.dtype != torch.bool:
        return mask
    return torch.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(~mask, -math.inf)
