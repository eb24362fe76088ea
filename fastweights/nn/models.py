"""The recurrent networks by the names that papers and the command line give them."""

import os
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib import import_module

import torch
from torch import nn

from fastweights import rules
from fastweights.config import Config, near
from fastweights.nn.associative_lstm import AssociativeLSTM
from fastweights.nn.classifier import SequenceClassifier
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.irnn import IRNN
from fastweights.nn.ln_gru import LNGRU
from fastweights.nn.ln_lstm import LNLSTM

ORTHOGONAL_SCALE = 0.5


def fast_weights(input_size: int, config: Config, layer_norm: bool = True) -> nn.Module:
    made = FastWeightsRNN(
        input_size,
        config.hidden_size,
        batch_first=True,
        rule=rule_of(config),
        learned=config.learned,
        inner_steps=config.inner_steps,
        layer_norm=layer_norm,
        backend=config.backend,
    )
    if config.orthogonal:
        nn.init.orthogonal_(made.get_parameter("weight_hh_l0"), ORTHOGONAL_SCALE)
        variance = 1 / max(input_size, config.hidden_size)  # of an element of an orthogonal matrix
        nn.init.orthogonal_(made.get_parameter("weight_ih_l0"), 1 / (config.symbol_scale * variance**0.5))
    return made


def rule_of(config: Config) -> rules.Rule:
    """The rule that is named, with those of its constants that are settings."""
    names = [name for name in rules.__all__ if name != "Rule"]
    if config.rule not in names:
        raise ValueError(f"unknown --rule {config.rule!r}{near(config.rule, names)} (rules: {', '.join(names)})")
    kind = getattr(rules, config.rule)
    return kind(**{field.name: getattr(config, field.name) for field in fields(kind) if hasattr(config, field.name)})


def slow_only(input_size: int, config: Config, layer_norm: bool) -> nn.Module:
    return fast_weights(input_size, replace(config, rule="Hebbian", inner_steps=0, learned=()), layer_norm)


BUILDERS: dict[str, Callable[[int, Config], nn.Module]] = {
    "RNN-LN-FW": fast_weights,
    "RNN-LN": lambda size, config: slow_only(size, config, layer_norm=True),
    "CONTROL": lambda size, config: slow_only(size, config, layer_norm=False),
    "GRU-LN": lambda size, config: LNGRU(size, config.hidden_size),
    "LSTM-LN": lambda size, config: LNLSTM(size, config.hidden_size),
    "GRU": lambda size, config: nn.GRU(size, config.hidden_size, batch_first=True),
    "LSTM": lambda size, config: nn.LSTM(size, config.hidden_size, batch_first=True),
    "IRNN": lambda size, config: IRNN(size, config.hidden_size),
    "A-LSTM": lambda size, config: AssociativeLSTM(size, config.hidden_size),
    "RNN-LN-FW0": lambda size, config: fast_weights(size, replace(config, rate=0.0, learned=())),
}


def build(name: str, config: Config, num_symbols: int, num_classes: int) -> SequenceClassifier:
    """The classifier around the network called `name`, or around the user's `package.module:Class`.

    A class is called as Class(input_size, hidden_size, batch_first=True), the signature of `nn.GRU`.
    """
    size = config.embedding_sizes[-1] if config.embedding_sizes else num_symbols
    recurrent = BUILDERS[name](size, config) if name in BUILDERS else _import(check_model(name), size, config)
    model = SequenceClassifier(
        recurrent,
        num_symbols,
        num_classes,
        config.hidden_size,
        embedding_sizes=config.embedding_sizes,
        head_sizes=config.head_sizes,
        input_scale=config.symbol_scale if config.linear_embeddings or not config.embedding_sizes else 1.0,
        linear_embeddings=config.linear_embeddings,
    )
    if config.identity and isinstance(recurrent, FastWeightsRNN):
        start_as_identity(model, recurrent)
    return model


