"""A network as a list of steps that enclosures can follow: linear maps, sums and activations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, fx, nn

from holomorph.contract import Differentiable
from holomorph.contract.compiled import as_written
from holomorph.enclosures.curves import Curve
from holomorph.enclosures.functions import OPERATIONS, Batch, SymbolicShape, Value
from holomorph.enclosures.layers import LAYERS, layer, refuse
from holomorph.enclosures.maps import Dense, LinearMap
from holomorph.errors import ModelError


@dataclass(frozen=True)
class ProgramStep:
    """One step: what is done to which earlier values. Value 0 is the input; an operation of None adds two values."""

    name: str
    operation: LinearMap | Curve | None
    sources: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """The steps of a network in their order; the value after step i has the number i + 1, the last one is the output.

    Examples
    --------
    >>> program = Program.trace(nn.Sequential(nn.Linear(2, 3), nn.GELU(), nn.Linear(3, 2)))
    >>> [step.name for step in program.steps]
    ['0 (Linear)', '1 (GELU)', '2 (Linear)']
    """

    steps: tuple[ProgramStep, ...]
    dtype: torch.dtype = field(default=torch.float64)

    @classmethod
    def trace(cls, model: Differentiable, dtype: torch.dtype = torch.float64) -> Program:
        """Read the steps of a network in evaluation mode; its weights are used in ``dtype``.

        Raises
        ------
        ModelError
            For a network with a part that cannot be bounded, with the part's name.
        """
        if not getattr(model, "differentiable", True):
            raise ModelError("The model is known by its outputs alone, so nothing in it can be bounded. Use smoothing.")
        tracer, model = _Tracer(), as_written(model)
        try:
            graph = tracer.trace(model)
        except Exception as error:  # whatever the network's own code makes of a stand-in for its input
            reason = " ".join(str(error).split())[:160]
            raise ModelError(
                f"The network's steps cannot be read: {reason}. Bounds need a forward pass without branches on values, "
                f"made of layers that can be bounded; smoothing needs neither."
            ) from None
        return _Reader(model, graph, dtype).program()

    def with_logits(self, x: Tensor) -> Program:
        """The program with one logit a class: a single output z stands for -z/2 and z/2, as everywhere here.

        Raises
        ------
        ModelError
            For outputs that are no row a sample.
        """
        with torch.no_grad():
            outputs = self.run(x[:1])
        if outputs.ndim != 2:
            raise ModelError(f"The network returns the shape {tuple(outputs.shape)} for one sample, not (1, classes).")
        if outputs.shape[1] > 1:
            return self
        halves = Dense(weight=torch.tensor([[-0.5], [0.5]], dtype=self.dtype, device=x.device))
        return replace(self, steps=(*self.steps, ProgramStep("two logits", halves, (len(self.steps),))))

    def run(self, x: Tensor) -> Tensor:
        """The network's outputs, step by step."""
        values = [x.to(self.dtype)]
        for step in self.steps:
            found = [values[i] for i in step.sources]
            if step.operation is None:
                values.append(found[0] + found[1])
            elif isinstance(step.operation, Curve):
                values.append(step.operation.value(found[0]))
            else:
                values.append(step.operation(found[0]))
        return values[-1]

    def curves(self) -> Iterator[tuple[int, int]]:
        """The number of each activation's step, and that of the value it is applied to."""
        for number, step in enumerate(self.steps):
            if isinstance(step.operation, Curve):
                yield number, step.sources[0]

    def has_curve_before(self, value: int) -> bool:
        """Whether an activation stands anywhere before a value."""
        if value == 0:
            return False
        step = self.steps[value - 1]
        return isinstance(step.operation, Curve) or any(self.has_curve_before(source) for source in step.sources)


class _Tracer(fx.Tracer):
    """Layers that are known are not looked into."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, tuple(LAYERS)) or super().is_leaf_module(m, module_qualified_name)

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inside = as_written(m)
        return super().call_module(m, forward, args, kwargs) if inside is m else inside(*args, **kwargs)


class _Reader:
    """Turns a graph of torch.fx into steps."""

    def __init__(self, model: Differentiable, graph: fx.Graph, dtype: torch.dtype) -> None:
        self.model, self.graph, self.dtype = model, graph, dtype
        self.steps: list[ProgramStep] = []
        self.known: dict[fx.Node, Any] = {}

    def program(self) -> Program:
        inputs = 0
        for node in self.graph.nodes:
            if node.op == "placeholder":
                inputs += 1
                self.known[node] = Value(0)
            elif node.op != "output":
                self.known[node] = self._read(node)
            else:
                return self._finish(self._known(node.args[0]), inputs)
        raise ModelError("The network returns nothing. Return the logits.")

    def _finish(self, result: Any, inputs: int) -> Program:
        if inputs != 1 or not isinstance(result, Value):
            raise ModelError("Bounds need a network of one input that returns one tensor of logits.")
        if result.number == 0 or result.number != len(self.steps):
            self.steps.append(ProgramStep("output", layer(nn.Identity(), self.dtype), (result.number,)))
        return Program(tuple(self.steps), self.dtype)

    def _read(self, node: fx.Node) -> Any:
        if node.op == "get_attr":
            return _attribute(self.model, str(node.target)).to(self.dtype)
        arguments = [self._known(argument) for argument in node.args]
        if node.op == "call_module":
            part = _attribute(self.model, str(node.target))
            name = f"{node.target} ({type(part).__name__})"
            return self._add(name, layer(part, self.dtype, str(node.target)), arguments[0])
        name = str(node.target) if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
        if name == "size" or (name == "getattr" and arguments[1] == "shape"):
            return Batch() if arguments[1:] == [0] else SymbolicShape()
        if name == "getitem" and isinstance(arguments[0], SymbolicShape) and arguments[1] == 0:
            return Batch()
        if name.strip("_") in ("add", "iadd") and all(isinstance(argument, Value) for argument in arguments):
            return self._add("sum", None, *arguments)
        return self._call(name.strip("_"), arguments, {key: self._known(value) for key, value in node.kwargs.items()})

    def _call(self, name: str, arguments: list[Any], options: dict[str, Any]) -> Value:
        if name not in OPERATIONS or not any(isinstance(argument, Value) for argument in arguments):
            raise refuse(f"operation {name!r}")
        try:
            made = OPERATIONS[name](arguments, options)
        except (ModelError, TypeError, KeyError) as error:
            raise refuse(f"operation {name!r}", str(error)) from None
        return self._add(name, made.operation, made.source)

    def _add(self, name: str, operation: LinearMap | Curve | None, *sources: Value) -> Value:
        self.steps.append(ProgramStep(name, operation, tuple(source.number for source in sources)))
        return Value(len(self.steps))

    def _known(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return self.known[argument]
        return tuple(self._known(part) for part in argument) if isinstance(argument, tuple | list) else argument


def _attribute(model: Differentiable, path: str) -> Any:
    found: Any = model
    for name in path.split("."):
        found = getattr(found, name)
    return found
