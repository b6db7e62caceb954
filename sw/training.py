"""Learned constants, trained layer by layer: gain and bias of LS, shift of L-PTS, low rank.

Decoder layer after decoder layer, the constants of its linears are trained to bring the output of
the sparse layer near to that of the dense one, on the hidden states that the *sparse* layers before
it give:

    minimise  mean over tokens and features of (sparse_layer(h) - dense_layer(h))**2

with AdamW, one window a step, a learning rate that rises for 3 % of the steps and then falls
linearly to 0, and gradients limited to norm 1.  Masks and the factor of VAR are constants to the
gradient.  Constants start where they do nothing (0), but for the low-rank factors, which start as
0.02 times a Gaussian.  This is the recipe of the authors of arXiv 2509.22166, who take 256 random
windows of 512 tokens of WikiText-2, one epoch, and a learning rate of 1e-4.
"""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sw.constants import Constant, Constants, constants_of
from sw.errors import InputError
from sw.layer_walk import Layer, LayerWalk
from sw.method import Method
from sw.parts import Parts
from sw.sparse_linear import SparseLinear
from sw.sparse_model import Sparsified, choose_linears, layer_number, sparsify, weight_matrix

__all__ = ["LayerLoss", "Recipe", "initial_constants", "steps_of", "train"]

#: What the random start of the low-rank factors is multiplied with.
_LOW_RANK_START = 0.02


@dataclass(frozen=True)
class Recipe:
    """How constants are trained; the defaults are the published ones.

    Parameters
    ----------
    epochs
        How often each window is seen.
    learning_rate
        Its largest value.
    warmup
        Share of the steps in which it rises.
    betas, weight_decay
        Of AdamW.
    clip
        Largest norm of the gradients of a layer's constants.
    seed
        Of the order of windows and of the random start.

    Raises
    ------
    InputError
        A value breaks a rule.
    """

    epochs: int = 1
    learning_rate: float = 1e-4
    warmup: float = 0.03
    betas: tuple[float, float] = (0.9, 0.95)
    weight_decay: float = 0.0
    clip: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise InputError(f"epochs must be at least 1, not {self.epochs}")
        for name in ("learning_rate", "clip"):
            if not 0 < (value := getattr(self, name)) < float("inf"):
                raise InputError(f"{name.replace('_', '-')} must be positive, not {value}")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"warmup must be between 0 and 1, not {self.warmup}")


@dataclass(frozen=True)
class LayerLoss:
    """What training did to one layer.

    Parameters
    ----------
    layer
        Its number.
    before, after
        Mean squared error over all windows with the constants at their start, and trained.
    """

    layer: int
    before: float
    after: float


def initial_constants(
    method: Method, linears: Mapping[str, Any], seed: int
) -> dict[str, dict[str, torch.Tensor]]:
    """Learned constants at their start: linear -> name -> tensor.

    Parameters
    ----------
    method
        The method.
    linears
        Path -> linear.
    seed
        Of the low-rank factors; those of different linears differ.
    """
    found: dict[str, dict[str, torch.Tensor]] = {}
    for path, linear in linears.items():
        outputs, inputs = weight_matrix(linear).shape
        shapes = {
            "shift": (inputs,),
            "gain": (outputs,),
            "bias": (outputs,),
            "left": (outputs, method.low_rank),
            "right": (method.low_rank, inputs),
        }
        named = found.setdefault(path, {})
        for constant in _learned(method):
            value = torch.zeros(shapes[constant.role])
            if constant.role in ("left", "right"):
                digest = hashlib.sha256(f"{seed} {path} {constant.role}".encode()).digest()
                generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "little"))
                value = _LOW_RANK_START * torch.randn(value.shape, generator=generator)
            named[constant.name] = value
    return found


