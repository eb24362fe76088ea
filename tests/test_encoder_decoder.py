"""Models that answer with a sequence: at once, step by step, padded or not, all the same."""

import warnings

import pytest
import torch
from op_calls import assert_close
from torch import nn

from fastweights.decoding import attended, beam, greedy
from fastweights.errors import UserError
from fastweights.nn import (
    LNGRU,
    AssociativeLSTM,
    CompiledDecoder,
    EncoderDecoder,
    FastWeightsRNN,
    FastWeightsTransducer,
    Transducer,
    memories,
)
from fastweights.rules import Delta, Hebbian

INPUTS, OUTPUTS, BATCH, TIME, STEPS = 6, 4, 4, 7, 5
LENGTHS = torch.tensor([7, 2, 5, 2])
TARGET = torch.full((BATCH, STEPS), OUTPUTS)
SMALL = {"embedding_size": 5, "head_size": 6}


def pair(memory, backbone="gru"):
    return EncoderDecoder(INPUTS, OUTPUTS, memory=memory, backbone=backbone, encoder_size=4, decoder_size=6, **SMALL)


def fast(units, **options):
    return FastWeightsRNN(5, units, batch_first=True, **options)


def one(network):
    return Transducer(network, INPUTS, OUTPUTS, 6, **SMALL)


