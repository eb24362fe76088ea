"""Update rules: what is written into the fast weights, and how it is read. Pure functions, one rule a file.

An import into this namespace is a registration. Rules with `write` and `read` run inside a recurrent network, and the
command line knows them by name; rules with `step` run in `fast_weights_scan`. Some have both.
"""

from __future__ import annotations  # the command line reads the constants of a rule without torch

from dataclasses import is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from fastweights.rules._scan import Gate as Gate
from fastweights.rules._scan import ScanState as ScanState
from fastweights.rules._scan import Step as Step
from fastweights.rules.comba import Comba as Comba
from fastweights.rules.cosine import Cosine as Cosine
from fastweights.rules.delta import Delta as Delta
from fastweights.rules.delta_product import DeltaProduct as DeltaProduct
from fastweights.rules.gated_delta import GatedDelta as GatedDelta
from fastweights.rules.gated_delta2 import GatedDelta2 as GatedDelta2
from fastweights.rules.gla import GLA as GLA
from fastweights.rules.hebbian import Hebbian as Hebbian
from fastweights.rules.kimi_delta import KimiDelta as KimiDelta
from fastweights.rules.linear_attention import LinearAttention as LinearAttention
from fastweights.rules.longhorn import Longhorn as Longhorn
from fastweights.rules.mamba2 import Mamba2 as Mamba2
from fastweights.rules.mesa import Mesa as Mesa
from fastweights.rules.oja import Oja as Oja
from fastweights.rules.retention import Retention as Retention
from fastweights.rules.rwkv7 import RWKV7 as RWKV7
from fastweights.rules.titans import Titans as Titans
from fastweights.rules.ttt_linear import TTTLinear as TTTLinear

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Rule(Protocol):
    """What the reference backend asks of a rule: a frozen dataclass of constants with these two methods.

    `weights` is `[*batch, value, key]`; leading axes broadcast. A rule may take more by name: the gates (`strength`,
    `forget`) that a slow network emits at a step. It may have `bound(read, boundary)`: what is added to the boundary in
    place of the read.
    """

    def write(self, weights: Tensor, key: Tensor, value: Tensor) -> Tensor: ...

    def read(self, weights: Tensor, query: Tensor) -> Tensor: ...


@runtime_checkable
class ScanRule(Protocol):
    """What `fast_weights_scan` asks of a rule: a frozen dataclass with the truth of one token, and its gates.

    `step(state, query, key, value, **gates) -> (output, state)` sees one token, without the axis of time: [batch,
    heads, key or value]. Of a rule with `substeps` > 1 keys and values are [batch, heads, substeps, key or value].
    A gate that was not given is None. A rule may have `lower(queries, keys, values, **gates) -> Step`, its fast form,
    and `others(key, value)`: the shapes of what it carries beside the weights, without batch and heads. `SQUARE = True`
    says that keys and values are of one size.
    """

    GATES: ClassVar[dict[str, Gate]]

    def step(self, state: ScanState, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ScanState]: ...


def registered() -> dict[str, Any]:
    """The rules of this library that run inside a recurrent network, by their names."""
    return {name: kind for name, kind in _kinds().items() if hasattr(kind, "write")}


def scanned() -> dict[str, Any]:
    """The rules of this library that run in `fast_weights_scan`, by their names."""
    return {name: kind for name, kind in _kinds().items() if hasattr(kind, "step")}


def _kinds() -> dict[str, Any]:
    return {name: kind for name, kind in globals().items() if isinstance(kind, type) and is_dataclass(kind)}