def train(
    model: Any,
    method: Method,
    windows: Sequence[torch.Tensor],
    *,
    constants: Constants | None = None,
    recipe: Recipe | None = None,
    token0: bool = True,
    parts: Parts | None = None,
    stage: str = "training",
    step: Callable[[], object] = lambda: None,
) -> tuple[Constants, list[LayerLoss]]:
    """Train the learned constants of a method.

    Parameters
    ----------
    model
        A causal language model of `transformers` in fp32, which is left as it was.
    method
        The method; its phase is taken for both.
    windows
        Tokens (1, T) each, all of one length.
    constants
        What the method needs beside that which is learned.
    recipe
        How; None: as published.
    token0
        Whether the first token of each window counts in the loss.
    parts, stage
        Where finished layers are kept and taken up from; None: nowhere.
    step
        Called after each window of each pass: `steps_of` times a layer, if it has linears.

    Returns
    -------
    constants
        The learned constants of all linears, without metadata.
    losses
        One for each layer that was trained in this run.

    Raises
    ------
    InputError
        The method learns nothing or does not fit the model, or the loss is not finite.
    """
    recipe = recipe or Recipe()
    parts = parts or Parts(None, {})
    method = replace(method, phase="both")
    roles = [constant.role for constant in _learned(method)]
    if not roles:
        raise InputError(f"method must have something to learn, not {method}")
    linears = choose_linears(model, method)
    learned = initial_constants(method, linears, recipe.seed)
    given = constants.tensors if constants is not None else {}
    every = {path: {**given.get(path, {}), **named} for path, named in learned.items()}
    walk = LayerWalk(model, list(linears), windows)
    losses = []
    with sparsify(model, method, Constants(every, {}), progress=False) as sparse:
        done, hidden = parts.resume(stage)
        walk.hidden = hidden or walk.hidden
        for layer in walk.layers:
            paths = [path for path in linears if layer_number(path) == layer.number]
            if layer.number < done:
                for path, named in parts.read(stage, layer.number).items():
                    learned[path] = dict(named)
                for _ in range(steps_of(len(windows), recipe)):
                    step()
                continue
            trainer = _LayerTrainer(walk, layer, [sparse.linear(path) for path in paths], token0)
            if paths:
                losses.append(trainer.train(roles, recipe, step))
            trainer.advance(step)
            for path in paths:
                learned[path] = _values(sparse, path, method)
            parts.write(stage, layer.number, {path: learned[path] for path in paths}, walk.hidden)
    return Constants(learned, {}), losses


def steps_of(window_count: int, recipe: Recipe) -> int:
    """How often `train` calls `step` for a layer with linears."""
    # Targets, the loss before, training, the loss after, and on to the next layer.
    return window_count * (recipe.epochs + 4)


class _LayerTrainer:
    """The training of one layer."""

    def __init__(
        self, walk: LayerWalk, layer: Layer, linears: Sequence[SparseLinear], token0: bool
    ) -> None:
        self._walk = walk
        self._layer = layer
        self._linears = linears
        self._first = 0 if token0 else 1

    def train(self, roles: Sequence[str], recipe: Recipe, step: Callable[[], object]) -> LayerLoss:
        targets = self._dense_outputs(step)
        before = self._loss(targets, step)
        parameters = [
            parameter for linear in self._linears for parameter in linear.train_constants(roles)
        ]
        self._descend(parameters, targets, recipe, step)
        for linear in self._linears:
            linear.freeze()
        return LayerLoss(self._layer.number, before, self._loss(targets, step))

    def advance(self, step: Callable[[], object]) -> None:
        for window in range(len(self._walk.hidden)):
            self._walk.advance(self._layer, window)
            step()

    @torch.no_grad()
    def _dense_outputs(self, step: Callable[[], object]) -> list[torch.Tensor]:
        for linear in self._linears:
            linear.is_dense = True
        targets = []
        for hidden in self._walk.hidden:
            targets.append(self._walk.run(self._layer, hidden))
            step()
        for linear in self._linears:
            linear.is_dense = False
        return targets

    @torch.no_grad()
    def _loss(self, targets: Sequence[torch.Tensor], step: Callable[[], object]) -> float:
        total = 0.0
        for window in range(len(targets)):
            total += float(self._error(window, targets))
            step()
        return total / len(targets)

    def _error(self, window: int, targets: Sequence[torch.Tensor]) -> torch.Tensor:
        output = self._walk.run(self._layer, self._walk.hidden[window])
        return torch.nn.functional.mse_loss(
            output[:, self._first :], targets[window][:, self._first :]
        )

    def _descend(
        self,
        parameters: Sequence[torch.Tensor],
        targets: Sequence[torch.Tensor],
        recipe: Recipe,
        step: Callable[[], object],
    ) -> None:
        # Takes seconds to import.
        from transformers import get_linear_schedule_with_warmup

        steps = recipe.epochs * len(targets)
        optimizer = torch.optim.AdamW(
            parameters, recipe.learning_rate, recipe.betas, weight_decay=recipe.weight_decay
        )
        schedule = get_linear_schedule_with_warmup(
            optimizer, math.ceil(recipe.warmup * steps), steps
        )
        generator = torch.Generator().manual_seed(recipe.seed)
        for _ in range(recipe.epochs):
            for window in torch.randperm(len(targets), generator=generator).tolist():
                with torch.enable_grad():
                    loss = self._error(window, targets)
                # Only these: the model's own parameters are to be left alone.
                gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                if not bool(loss.isfinite()):
                    raise InputError(
                        f"learning-rate must keep the loss of layer {self._layer.number} finite,"
                        f" not {recipe.learning_rate}"
                    )
                torch.nn.utils.clip_grad_norm_(parameters, recipe.clip)
                optimizer.step()
                schedule.step()
                step()


def _learned(method: Method) -> list[Constant]:
    return [constant for constant in constants_of(method) if constant.source == "training"]


def _values(sparse: Sparsified, path: str, method: Method) -> dict[str, torch.Tensor]:
    linear = sparse.linear(path)
    return {constant.name: linear.constants[constant.role] for constant in _learned(method)}
