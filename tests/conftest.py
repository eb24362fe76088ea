import os

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import jaxtyping
import pytest
import torch
from hypothesis import settings

# shapes in types are checked, but for what torch.compile has to look through
TYPED = ("nn.associative_lstm", "nn.classifier", "nn.irnn", "nn.ln_gru", "nn.ln_lstm", "tasks")
jaxtyping.install_import_hook([f"fastweights.{name}" for name in TYPED], "beartype.beartype")

settings.register_profile("default", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("default")

from toy_runs import folder, toy  # noqa: E402, F401 - fixtures; what they import goes through the hook

if not torch.cuda.is_available():  # then Triton interprets its kernels, and must know it before it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def as_users_have_it(monkeypatch):
    """Without the checks of shapes in types: what is wrong on purpose gets to our own error messages."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
