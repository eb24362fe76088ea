"""The recurrent networks by the names that papers and the command line give them, each with the options that it has.

Without torch until one is built: the command line answers --help from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple, cast

from fastweights import rules
from fastweights.errors import UserError, near, shown
from fastweights.forms import fault
from fastweights.own import import_own, is_own, name_of
from fastweights.rules.control import FIGURE_3, parse_control
from fastweights.tasks import Spec
from fastweights.training.config import Config
from fastweights.training.pair_networks import Between, Fronted, encoder_decoder, fast_weights_transducer, transducer

RULE = "a frozen dataclass of constants with the methods write and read, or step"
RECURRENT = ("write", "read")  # methods of a rule that runs inside a recurrent network


@dataclass(frozen=True)
class NoOptions:
    """Of a network without options."""


@dataclass(frozen=True)
class SlowOnly:
    """Of the fast-weights network without its inner loop."""

    backend: str = "auto"
    """How the recurrence is computed; auto: the fastest that can."""


@dataclass(frozen=True)
class Empty:
    """Of the fast-weights network whose memory stays empty."""

    inner_steps: int = 1
    """Iterations of the inner loop (S); the paper's: 1."""
    backend: str = "auto"
    """How the recurrence is computed; auto: the fastest that can."""

    def __post_init__(self) -> None:
        check_steps(self.inner_steps)


DEFAULT_RULE = rules.Cosine


@dataclass(frozen=True)
class FastWeights:
    """Of the fast-weights network."""

    rule: Any = field(default_factory=DEFAULT_RULE)
    """The update rule of the fast weights."""
    learned: tuple[str, ...] = cast(Any, None)  # what the rule learns where nobody says
    """Constants of the rule to learn, as --learned decay rate."""
    inner_steps: int = 1
    """Iterations of the inner loop (S); the paper's: 1."""
    backend: str = "auto"
    """How the recurrence is computed; auto: the fastest that can."""

    METHODS: ClassVar[tuple[str, ...]] = RECURRENT  # what its rule has to have
    MOST_STEPS: ClassVar[int] = 100_000

    def __post_init__(self) -> None:
        check_steps(self.inner_steps)
        check_methods(self)
        if self.learned is None:
            object.__setattr__(self, "learned", learned_by(type(self.rule)))
        known = getattr(self.rule, "RANGES", {})
        for name in self.learned:
            if name not in known:
                kind, wanted = type(self.rule).__name__, ", ".join(known) or "none: it has no such constants"
                raise UserError(f"--learned {name}: wanted constants of {kind} ({wanted}){near(name, known)}")
        if len(set(self.learned)) < len(self.learned):
            raise UserError(f"--learned {' '.join(self.learned)}: got a constant twice, wanted each once")


@dataclass(frozen=True)
class MultiLevel:
    """Of the multi-level network, which writes and reads its fast weights where a control signal says so."""

    rule: Any = field(default_factory=DEFAULT_RULE)
    """The update rule of the fast weights; its constants are not learned."""
    control: str = FIGURE_3
    """What each step does beside the slow recurrence: write, wipe, read, integrate; or slow; *4: four steps."""
    norm_slow: bool = True
    """Whether steps that read nothing have a layer norm, too."""

    METHODS: ClassVar[tuple[str, ...]] = RECURRENT

    def __post_init__(self) -> None:
        check_methods(self)
        parse_control(self.control)


@dataclass(frozen=True)
class PatchConv:
    """Of the convolutional network over a sequence of patches."""

    joins: tuple[int, ...] = (6, 4)
    """How many neighbours each layer behind the first one joins."""

    def __post_init__(self) -> None:
        if not self.joins or min(self.joins) < 1:
            raise UserError(f"--joins {' '.join(map(str, self.joins)) or 'none'}: wanted integers >= 1")