MODELS = {
    **{name: lambda name=name: pair(name) for name in memories.registered()},
    "delta, fast weights": lambda: pair("delta", "fast-weights"),
    "last-state, lstm": lambda: pair("last-state", "lstm"),
    "one": lambda: FastWeightsTransducer(INPUTS, OUTPUTS, 6, **SMALL),
    "one behind gru": lambda: FastWeightsTransducer(INPUTS, OUTPUTS, 6, front="gru", **SMALL),
    "one behind fast weights": lambda: FastWeightsTransducer(INPUTS, OUTPUTS, 6, front="fast-weights", **SMALL),
    "two": lambda: FastWeightsTransducer(INPUTS, OUTPUTS, 6, own_weights=True, front="fast-weights", **SMALL),
    "nn.LSTM": lambda: one(nn.LSTM(5, 6, num_layers=2, batch_first=True)),
    "LNGRU": lambda: one(LNGRU(5, 6)),
    "AssociativeLSTM": lambda: one(AssociativeLSTM(5, 6)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def made(name):
    torch.manual_seed(0)
    return MODELS[name]().double()


def drawn():
    g = torch.Generator().manual_seed(1)
    source = torch.randint(INPUTS, (BATCH, TIME), generator=g)
    answer = torch.randint(OUTPUTS, (BATCH, STEPS - 1), generator=g)
    return source, torch.cat([torch.full((BATCH, 1), OUTPUTS), answer], dim=1)


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
@every_model
def test_symbol_by_symbol_is_all_at_once(name, lengths):
    model, (source, target_in) = made(name), drawn()
    want = model(source, target_in, lengths=lengths)
    for grad in (True, False):  # a streamed step without a gradient is a compiled one
        with torch.set_grad_enabled(grad):
            state, got = model.encode(source, lengths), []
            for symbols in target_in.unbind(1):
                answers, state = model.step(symbols, state)
                got.append(answers)
        assert_close([torch.stack(got, 1).detach()], [want.detach()])
    assert want.shape == (BATCH, STEPS, OUTPUTS) and state.bytes > 0


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["whole", "ragged"])
def test_a_memory_in_factored_form_is_the_matrix(lengths, grad):
    model, (source, target_in) = made("one"), drawn()
    want = model(source, target_in, lengths=lengths)
    with torch.set_grad_enabled(grad):
        state, got = model.encode(source, lengths, factored=True), []
        for symbols in target_in.unbind(1):
            answers, state = model.step(symbols, state)
            got.append(answers)
    assert_close([torch.stack(got, 1).detach()], [want.detach()])
    index = torch.tensor([1, 1, 3])
    dense = model.encode(source, lengths, factored=False)
    assert_close([model.step(target_in[index, 0], dense.select(index))[0].detach()], [got[0][index].detach()])
    both = [model.step(target_in[:, 0], model.emptied(each))[0].detach() for each in (dense, state)]
    assert both[0].shape == both[1].shape and state.bytes == BATCH * (TIME + STEPS) * 6 * 8


def test_many_short_sources_are_held_in_factored_form():
    model = FastWeightsTransducer(INPUTS, OUTPUTS, 20, **SMALL)
    sizes = [model.encode(torch.zeros(*shape, dtype=torch.long)).bytes for shape in ((17, 5), (16, 5), (17, 11))]
    assert sizes == [17 * 5 * 20 * 4, 16 * 420 * 4, 17 * 420 * 4]


@every_model
def test_padding_changes_no_answer_and_no_gradient(name):
    model, (source, target_in) = made(name), drawn()
    weigh = torch.randn(BATCH, STEPS, OUTPUTS, dtype=torch.float64)

    def gradients(loss):
        found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        return [torch.zeros(1) if each is None else each for each in found]

    padded = model(source, target_in, lengths=LENGTHS)
    alone = [
        model(source[row : row + 1, :length], target_in[row : row + 1]) for row, length in enumerate(LENGTHS.tolist())
    ]
    assert_close([padded.detach()], [torch.cat(alone).detach()])
    assert_close(gradients((padded * weigh).sum()), gradients((torch.cat(alone) * weigh).sum()))


@every_model
def test_greedy_is_the_argmax_under_teacher_forcing_and_beam_of_one(name):
    model, (source, _) = made(name), drawn()
    found = greedy(model, source, LENGTHS, limit=6)
    target_in = torch.cat([torch.full((BATCH, 1), OUTPUTS), found.symbols[:, :-1]], dim=1)
    steps = torch.log_softmax(model(source, target_in, lengths=LENGTHS), dim=-1).detach()
    for row, length in enumerate(found.lengths.tolist()):
        said = min(length + 1, found.symbols.shape[1])  # and the end
        assert torch.equal(steps[row, :said].argmax(-1), found.symbols[row, :said])
        assert abs(float(steps[row, :said].max(-1).values.sum()) - float(found.scores[row])) < 1e-10
    narrow = beam(model, source, LENGTHS, width=1, limit=6)
    assert torch.equal(narrow.symbols[:, 0], found.symbols) and torch.equal(narrow.lengths[:, 0], found.lengths)
    assert_close([narrow.scores[:, 0]], [found.scores])


def every_answer(end, limit):
    """All answers of at most `limit` symbols, the end included or not reached."""
    open_ones = [()]
    for _ in range(limit):
        grown = [(*each, symbol) for each in open_ones for symbol in range(OUTPUTS)]
        yield from (each for each in grown if each[-1] == end)
        open_ones = [each for each in grown if each[-1] != end]
    yield from open_ones


@pytest.mark.parametrize("name", ["delta", "attention", "one"])
def test_a_wide_beam_finds_the_most_probable_answers(name):
    model, (source, _) = made(name), drawn()
    source, limit = source[:1], 3
    answers = list(every_answer(model.end, limit))
    scored = []
    for answer in answers:
        target_in = torch.tensor([[model.begin, *answer[:-1]]])
        steps = torch.log_softmax(model(source, target_in), dim=-1)[0].detach()
        scored.append((float(steps[range(len(answer)), list(answer)].sum()), answer))
    scored.sort(reverse=True)
    found = beam(model, source, width=len(answers), limit=limit)
    for place, (score, answer) in enumerate(scored):
        assert abs(float(found.scores[0, place]) - score) < 1e-10
        assert found.symbols[0, place, : len(answer)].tolist() == list(answer)
    assert float(beam(model, source, width=8, limit=limit).scores[0, 0]) >= float(
        greedy(model, source, limit=limit).scores[0]
    )


@every_model
def test_beams_are_streams_of_their_own(name):
    model, (source, _) = made(name), drawn()
    together, alone = beam(model, source, LENGTHS, width=3, limit=5), []
    for row, length in enumerate(LENGTHS.tolist()):
        alone.append(beam(model, source[row : row + 1, :length], width=3, limit=5).scores)
    assert_close([together.scores], [torch.cat(alone)])


@every_model
def test_what_was_attended_to_lies_inside_the_source(name):
    model, (source, _) = made(name), drawn()
    seen = attended(model, source, greedy(model, source, LENGTHS, limit=5).symbols, LENGTHS)
    if name in ("last-state", "last-state, lstm", "two", "nn.LSTM", "LNGRU", "AssociativeLSTM"):
        assert seen is None
        return
    assert seen.shape[::2] == (BATCH, TIME) and seen[0].abs().sum() > 0
    assert not seen[1, :, 2:].any()


def test_a_rule_whose_reads_are_no_attention_tells_nothing():
    model, (source, target_in) = one(fast(6, rule=Delta())), drawn()
    assert model.attended(source, target_in) is None


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("nn.LSTM", "LNGRU", "AssociativeLSTM")])
def test_an_emptied_memory_forgets_the_source(name):
    model, (source, target_in) = made(name), drawn()
    state = model.encode(source, LENGTHS)
    emptied = model.emptied(state)
    assert emptied.bytes <= state.bytes
    assert not torch.equal(model.step(target_in[:, 0], state)[0], model.step(target_in[:, 0], emptied)[0])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", memories.registered())
