"""Runs that are trained in a moment."""

import json
import os
import signal

import safetensors.torch
import torch

from fastweights.tasks import AssociativeRetrieval
from fastweights.training import checkpoints, data, loop, run, run_folder
from fastweights.training.config import Config
from fastweights.training.setup import Setup

SMALL = Config(hidden_size=12, epochs=3, train_size=512, valid_size=256, batch_size=64, schedule="constant")
TASK = AssociativeRetrieval(2)


def sequences(config=SMALL, task=TASK):
    return data.draw(task, config.train_size, config.valid_size, config.seed)


def train(model, config, folder, task=TASK, network=None, **options):
    return run.train(Setup(model, task, config, network), sequences(config, task), folder, **options)


def weights(folder):
    return checkpoints.load_checkpoint(folder / run_folder.CHECKPOINT)[0]


def as_before(folder):
    """As an earlier version has written it: the checkpoint has no hash, and does not say of which run it is."""
    tensors, header = checkpoints.load_checkpoint(folder / run_folder.CHECKPOINT)
    save_raw(folder, tensors, {"model": header["model"], "progress": header["progress"]})


def save_raw(folder, tensors, header):
    metadata = {"fastweights": json.dumps(header)}
    (folder / run_folder.CHECKPOINT).write_bytes(safetensors.torch.save(tensors, metadata=metadata))


def same(a, b):
    one, other = weights(a), weights(b)
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def at_update(number, what):
    """A loop that does `what` after so many updates."""

    class Watched(loop.Loop):
        def update(self):
            found = super().update()
            if self.progress.update == number:
                what()
            return found

    return Watched


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
