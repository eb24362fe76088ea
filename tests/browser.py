"""Chromium as users have it, driven by Playwright, and pages of networks that nobody had to train."""

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from fastweights.explorer.contents import contents
from fastweights.explorer.page import page
from fastweights.training.config import Config
from fastweights.training.networks import NETWORKS
from fastweights.training.setup import Setup
from fastweights.training.trained import TrainedRun

WEB = Path(__file__).parent.parent / "web"
CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic"]


@pytest.fixture(scope="session")
def chromium():
    if CHROMIUM is None:
        pytest.skip("there is no chromium: `make browser` installs it")
    if find_spec("playwright") is None:
        pytest.skip("there is no playwright: `make browser` installs it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium, tmp_path):
    """Opens a page of runs from disk; nothing but that file may be asked for, and nothing may be said of errors."""
    asked, said = [], []

    def open_runs(runs, **settings):
        file = tmp_path / "explore.html"
        file.write_bytes(page(contents(runs)))
        tab = chromium.new_context(**{"viewport": {"width": 1024, "height": 900}, **settings}).new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.goto(file.as_uri())
        tab.wait_for_selector("#strip")
        tabs.append((tab, file.as_uri()))
        return tab

    tabs = []
    yield open_runs
    for tab, _ in tabs:
        tab.context.close()
    assert [url for url in asked if url not in [own for _, own in tabs]] == [] and said == []


def run_of(name, task, network=None, *, model=None, folder="runs/made", **config):
    """A run as a folder would give it, with weights that are far from those of the start."""
    torch.manual_seed(len(name))
    setup = Setup(name if name in NETWORKS else "RNN-LN-FW", task, Config(**{"hidden_size": 12, **config}), network)
    made = (model or setup.build()).double().eval()
    with torch.no_grad():
        for each, parameter in made.named_parameters():
            if not each.endswith("raw_l0"):
                parameter.add_(0.3 * torch.randn_like(parameter)).copy_(parameter.float())
    return TrainedRun(Path(folder), name, made, task, setup.config, setup.network, [])
