"""How the layers around the network learn: embedding layers and C, the input projection, and those after it."""

from torch import Tensor, nn

from fastweights.config import Config
from fastweights.nn.classifier import SequenceClassifier

PROJECTIONS = ("weight_ih_l0", "weight_input")


class UnknownProjection(ValueError):
    """A network of which no weight, or more than one, is known to be C."""


def shares_of(model: SequenceClassifier, config: Config) -> list[float]:
    """What the learning rate of each parameter is multiplied by, from `input_learning_rates`; a bias has its layer's.

    Behind an embedding table, an update of C or of a later layer changes what the network sees of every symbol, and by
    a sum over features; one of the table changes what it sees of that symbol alone.
    """
    if not config.input_learning_rates:
        return [1.0 for _ in model.parameters()]
    layers = [list(layer.parameters()) for layer in linear_layers(model)]
    of_projection = config.input_learning_rates[-1]
    layers.append([] if of_projection == 1 else [projection_of(model, "--input-learning-rates")])
    of_layer = zip(layers, config.input_learning_rates, strict=True)
    by_parameter = {parameter: share for layer, share in of_layer for parameter in layer}
    return [by_parameter.get(parameter, 1.0) for parameter in model.parameters()]


def decays_of(model: SequenceClassifier, config: Config) -> list[float]:
    """The weight decay of each parameter: `table_weight_decay` for the weight with a column for each symbol,
    `head_weight_decay` for the weights after the network, 0 for biases and others.

    Layer norm lets C x grow: its output does not depend on the scale of the boundary, so that no gradient holds it
    back. A unit far below zero for several symbols at once learns nothing of them any more, and they keep one code. And
    large weights in the head make the loss of every training sequence vanish before the memory keeps its keys apart.
    """
    decays: dict[Tensor, float] = {p: config.head_weight_decay for p in model.head.parameters() if p.dim() == 2}
    if config.table_weight_decay:
        layers = linear_layers(model)
        table = layers[0].weight if layers else projection_of(model, "--table-weight-decay")
        decays[table] = config.table_weight_decay
    return [decays.get(parameter, 0.0) for parameter in model.parameters()]


def rotated_of(model: SequenceClassifier, config: Config) -> list[bool]:
    """Whether SOAP updates a parameter: every matrix, but for the weight with a column for each symbol.

    A basis over symbols would make an update after one of them move the others: keys then come to share a code.
    """
    return inner_matrices(model, "--optimizer soap" if config.optimizer == "soap" else None)


def centered_of(model: SequenceClassifier, config: Config) -> list[bool]:
    """Whether the gradient of a parameter is centered: with `centered_gradients` those that SOAP would update.

    What a layer reads has a mean, behind a ReLU above all, which the gradient of each of its rows contains; Adam, who
    scales each weight by itself, spreads what that mean does over the whole matrix. A table reads one symbol at a time.
    """
    return inner_matrices(model, "--centered-gradients" if config.centered_gradients else None)


def inner_matrices(model: SequenceClassifier, why: str | None) -> list[bool]:
    """Whether a parameter is a matrix, and not the weight with a column for each symbol; no option `why`: none is."""
    if why is None:
        return [False for _ in model.parameters()]
    layers = linear_layers(model)
    table = layers[0].weight if layers else projection_of(model, why)
    return [parameter.dim() == 2 and parameter is not table for parameter in model.parameters()]


def linear_layers(model: SequenceClassifier) -> list[nn.Linear]:
    """The embedding layers; none where symbols are one-hot."""
    return [layer for layer in model.embedding if isinstance(layer, nn.Linear)]


def projection_of(model: SequenceClassifier, why: str) -> nn.Parameter:
    """C: `weight_ih_l0` in nn.GRU, with a column for each feature of a symbol.

    Raises UnknownProjection where the network has none or several, for the option `why`.
    """
    names = [(name.rpartition(".")[2], parameter) for name, parameter in model.recurrent.named_parameters()]
    layers = linear_layers(model)
    width = layers[-1].out_features if layers else len(model.get_buffer("one_hot"))
    found = [(name, p) for name, p in names if name.startswith(PROJECTIONS) and p.shape[1:] == (width,)]
    if len(found) != 1:
        network, got = type(model.recurrent).__name__, ", ".join(name for name, _ in found) or "none"
        raise UnknownProjection(f"{why}: got {network} with {got}, wanted one weight_ih_l0, as nn.GRU has")
    return found[0][1]
