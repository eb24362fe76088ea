"""A memory looked into: what a small network attends to, how loud its memory is, and what a changed memory answers.

python examples/look_into_memory.py
"""

import torch

from fastweights.nn import FastWeightsRNN, SequenceModel
from fastweights.optim import FlatAdamW
from fastweights.rules import Hebbian
from fastweights.tasks import AssociativeRetrieval

TASK = AssociativeRetrieval(num_pairs=2)
QUESTION = "c9k8??c"  # which digit followed c?


def trained(updates: int = 1_000) -> SequenceModel:
    """A network of 50 units with the paper's rule: two seconds of one core."""
    torch.manual_seed(0)
    rnn = FastWeightsRNN(TASK.spec.inputs, 50, batch_first=True, rule=Hebbian(decay=0.95, rate=0.5))
    model = SequenceModel(rnn, TASK.spec, 50)
    optimizer, draw = FlatAdamW(model.parameters(), lr=8e-3, clip=5.0), torch.Generator().manual_seed(0)
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = 8e-3 * (1 - update / updates)
        loss, _ = TASK.loss(model, TASK.draw(128, draw))
        loss.backward()
        optimizer.step()
    return model


def answer(model: SequenceModel, weights_times: float) -> str:
    """To the question, where the memory is multiplied by a number before the last symbol is read."""
    symbols = TASK.encode(QUESTION)[None]
    with torch.no_grad():
        features = model.look_up(symbols)
        _, (hidden, weights) = model.recurrent(features[:, :-1])
        output, _ = model.recurrent(features[:, -1:], (hidden, weights_times * weights))
        return TASK.CLASSES[int(model.head(output[:, -1]).argmax())]


def main(updates: int = 1_000) -> None:
    torch.set_num_threads(1)
    model = trained(updates)
    features = model.look_up(TASK.encode(QUESTION)[None])
    for symbol, weight in zip(QUESTION, model.recurrent.attention(features)[0, -1].tolist(), strict=True):
        print(f"{symbol} {weight:8.2f} {'#' * round(abs(weight))}")
    print(model.recurrent.diagnose(model.look_up(TASK.draw(64, torch.Generator().manual_seed(1)).inputs)))
    print(f"{QUESTION} -> {answer(model, 1.0)}; with an empty memory {answer(model, 0.0)}")


if __name__ == "__main__":
    main()
