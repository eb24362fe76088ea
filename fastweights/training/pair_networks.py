"""The networks of tasks whose answer is a sequence of its own, each with the options that it has.

Without torch until one is built, as `networks.py`.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast, get_args

from fastweights import rules
from fastweights.errors import UserError, shown
from fastweights.own import name_of_class
from fastweights.tasks import Spec
from fastweights.training.config import MOST_UNITS, Config, flag

EMBEDDING_SIZE, HEAD_SIZE = 32, 80  # where nobody says


@dataclass(frozen=True)
class Between:
    """Of an encoder and a decoder with a memory between them."""

    memory: str = "delta"
    """What stands between them: last-state, attention, additive-attention, linear, delta, gated-delta, slots, or
    package.module:Class, called as Class(states_size, queries_size)."""
    backbone: Literal["gru", "fast-weights"] = "gru"
    """The networks of both."""
    encoder_size: int = 64
    """Units of the encoder, a direction; those of the decoder are --hidden-size."""

    def __post_init__(self) -> None:
        if isinstance(self.memory, type):
            object.__setattr__(self, "memory", name_of_class(self.memory, {}))
        check_choice("--backbone", self.backbone, Between.__annotations__["backbone"])
        check_size("--encoder-size", self.encoder_size)


@dataclass(frozen=True)
class Fronted:
    """Of the fast-weights network that reads a source and goes on with its answer."""

    rule: Any = field(default_factory=lambda: rules.Hebbian(decay=0.95, rate=0.05))
    """The update rule of the fast weights."""
    learned: tuple[str, ...] = cast(Any, None)  # the constants of the paper's rule, or what another learns
    """Constants of the rule to learn, as --learned decay rate."""
    inner_steps: int = 1
    """Iterations of the inner loop (S); the paper's: 1."""
    front: Literal["none", "gru", "fast-weights"] = "none"
    """A network that reads the source both ways before."""
    front_size: int = 64
    """Its units, a direction."""
    backend: str = "auto"
    """How the recurrence is computed; auto: the fastest that can."""

    METHODS: ClassVar[tuple[str, ...]] = ("write", "read")  # what its rule has to have

    @staticmethod
    def usually_learned(rule: type) -> tuple[str, ...]:
        """The constants that are learned where nobody says; those of the paper's rule, too."""
        return ("decay", "rate") if rule is rules.Hebbian else getattr(rule, "LEARNED", ())

    def __post_init__(self) -> None:
        if self.learned is None:
            object.__setattr__(self, "learned", self.usually_learned(type(self.rule)))
        self.memory()
        check_choice("--front", self.front, Fronted.__annotations__["front"])
        check_size("--front-size", self.front_size)

    def memory(self) -> Any:
        """The options of its network alone."""
        from fastweights.training.networks import FastWeights

        return FastWeights(self.rule, self.learned, self.inner_steps, self.backend)


def check_choice(name: str, value: object, known: Any) -> None:
    if value not in get_args(known):
        raise UserError(f"{name} {shown(value)}: wanted {' or '.join(get_args(known))}")


def check_size(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_UNITS:
        raise UserError(f"{name} {shown(value)}: wanted an integer from 1, at most {MOST_UNITS:,}")


def encoder_decoder(spec: Spec, config: Config, options: Between) -> Any:
    from fastweights.nn import EncoderDecoder

    return EncoderDecoder(
        spec.inputs,
        spec.outputs,
        memory=options.memory,
        backbone=options.backbone,
        encoder_size=options.encoder_size,
        decoder_size=config.hidden_size,
        **sizes_of(config),
    )


def fast_weights_transducer(spec: Spec, config: Config, options: Fronted) -> Any:
    from torch import nn

    from fastweights.nn import FastWeightsRNN, Transducer
    from fastweights.training.networks import fast_weights

    sizes, memory, size = sizes_of(config), options.memory(), options.front_size
    both_ways: Any = {"batch_first": True, "bidirectional": True}
    front = None
    if options.front == "gru":
        front = nn.GRU(sizes["embedding_size"], size, **both_ways)
    elif options.front == "fast-weights":
        front = FastWeightsRNN(
            sizes["embedding_size"], size, rule=memory.rule, learned=memory.learned, backend=memory.backend, **both_ways
        )
    recurrent = fast_weights(sizes["embedding_size"], config.hidden_size, memory)
    around = {"front": front, "front_size": 2 * size, **sizes}
    return Transducer(recurrent, spec.inputs, spec.outputs, config.hidden_size, **around)


def transducer(network: Any, spec: Spec, config: Config, options: Any) -> Any:
    """Any network, which reads a source and goes on with its answer."""
    from fastweights.nn import Transducer

    sizes = sizes_of(config)
    recurrent = network.build(sizes["embedding_size"], config.hidden_size, options)
    return Transducer(recurrent, spec.inputs, spec.outputs, config.hidden_size, **sizes)


def sizes_of(config: Config) -> dict[str, Any]:
    """Of the layers around a network that reads pairs: a table, and one layer before the answer."""
    for name in ("embedding_sizes", "head_sizes"):
        if len(sizes := getattr(config, name)) > 1:
            raise UserError(f"{flag(name)} {' '.join(map(str, sizes))}: wanted one size, where an answer is a sequence")
    embedding_size, head_size = (*config.embedding_sizes, EMBEDDING_SIZE)[0], (*config.head_sizes, HEAD_SIZE)[0]
    return {"embedding_size": embedding_size, "head_size": head_size, "dropout": config.head_dropout}
