"""Ops: how a sequence is run. One op a folder, one backend a file, each equal to its `reference.py`."""

from fastweights.ops.fast_weights_rnn import fast_weights_rnn
from fastweights.ops.fast_weights_rnn.call import UnsupportedBackend
from fastweights.ops.state import FastWeightsState

__all__ = ["FastWeightsState", "UnsupportedBackend", "fast_weights_rnn"]