@dataclass(frozen=True)
class Blocks:
    """Of the model of blocks, each with a memory."""

    rule: Any = field(default_factory=rules.GatedDelta)
    """The update rule of the memories."""
    layers: int = 2
    """Blocks."""
    heads: int = 2
    """Memories in a block, beside each other."""
    attention: tuple[int, ...] = ()
    """Blocks that have softmax attention in place of the rule, counted from 1."""
    mlp: int = 2
    """Hidden units of a block's MLP as a multiple of --hidden-size; 0: no MLP."""
    convolution: int = 4
    """Steps that the short convolution sees; 0: none."""
    features: tuple[str, ...] = ()
    """What keys and queries go through, such as dpfp l2; none: what suits the rule."""
    output_gate: Literal["none", "silu", "sigmoid"] = "none"
    """The gate of what is read."""
    negative_eigenvalues: bool = False
    """Strengths up to 2, with which a memory can turn what it holds around."""
    backend: str = "auto"
    """How the scans are computed; auto: the fastest that can."""

    METHODS: ClassVar[tuple[str, ...]] = ("step",)
    MOST: ClassVar[int] = 1_000

    def __post_init__(self) -> None:
        check_methods(self)
        for name, low in (("layers", 1), ("heads", 1), ("mlp", 0)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= self.MOST:
                raise UserError(f"--{name} {value}: wanted an integer from {low} to {self.MOST:,}")
        for place in self.attention:
            if type(place) is not int or not 1 <= place <= self.layers:
                raise UserError(f"--attention {place}: wanted blocks from 1 to {self.layers}")


def check_methods(options: Any) -> None:
    """Raise where the rule lacks what the network asks of it."""
    rule = options.rule
    if not all(callable(getattr(rule, method, None)) for method in options.METHODS):
        known, lacks = ", ".join(rules_for(type(options))), " and ".join(options.METHODS)
        raise UserError(f"--rule {type(rule).__name__}: got no {lacks} in it, wanted a rule such as {known}")


def rules_for(options: type) -> dict[str, type]:
    """The rules of this library that a network with such options can have, by their names."""
    every = {**rules.registered(), **rules.scanned()}
    return {name: kind for name, kind in every.items() if all(hasattr(kind, method) for method in options.METHODS)}


def learned_by(rule: type) -> tuple[str, ...]:
    """The constants that a rule learns where nobody says."""
    return getattr(rule, "LEARNED", ())


def check_steps(steps: int) -> None:
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= FastWeights.MOST_STEPS:
        raise UserError(f"--inner-steps {steps}: wanted an integer from 0, at most {FastWeights.MOST_STEPS:,}")


def fast_weights(input_size: int, hidden_size: int, options: FastWeights) -> Any:
    from fastweights.nn import FastWeightsRNN

    return FastWeightsRNN(
        input_size,
        hidden_size,
        batch_first=True,
        rule=options.rule,
        learned=options.learned,
        inner_steps=options.inner_steps,
        backend=options.backend,
    )


def multi_level(input_size: int, hidden_size: int, options: MultiLevel) -> Any:
    from fastweights.nn import MultiLevelRNN

    return MultiLevelRNN(
        input_size, hidden_size, control=options.control, rule=options.rule, norm_slow=options.norm_slow
    )


def patch_conv(input_size: int, hidden_size: int, options: PatchConv) -> Any:
    from fastweights.nn import PatchConvNet

    return PatchConvNet(input_size, hidden_size, joins=options.joins)


def blocks(input_size: int, hidden_size: int, options: Blocks) -> Any:
    from fastweights.nn import FastWeightsModel

    if hidden_size % options.heads:
        raise UserError(f"--heads {options.heads}: wanted a number that divides --hidden-size {hidden_size}")
    layers = ["attention" if place + 1 in options.attention else options.rule for place in range(options.layers)]
    settings: Any = {
        "mlp": options.mlp,
        "convolution": options.convolution,
        "features": options.features or None,
        "output_gate": None if options.output_gate == "none" else options.output_gate,
        "negative_eigenvalues": options.negative_eigenvalues,
        "backend": options.backend,
    }
    return FastWeightsModel(input_size, hidden_size, layers, options.heads, **settings)


def slow_only(layer_norm: bool) -> Callable[[int, int, SlowOnly], Any]:
    def build(input_size: int, hidden_size: int, options: SlowOnly) -> Any:
        from fastweights.nn import FastWeightsRNN

        settings: Any = {"inner_steps": 0, "layer_norm": layer_norm, "backend": options.backend}
        return FastWeightsRNN(input_size, hidden_size, batch_first=True, rule=rules.Hebbian(), **settings)

    return build


def empty(input_size: int, hidden_size: int, options: Empty) -> Any:
    memory = FastWeights(rules.Hebbian(rate=0.0), inner_steps=options.inner_steps, backend=options.backend)
    return fast_weights(input_size, hidden_size, memory)


def module(name: str, **settings: Any) -> Callable[[int, int, NoOptions], Any]:
    """A module of fastweights.nn, or of torch.nn, that takes its two sizes, and what else is fixed."""

    def build(input_size: int, hidden_size: int, options: NoOptions) -> Any:
        from torch import nn as theirs

        from fastweights import nn as ours

        return getattr(ours if hasattr(ours, name) else theirs, name)(input_size, hidden_size, **settings)

    return build


class Network(NamedTuple):
    build: Callable[[Any, Any, Any], Any]  # from input_size, hidden_size and its options
    options: type = NoOptions
    pairs: bool = False  # a whole model, of tasks whose answer is a sequence: from spec, config and its options
    like_lstm: bool = True  # its state has the form of nn.LSTM's, so that it can go on with an answer


NETWORKS: dict[str, Network] = {
    "RNN-LN-FW": Network(fast_weights, FastWeights),
    "RNN-LN": Network(slow_only(layer_norm=True), SlowOnly),
    "CONTROL": Network(slow_only(layer_norm=False), SlowOnly),
    "GRU-LN": Network(module("LNGRU")),
    "LSTM-LN": Network(module("LNLSTM")),
    "GRU": Network(module("GRU", batch_first=True)),
    "LSTM": Network(module("LSTM", forget_bias=1.0)),
    "nn.LSTM": Network(module("LSTM", backend="torch")),
    "IRNN": Network(module("IRNN")),
    "A-LSTM": Network(module("AssociativeLSTM")),
    "RNN-LN-FW0": Network(empty, Empty),
    "MULTI-LEVEL": Network(multi_level, MultiLevel),
    "PATCH-CONV": Network(patch_conv, PatchConv, like_lstm=False),
    "FastWeightsModel": Network(blocks, Blocks, like_lstm=False),
    "EncoderDecoder": Network(encoder_decoder, Between, pairs=True),
    "FastWeightsTransducer": Network(fast_weights_transducer, Fronted, pairs=True),
}


def model_of_pairs(name: str, spec: Spec, config: Config, options: Any) -> Any:
    """The model of a task whose answer is a sequence, whatever network is named."""
    network = network_of(name)
    if not network.like_lstm:
        wanted = "a network whose state has the form of nn.LSTM's, such as RNN-LN-FW"
        raise UserError(f"{name}: got a task whose answer is a sequence of its own, wanted {wanted}")
    return (network.build if network.pairs else partial(transducer, network))(spec, config, options)


def network_of(name: str) -> Network:
    """The network called `name`, or the user's `package.module:Class`.

    A class is called as Class(input_size, hidden_size, batch_first=True), the signature of `nn.GRU`.
    """
    if name in NETWORKS:
        return NETWORKS[name]
    if not is_own(name):
        raise UserError(f"unknown model {name!r}{near(name, NETWORKS)} (models: {', '.join(NETWORKS)})")
    return Network(lambda input_size, hidden_size, options: own_network(name, input_size, hidden_size))


def own_network(name: str, input_size: int, hidden_size: int) -> Any:
    from torch import nn

    wanted = "wanted package.module:Class, called as Class(input_size, hidden_size, batch_first=True)"
    kind = import_own("model", name, wanted)
    try:
        made = kind(input_size, hidden_size, batch_first=True)
    except Exception as error:  # whatever a file of the user's does
        raise UserError(f"model {name!r}: got {type(error).__name__}: {error}; {wanted}") from error
    if not isinstance(made, nn.Module):
        raise UserError(f"model {name!r}: got {type(made).__name__}, wanted an nn.Module")
    return made


def default_rule(models: Sequence[str]) -> str:
    """The rule that is trained where none is named: that of the first network that has one."""
    made = [network_of(model).options() for model in models]
    return next((type(each.rule).__name__ for each in made if hasattr(each, "rule")), DEFAULT_RULE.__name__)


def rule_of(name: str) -> type:
    """The update rule called `name` in fastweights.rules, or the user's `package.module:Class`."""
    known = {**rules.registered(), **rules.scanned()}
    if name in known:
        return known[name]
    if not is_own(name):
        raise UserError(f"unknown --rule {name!r}{near(name, known)} (rules: {', '.join(known)})")
    kind = import_own("rule", name, f"wanted package.module:Class, {RULE}")
    if not isinstance(kind, type) or not is_dataclass(kind):
        raise UserError(f"--rule {name}: got {getattr(kind, '__name__', kind)}, wanted {RULE}")
    return kind


def make_rule(name: str, constants: dict[str, Any]) -> Any:
    kind = rule_of(name)
    wanted = f"wanted {RULE}"
    if not is_own(name):
        known = {each.name for each in fields(kind)}
        if odd := sorted(constants.keys() - known):
            raise UserError(
                f"--rule {name}: got the constant {shown(odd[0])}, wanted one of {', '.join(sorted(known))}"
            )
        for each in fields(kind):
            if each.name in constants and (said := fault(constants[each.name], type(each.default), each.name)):
                raise UserError(f"--rule {name}: {said}")
        return kind(**constants)
    try:
        made = kind(**constants)
        fields(made)
    except Exception as error:
        raise UserError(f"--rule {name}: got {type(error).__name__}: {error}; {wanted}") from error
    if not all(callable(getattr(made, method, None)) for method in ("write", "read")) and not hasattr(made, "step"):
        raise UserError(f"--rule {name}: got {type(made).__name__} without write or read, {wanted}")
    return made


def as_json(options: Any) -> dict[str, Any]:
    """Options of a network as plain data; a rule by its name and its constants."""
    found = {each.name: getattr(options, each.name) for each in fields(options)}
    if "rule" in found:
        found["rule"] = {
            "name": name_of(found["rule"], {**rules.registered(), **rules.scanned()}),
            **asdict(found["rule"]),
        }
    return found


def from_json(model: str, stored: dict[str, Any]) -> Any:
    """The options of the network `model` from what `as_json` made of them."""
    kind = network_of(model).options
    known = {each.name for each in fields(kind)}
    if odd := sorted(stored.keys() - known):
        raise UserError(f"{model} has no option {shown(odd[0])}{near(odd[0], known)}")
    if said := fault(stored, kind):
        raise UserError(f"network: {said}")
    values: dict[str, Any] = {n: tuple(value) if isinstance(value, list) else value for n, value in stored.items()}
    if "rule" in values:
        constants = dict(values["rule"])
        values["rule"] = make_rule(constants.pop("name"), constants)
    return kind(**values)