def test_a_compiled_step_is_the_step(name, dtype):
    torch.manual_seed(0)
    model = EncoderDecoder(INPUTS, OUTPUTS, memory=name, encoder_size=9, decoder_size=19, embedding_size=5, head_size=7)
    model, (source, target_in) = model.to(dtype), drawn()
    want = model(source, target_in, lengths=LENGTHS)
    compiled, got = CompiledDecoder(model), []
    state = compiled.encode(source, LENGTHS)
    for symbols in target_in.unbind(1):
        answers, state = compiled.step(symbols, state)
        got.append(answers)
    assert_close([torch.stack(got, 1)], [want.detach()], 1e-10 if dtype == torch.float64 else 1e-5)
    if dtype == torch.float64:
        for search in (greedy, beam):
            mine, theirs = (search(each, source, LENGTHS, limit=5) for each in (compiled, model))
            assert torch.equal(mine.symbols, theirs.symbols)
            assert_close([mine.scores], [theirs.scores])


def test_a_compiled_step_refuses_what_it_cannot_read():
    with pytest.raises(UserError, match="got FastWeightsRNN, wanted an EncoderDecoder whose decoder is an nn.GRU"):
        CompiledDecoder(made("delta, fast weights"))
    compiled = CompiledDecoder(made("delta"))
    state = compiled.encode(drawn()[0])
    with pytest.raises(IndexError, match="symbols: got 0 to 5, wanted 0 to 4"):
        compiled.step(torch.tensor([0, 5, 1, 1]), state)
    for wrong in (torch.tensor([0, 1]), torch.tensor([0.0, 1, 1, 1])):
        with pytest.raises(UserError, match="step: got symbols"):
            compiled.step(wrong, state)
    for wrong in (made("last-state"), made("delta").float()):  # a state of another model
        with pytest.raises(UserError, match=r"step: got symbols.* wanted \[4\], \[1, 4, 6\], \[4, 80, 48\]"):
            compiled.step(torch.tensor([0, 1, 1, 1]), wrong.encode(drawn()[0]))