@torch.no_grad()
def start_as_identity(model: SequenceClassifier, recurrent: FastWeightsRNN) -> None:
    """Each column of the table becomes the input of one unit, at unit variance, as with one-hot symbols.

    Where there are more units than columns, a second unit gets a column negated: their ReLUs keep both halves of it.
    """
    table, *others = (layer for layer in model.embedding if isinstance(layer, nn.Linear))
    bound = recurrent.hidden_size**-0.5
    nn.init.uniform_(table.weight, -bound, bound)
    for layer in others:
        nn.init.eye_(layer.weight)
    columns = min(layer.out_features for layer in (table, *others))
    projection = recurrent.get_parameter("weight_ih_l0").zero_()
    for unit in range(recurrent.hidden_size):
        projection[unit, unit % columns] = (-1) ** (unit // columns) * 3**0.5 / bound


def shares_of(model: SequenceClassifier, config: Config) -> list[float]:
    """What the learning rate of each parameter is multiplied by, from `input_rates`.

    An update of C or of a later embedding layer changes what the network sees of every symbol, and by the sum over its
    inputs; one of the table that of one symbol alone.
    """
    if not config.input_rates:
        return [1.0 for _ in model.parameters()]
    of_layer = zip(input_layers(model, "--input-rates"), config.input_rates, strict=True)
    by_parameter = {parameter: share for layer, share in of_layer for parameter in layer}
    return [by_parameter.get(parameter, 1.0) for parameter in model.parameters()]


def decays_of(model: SequenceClassifier, config: Config) -> list[float]:
    """The weight decay of each parameter: `table_decay` for the weight that has numbers of each symbol, else 0.

    Layer norm makes C x grow: what it sees does not depend on the scale of the boundary, so that no gradient holds it
    back. A unit far below zero for several symbols at once learns nothing of them any more, and they keep one code.
    """
    if not config.table_decay:
        return [0.0 for _ in model.parameters()]
    table = input_layers(model, "--table-decay")[0][0]
    return [config.table_decay if parameter is table else 0.0 for parameter in model.parameters()]


def input_layers(model: SequenceClassifier, why: str) -> list[list[nn.Parameter]]:
    """The parameters of the embedding layers, and the network's projection of its input: C, weight_ih_l0 in nn.GRU."""
    layers = [list(layer.parameters()) for layer in model.embedding if isinstance(layer, nn.Linear)]
    names = [(name.rpartition(".")[2], parameter) for name, parameter in model.recurrent.named_parameters()]
    projection = [parameter for name, parameter in names if name in ("weight_ih_l0", "weight_input")]
    if not projection:
        got = type(model.recurrent).__name__
        raise ValueError(f"{why}: got a {got} without a weight_ih_l0, wanted a network with one, as nn.GRU has")
    return [*layers, projection]


def try_out(name: str, config: Config) -> None:
    """Build the network and call it once: what is wrong with it is known before the first process starts."""
    rule_of(config)  # whether or not this network has one: it is recorded
    model = build(name, config, 2, 2)
    shares_of(model, config), decays_of(model, config)
    try:
        model(torch.zeros(1, 2, dtype=torch.int64))
    except Exception as error:
        if name in BUILDERS:
            raise
        raise ValueError(
            f"model {name!r}: got {type(error).__name__} when it was called: {error}; "
            f"wanted output, state = model(input), the output [batch, time, {config.hidden_size}]"
        ) from error


def check_model(name: str) -> str:
    """The name, if it is one of BUILDERS or a user's package.module:Class."""
    if name not in BUILDERS and ":" not in name:
        raise ValueError(f"unknown model {name!r}{near(name, BUILDERS)} (models: {', '.join(BUILDERS)})")
    return name


def _import(name: str, input_size: int, config: Config) -> nn.Module:
    module, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:  # `python -m` has it; the installed command has not
        sys.path.append(os.getcwd())
    try:
        made = getattr(import_module(module), attribute)(input_size, config.hidden_size, batch_first=True)
    except (Exception, SystemExit) as error:  # whatever a file of the user's does
        raise ValueError(f"model {name!r}: got {type(error).__name__}: {error}; wanted package.module:Class, "
                         "called as Class(input_size, hidden_size, batch_first=True)") from error  # fmt: skip
    if not isinstance(made, nn.Module):
        raise ValueError(f"model {name!r}: got {type(made).__name__}, wanted an nn.Module")
    return made
