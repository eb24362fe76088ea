"""Modules with slow weights: the fast-weights RNN, its baselines, and the model that reads sequences with any of them.

An import here is a registration: a name is `fastweights.nn.NAME`.
"""

from fastweights.nn.associative_lstm import AssociativeLSTM as AssociativeLSTM
from fastweights.nn.causal_attention import CausalAttention as CausalAttention
from fastweights.nn.compiled_decoder import CompiledDecoder as CompiledDecoder
from fastweights.nn.encoder_decoder import EncoderDecoder as EncoderDecoder
from fastweights.nn.fast_weights_layer import FastWeightsLayer as FastWeightsLayer
from fastweights.nn.fast_weights_model import FastWeightsModel as FastWeightsModel
from fastweights.nn.fast_weights_rnn import FastWeightsRNN as FastWeightsRNN
from fastweights.nn.fast_weights_rnn_cell import FastWeightsRNNCell as FastWeightsRNNCell
from fastweights.nn.irnn import IRNN as IRNN
from fastweights.nn.ln_gru import LNGRU as LNGRU
from fastweights.nn.ln_lstm import LNLSTM as LNLSTM
from fastweights.nn.lstm import LSTM as LSTM
from fastweights.nn.multi_level_rnn import MultiLevelRNN as MultiLevelRNN
from fastweights.nn.patch_conv_net import PatchConvNet as PatchConvNet
from fastweights.nn.sequence_model import SequenceModel as SequenceModel
from fastweights.nn.transducer import FastWeightsTransducer as FastWeightsTransducer
from fastweights.nn.transducer import Transducer as Transducer