def test_dropout_rests_while_decoding_and_goes_on_after():
    torch.manual_seed(0)
    model = EncoderDecoder(INPUTS, OUTPUTS, dropout=0.5, encoder_size=4, decoder_size=6, **SMALL)
    model.encoder.eval()
    first, again = (beam(model, drawn()[0], width=2, limit=4) for _ in range(2))
    assert torch.equal(first.scores, again.scores)
    assert model.training and not model.encoder.training


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: EncoderDecoder(6, 4, backbone="lst"), "backbone: got 'lst', wanted one of gru, lstm, fast-weights; did you mean lstm?"),
        (lambda: FastWeightsTransducer(6, 4, front="gruu"), "front: got 'gruu', wanted None, gru or fast-weights; did you mean gru?"),
        (lambda: Transducer(nn.GRU(5, 6), 6, 4, 6), "Transducer: got GRU with batch_first=False"),
        (lambda: Transducer(fast(6), 6, 4, 6, front=nn.GRU(5, 3)), "Transducer: got GRU with batch_first=False"),
        (lambda: one(nn.GRU(5, 3, batch_first=True, bidirectional=True)), "Transducer: got a bidirectional GRU, wanted one that reads forwards"),
        (lambda: Transducer(fast(6), 6, 4, 6, answering=fast(5)), "wanted recurrent and answering to be FastWeightsRNN of one size"),
        (lambda: made("LNGRU").emptied(made("LNGRU").encode(drawn()[0])), "emptied: got a state of LNGRU, wanted one with fast weights"),
        (lambda: greedy(made("delta"), drawn()[0], limit=0), "limit: got 0, wanted an integer >= 1"),
        (lambda: beam(made("delta"), drawn()[0], width=True), "width: got True, wanted an integer >= 1"),
        (lambda: greedy(made("delta"), drawn()[0][:, :0]), "source: got shape [4, 0], wanted [batch, time]"),
        *((call, said) for name in ("delta", "one") for call, said in (
            (lambda name=name: made(name)(drawn()[0].float(), TARGET), "source: got torch.float32 of shape [4, 7], wanted integers [batch, time]"),
            (lambda name=name: made(name)(drawn()[0][0], TARGET), "source: got torch.int64 of shape [7], wanted integers [batch, time]"),
            (lambda name=name: made(name)(drawn()[0] + INPUTS, TARGET), "wanted 0 to 5"),
            (lambda name=name: made(name)(drawn()[0], TARGET - 5), "target_in: got symbol -1, wanted 0 to 4"),
            (lambda name=name: made(name)(drawn()[0], TARGET[:3]), "target_in: got shape [3, 5], wanted [4, steps], a row for each source"),
        )),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(UserError) as error:
        call()
    assert said in str(error.value)


@pytest.mark.parametrize("lengths", [[0, 1, 1, 1], [8, 1, 1, 1], [1, 1]])
@pytest.mark.parametrize("name", ["delta", "one", "LNGRU"])
def test_lengths_that_no_source_has_are_refused(name, lengths):
    with pytest.raises(ValueError, match="lengths: got"):
        made(name).encode(drawn()[0], torch.tensor(lengths))


def test_the_sizes_are_those_of_the_comparison():
    built = {name: EncoderDecoder(27, 40, memory=name) for name in memories.registered()}
    for own in (False, True):
        for front in (None, "gru", "fast-weights"):
            built[f"{front}, {own}"] = FastWeightsTransducer(27, 40, front=front, own_weights=own)
    built |= {each: EncoderDecoder(27, 40, backbone=each) for each in ("lstm", "fast-weights")}
    counts = {name: sum(p.numel() for p in model.parameters()) for name, model in built.items()}
    assert {name: count for name, count in counts.items() if not 132_000 < count < 146_000} == {}


@pytest.mark.parametrize("name", ["delta", "one behind gru", "two", "nn.LSTM"])
def test_lengths_may_be_a_list_or_narrow(name):
    model, (source, target_in) = made(name), drawn()
    calls = (
        model,
        model.attended,
        lambda source, _, lengths: model.step(TARGET[:, 0], model.encode(source, lengths))[0],
    )
    for call in calls:
        want = call(source, target_in, LENGTHS)
        for lengths in (LENGTHS.tolist(), LENGTHS.int(), LENGTHS.to(torch.uint8)):
            torch.testing.assert_close(call(source, target_in, lengths), want)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory", ["delta", "gated-delta"])
def test_delta_memories_run_in_half_precision(memory, dtype):
    model = pair(memory).to(dtype)
    half = model(drawn()[0], TARGET, LENGTHS)
    assert half.dtype is dtype
    torch.testing.assert_close(half.double(), model.double()(drawn()[0], TARGET, LENGTHS), atol=0.03, rtol=0.03)


@pytest.mark.parametrize("own_weights", [False, True])
@pytest.mark.parametrize("front", [None, "gru", "fast-weights"])
def test_a_transducer_warns_of_a_loud_rule_but_not_of_its_own(front, own_weights):
    call, symbols = {"front": front, "own_weights": own_weights}, torch.arange(18).view(2, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FastWeightsTransducer(27, 40, **call)(symbols, symbols)
    with pytest.warns(UserWarning, match="drowns the input.*Begin with a smaller rate"):
        FastWeightsTransducer(27, 40, rule=Hebbian(), **call)(symbols, symbols)
