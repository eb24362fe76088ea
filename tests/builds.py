"""A model of any number of symbols and classes, for tests that have no task."""

from fastweights.nn import SequenceModel
from fastweights.tasks import Spec
from fastweights.training.networks import network_of


def build(name, config, symbols, classes, network=None):
    kind = network_of(name)
    size = config.embedding_sizes[-1] if config.embedding_sizes else symbols
    recurrent = kind.build(size, config.hidden_size, network or kind.options())
    options = ("embedding_sizes", "head_sizes", "input_scale", "linear_embeddings", "head_dropout", "embedding_relu")
    given = {option: getattr(config, option) for option in options}
    return SequenceModel(recurrent, Spec(symbols, classes), config.hidden_size, **given)
