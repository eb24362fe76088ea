"""Modules with slow weights: the fast-weights RNN, its baselines, and models made of them."""

from fastweights.nn.classifier import SequenceClassifier
from fastweights.nn.fast_weights_rnn import FastWeightsRNN, FastWeightsRNNCell

__all__ = ["FastWeightsRNN", "FastWeightsRNNCell", "SequenceClassifier"]
