"""What happens where somebody swaps nn.GRU for FastWeightsRNN in a small model: next character, or the class of each.

The text is Python's standard library, which every reader has; one file in ten is held out. Embedding, the recurrent
network, a linear layer; AdamW with a cosine, gradients clipped at 1, dropout of a tenth; all by default settings.

    python benchmarks/swap.py --units 64 --layers 2 --length 200
    python benchmarks/swap.py --task tag --layers 4
"""

import argparse
import io
import keyword
import math
import random
import sysconfig
import time
import tokenize
from pathlib import Path

import torch
from torch import Tensor, nn

from fastweights import FastWeightsRNN, Hebbian

CLASSES = ("space", "keyword", "name", "number", "string", "comment", "operator")
CHARACTERS, EMBEDDING, BATCH = 97, 48, 16
KINDS = {tokenize.NAME: 2, tokenize.NUMBER: 3, tokenize.STRING: 4, tokenize.COMMENT: 5, tokenize.OP: 6}
NETWORKS = {
    "nn.GRU": nn.GRU,
    "nn.LSTM": nn.LSTM,
    "FastWeightsRNN": FastWeightsRNN,
    "  no memory": lambda *sizes, **options: FastWeightsRNN(*sizes, inner_steps=0, **options),
    "  the paper's rule": lambda *sizes, **options: FastWeightsRNN(*sizes, rule=Hebbian(), **options),
}


def classes_of(source: str) -> list[int]:
    """The class of each character."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = [0] * len(source)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = 1 if keyword.iskeyword(token.string) else KINDS.get(token.type, 0)
        begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        found[begin:end] = [kind] * (end - begin)
    return found


def windows(length: int, most: int = 3000) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Characters and classes [count, length + 1] to train on, and of files that are held out."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    random.Random(0).shuffle(files)
    held = set(files[::10])
    parts: dict[bool, list[Tensor]] = {True: [], False: []}
    for file in files:
        source = file.read_text(encoding="utf-8", errors="replace")
        try:
            kinds = classes_of(source)
        except (tokenize.TokenError, SyntaxError):
            continue
        codes = [96 if c == "\n" else max(0, min(95, ord(c) - 31)) for c in source]
        both = torch.tensor([codes, kinds])
        whole = both.shape[1] // (length + 1) * (length + 1)
        parts[file in held] += list(both[:, :whole].unflatten(1, (-1, length + 1)).unbind(1)) if whole else []
    train, valid = (torch.stack(parts[which]) for which in (False, True))
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:most]
    valid = valid[torch.randperm(len(valid), generator=torch.Generator().manual_seed(0))[: max(40, 20_000 // length)]]
    return train[chosen, 0], train[chosen, 1], valid[:, 0], valid[:, 1]


class Model(nn.Module):
    def __init__(self, make, options: argparse.Namespace) -> None:
        super().__init__()
        between = 0.1 if options.layers > 1 else 0.0
        self.embedding, self.dropout = nn.Embedding(CHARACTERS, EMBEDDING), nn.Dropout(0.1)
        self.rnn = make(EMBEDDING, options.units, num_layers=options.layers, batch_first=True, dropout=between)
        self.out = nn.Linear(options.units, CHARACTERS if options.task == "next" else len(CLASSES))

    def forward(self, characters: Tensor) -> Tensor:
        return self.out(self.dropout(self.rnn(self.dropout(self.embedding(characters)))[0]))


def asked(options: argparse.Namespace, characters: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    return characters[:, :-1], (characters[:, 1:] if options.task == "next" else classes[:, :-1])


def train(make, data, options: argparse.Namespace, seed: int) -> tuple[float, float, float]:
    """Nats and accuracy on files that are held out, and processor milliseconds an update."""
    torch.manual_seed(seed)
    model, spent = Model(make, options), 0.0
    optimizer = torch.optim.AdamW(model.parameters(), lr=options.learning_rate, weight_decay=0.0)
    warm = max(1, options.updates // 20)
    falls = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda u: min((u + 1) / warm, 0.5 * (1 + math.cos(math.pi * min(1, u / options.updates))))
    )
    draw = torch.Generator().manual_seed(seed)
    for _ in range(options.updates):
        rows = torch.randint(len(data[0]), (BATCH,), generator=draw)
        inputs, targets = asked(options, data[0][rows], data[1][rows])
        begun = time.process_time()
        loss = nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        spent += time.process_time() - begun
        falls.step()
    model.eval()
    with torch.no_grad():
        inputs, targets = asked(options, data[2], data[3])
        answers = torch.cat([model(each) for each in inputs.split(32)])
    nats = nn.functional.cross_entropy(answers.flatten(0, 1), targets.flatten()).item()
    return nats, (answers.argmax(-1) == targets).float().mean().item(), 1e3 * spent / options.updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("next", "tag"), default="next")
    for name, default in (("units", 64), ("layers", 2), ("length", 200), ("updates", 600), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--only", nargs="*", default=list(NETWORKS), help="some of the networks")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = windows(options.length)
    print(f"{vars(options)}\n{'network':<20} {'nats':>6} {'accuracy':>9} {'ms an update':>13}")
    for name, make in NETWORKS.items():
        for seed in range(options.seeds if name in options.only else 0):
            nats, accuracy, cost = train(make, data, options, seed)
            print(f"{name:<20} {nats:>6.3f} {100 * accuracy:>8.2f}% {cost:>13.1f}", flush=True)


if __name__ == "__main__":
    main()
