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
from fastweights.nn.input_layers import UnknownProjection, centered_of, decays_of, rotated_of, shares_of
from fastweights.nn.irnn import IRNN
from fastweights.nn.ln_gru import LNGRU
from fastweights.nn.ln_lstm import LNLSTM
from fastweights.nn.lstm import LSTM

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
    "LSTM": lambda size, config: LSTM(size, config.hidden_size, forget_bias=1.0),
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
    return SequenceClassifier(
        recurrent,
        num_symbols,
        num_classes,
        config.hidden_size,
        embedding_sizes=config.embedding_sizes,
        head_sizes=config.head_sizes,
        input_scale=config.symbol_scale if config.linear_embeddings or not config.embedding_sizes else 1.0,
        linear_embeddings=config.linear_embeddings,
        head_dropout=config.head_dropout,
    )


def try_out(name: str, config: Config) -> None:
    """Build the network and call it once: what is wrong with it is known before the first process starts."""
    rule_of(config)  # whether or not this network has one: it is recorded
    model = build(name, config, 2, 2)
    shares_of(model, config)  # refuse a network without a projection of the input that they know
    decays_of(model, config)
    rotated_of(model, config)
    centered_of(model, config)
    wanted = f"wanted output, state = model(input), the output [batch, time, {config.hidden_size}]"
    symbols = torch.tensor([[0, 1, 1], [1, 0, 0]])
    try:
        model(symbols)
        with torch.no_grad():
            model.eval()
            together, again = model(symbols), model(symbols)
            apart = torch.cat([model(symbols[:1]), model(symbols[1:])])
    except Exception as error:
        if name in BUILDERS:
            raise
        raise ValueError(f"model {name!r}: got {type(error).__name__} when it was called: {error}; {wanted}") from error
    if torch.equal(together, again) and not torch.allclose(together, apart, rtol=1e-3, atol=1e-4, equal_nan=True):
        raise ValueError(f"model {name!r}: got other outputs for a sequence when another is asked beside it; {wanted}")


def fitting(name: str, config: Config) -> Config:
    """The settings for a user's network: where not exactly one of its weights is known to be C, C learns at the rate of
    the other weights."""
    if knows_projection(name, config):
        return config
    return replace(config, input_learning_rates=(*config.input_learning_rates[:-1], 1.0))


def knows_projection(name: str, config: Config) -> bool:
    """Whether the learning rate that C has of its own, if it has one, finds its weight."""
    try:
        shares_of(build(name, config, 2, 2), config)
    except UnknownProjection:
        return False
    return True


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
