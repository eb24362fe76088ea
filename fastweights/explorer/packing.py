"""A trained network as plain data: its sizes and options, and its weights as float32 in base64."""

import base64
from collections.abc import Iterable
from typing import Any

import numpy
from torch import Tensor, nn

from fastweights.explorer.order import order_of
from fastweights.nn import IRNN, LNGRU, LNLSTM, FastWeightsRNN, SequenceModel
from fastweights.rules import Cosine, Delta, Hebbian

RULES = (Hebbian, Cosine, Delta)
Packed = dict[str, Any]


def pack(array: Any) -> Packed:
    """Numbers as `web/src/packed.ts` reads them: float32, the low byte first."""
    if isinstance(array, Tensor):
        array = array.detach().cpu().numpy()
    numbers = numpy.ascontiguousarray(array, dtype="<f4")
    return {"shape": list(numbers.shape), "base64": base64.b64encode(numbers.tobytes()).decode()}


def has_memory(model: nn.Module) -> bool:
    """Whether it reads fast weights."""
    recurrent = getattr(model, "recurrent", None)
    return isinstance(recurrent, FastWeightsRNN) and recurrent.inner_steps > 0


def why_not(model: nn.Module) -> str | None:
    """Why the page cannot compute the network; None: it can."""
    if type(model) is not SequenceModel:
        return f"got a model of the kind {type(model).__name__}, wanted one that reads a sequence and answers"
    rnn: Any = model.recurrent
    if type(rnn).forward is not FastWeightsRNN.forward:
        known = "wanted a network that the page can compute: FastWeightsRNN, LSTM, GRU, IRNN"
        return f"got the network {type(rnn).__name__}, {known}" if gated(rnn)[0] is None else None
    if type(rnn.rule) in RULES and not rnn.bidirectional:
        return None
    what = "two directions" if rnn.bidirectional else f"the rule {type(rnn.rule).__name__}"
    known = ", ".join(kind.__name__ for kind in RULES)
    return f"got {what}, wanted one direction and a rule that the page computes: {known}"


def pack_network(model: SequenceModel, inputs: Tensor) -> Packed:
    """What the page needs to compute the network. `inputs`: sequences by which the units are ordered."""
    return {
        "symbols": model.spec.symbols,
        "inputs": model.spec.inputs,
        "scale": model.input_scale,
        "embedding": pack_layers(model.embedding),
        "head": pack_layers(model.head),
        **pack_recurrent(model, inputs),
    }


def pack_layers(layers: Iterable[nn.Module]) -> list[Packed | None]:
    """Linear layers, and None for a ReLU."""
    linear = [layer for layer in layers if not isinstance(layer, nn.Identity)]
    return [{"weight": pack(layer.weight), "bias": pack(layer.bias)} if isinstance(layer, nn.Linear) else None
            for layer in linear]  # fmt: skip


def pack_recurrent(model: SequenceModel, inputs: Tensor) -> Packed:
    recurrent: Any = model.recurrent
    if type(recurrent).forward is FastWeightsRNN.forward:
        given = inputs if model.spec.symbols else inputs.to(recurrent.weight_hh_l0.dtype)
        return {"fast": pack_fast(recurrent, model.look_up(given))}
    kind, sides, vectors = gated(recurrent)
    named = {each: pack(vector) for each, vector in vectors.items()}
    return {"gated": {"kind": kind, "input": pack(sides[0]), "recurrent": pack(sides[1]), "vectors": named}}


def pack_fast(rnn: FastWeightsRNN, features: Tensor) -> list[Packed]:
    """Each layer, the lowest first."""
    layers, learned = [], rnn.constants()
    for place in range(rnn.num_layers):
        suffix = f"_l{place}"
        rule, constants = rnn.rule, {name: values[place] for name, values in learned.items()}
        parameters = {"input": f"weight_ih{suffix}", "recurrent": f"weight_hh{suffix}"}
        parameters |= {"gain": f"gain{suffix}"} if rnn.layer_norm else {}
        parameters |= {"bias": f"bias{suffix}"} if rnn.has_bias else {}
        features = rnn._layer(place, suffix, features)[1]
        layers.append({
            **{key: pack(getattr(rnn, parameter)) for key, parameter in parameters.items()},
            "rule": {"name": type(rule).__name__, **constants, "normalizeKey": getattr(rule, "normalize_key", True)},
            "innerSteps": rnn.inner_steps,
            "nonlinearity": rnn.nonlinearity,
            "order": order_of(features.detach().cpu().numpy()),
        })  # fmt: skip
    return layers


def gated(recurrent: Any) -> tuple[str | None, tuple[Any, Any], dict[str, Any]]:
    """Which of the other networks it is, its two matrices, and its vectors; None: one that the page does not know."""
    if isinstance(recurrent, IRNN):
        into, back, *biases = recurrent.rnn.all_weights[0]
        return "IRNN", (into, back), {"bias": biases[0] + biases[1]}
    if isinstance(recurrent, LNGRU | LNLSTM):
        names = [name for name, _ in recurrent.named_parameters() if not name.startswith("weight")]
        vectors = {name: getattr(recurrent, name) for name in names}
        kind = "LNGRU" if isinstance(recurrent, LNGRU) else "LNLSTM"
        return kind, (recurrent.weight_input, recurrent.weight_recurrent), vectors
    plain = isinstance(recurrent, nn.LSTM | nn.GRU) and recurrent.num_layers == 1 and not recurrent.bidirectional
    if plain and recurrent.bias and not recurrent.proj_size:
        into, back, bias_in, bias_back = recurrent.all_weights[0]
        if isinstance(recurrent, nn.LSTM):
            return "LSTM", (into, back), {"bias": bias_in + bias_back}
        return "GRU", (into, back), {"bias_input": bias_in, "bias_recurrent": bias_back}
    return None, (None, None), {}
