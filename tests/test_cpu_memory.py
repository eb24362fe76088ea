"""The threads and the memory of the cpu backend."""

import threading
import weakref

import pytest
import torch
from op_calls import assert_close, draw, results, run

from fastweights.ops.cpu import buffers
from fastweights.ops.cpu import threads as cpu_threads
from fastweights.ops.fast_weights_rnn import cpu_passes
from fastweights.rules import Cosine, Delta, Hebbian

pytest.importorskip("numba")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("openmp", [True, False])
def test_results_depend_on_neither_threads_nor_the_run(dtype, openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr(cpu_threads, "_openmp", lambda: None)
    monkeypatch.setattr(cpu_threads, "PAYS", 0)
    leaves = draw(150, 7, 24, dtype, initial=True)
    once = results(leaves, final_weights=False)  # those are computed by torch, whose sums may depend on its threads
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        again = results(leaves, final_weights=False)
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))


@pytest.mark.parametrize("openmp", [True, False])
def test_callers_in_several_threads_do_not_disturb_each_other(openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr(cpu_threads, "_openmp", lambda: None)
    monkeypatch.setattr(cpu_threads, "PAYS", 0)
    torch.set_num_threads(2)
    problems = [draw(40 + 9 * i, 5, 12 + i, seed=i) for i in range(4)]
    want = [results(p) for p in problems]
    got = [None] * 4

    def work(i):
        torch.set_num_threads(2)
        for _ in range(20):
            got[i] = results(problems[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(got, want, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("openmp", [True, False])
def test_an_error_in_a_thread_reaches_the_caller(openmp, monkeypatch):
    if not openmp:
        monkeypatch.setattr(cpu_threads, "_openmp", lambda: None)

    def share(index, first, last):
        if index == 1:
            raise KeyError("in a thread")

    with pytest.raises(KeyError, match="in a thread"):
        cpu_threads.share_out(share, 4, 2)


@pytest.mark.parametrize("inner_steps", [0, 2])
@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("kind", [Hebbian, Cosine, Delta])
def test_nothing_depends_on_uninitialised_memory(inner_steps, ragged, kind, monkeypatch):
    leaves = draw(11, 6, 13, initial=True)
    options = {"kind": kind, "inner_steps": inner_steps, "lengths": torch.arange(11) % 7 if ragged else None}
    want = results(leaves, **options)
    original = cpu_passes.scratch
    monkeypatch.setattr(cpu_passes, "scratch", lambda *a: original(*a).fill_(float("nan")))
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    for held in buffers._spare.values():
        for buffer in held:
            buffer.fill(float("nan"))
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        got = results(leaves, **options)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))


def test_buffers_are_lent_again_only_once_their_graph_is_gone(monkeypatch):
    monkeypatch.setattr(buffers, "_spare", {})
    leaves, other = draw(3, 4, 5), draw(3, 4, 5, seed=7)
    want = [torch.autograd.grad(run(each, need_state=False)[0].sum(), each["inputs"])[0] for each in (leaves, other)]
    assert [len(held) for held in buffers._spare.values()] == [1]
    first, second = (run(each, need_state=False)[0].sum() for each in (leaves, other))
    assert [len(held) for held in buffers._spare.values()] == [0]
    for _ in range(2):
        got = [
            torch.autograd.grad(loss, each["inputs"], retain_graph=True)[0]
            for loss, each in ((first, leaves), (second, other))
        ]
        assert all(torch.equal(a, b) for a, b in zip(got, want, strict=True))
    del first, second
    assert [len(held) for held in buffers._spare.values()] == [2]


def test_the_memory_of_a_state_is_lent_again_only_once_nobody_holds_it(monkeypatch):
    monkeypatch.setattr(buffers, "_spare", {})
    with torch.no_grad():
        first = run(draw(3, 4, 5))[1].weights[1]  # a view holds it, too
        kept = first.clone()
        for seed in range(3):
            run(draw(3, 4, 5, seed=seed))
    assert torch.equal(first, kept)


def test_a_buffer_that_is_not_kept_lives_while_a_kernel_has_its_address(monkeypatch):
    monkeypatch.setattr(buffers, "_local", threading.local())
    monkeypatch.setattr(buffers, "_KEEP_BYTES", 0)
    scratch, launch, made, launched = cpu_passes.scratch, cpu_passes.launch, [], []

    def recorded(*arguments):
        buffer = scratch(*arguments)
        made.append(weakref.ref(buffer))
        return buffer

    def checked(module, name, *arguments):
        launched.append((name, all(buffer() is not None for buffer in made)))
        return launch(module, name, *arguments)

    monkeypatch.setattr(cpu_passes, "scratch", recorded)
    monkeypatch.setattr(cpu_passes, "launch", checked)
    total = run(draw(3, 4, 5))[0].sum()
    made.clear()  # of the forward pass, which is over
    total.backward()
    assert launched == [("forward", True), ("backward", True), ("collect", True)]


def test_no_more_than_so_much_is_kept_between_calls(monkeypatch):
    monkeypatch.setattr(buffers, "_spare", {})
    monkeypatch.setattr(buffers, "_KEEP_BYTES", 1000)
    for count in (100, 50, 30, 200):
        buffers.lend((count,), torch.float64)
    assert [(size, len(held)) for (size, _), held in buffers._spare.items() if held] == [(50, 1), (30, 1)]
