"""Modules with slow weights: the fast-weights RNN, its baselines, and models made of them."""

from fastweights.nn.associative_lstm import AssociativeLSTM
from fastweights.nn.classifier import SequenceClassifier
from fastweights.nn.fast_weights_rnn import FastWeightsRNN
from fastweights.nn.fast_weights_rnn_cell import FastWeightsRNNCell
from fastweights.nn.irnn import IRNN
from fastweights.nn.ln_gru import LNGRU
from fastweights.nn.ln_lstm import LNLSTM
from fastweights.nn.lstm import LSTM

__all__ = [
    "IRNN",
    "LNGRU",
    "LNLSTM",
    "LSTM",
    "AssociativeLSTM",
    "FastWeightsRNN",
    "FastWeightsRNNCell",
    "SequenceClassifier",
]
