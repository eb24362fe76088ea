"""A memory looked into: what a small network attends to, how loud its memory is, and what a changed memory answers.

python examples/look_into_memory.py
"""

import torch

from fastweights.nn import FastWeightsRNN, SequenceModel
from fastweights.nn.trace import trace
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


def main(updates: int = 1_000) -> None:
    torch.set_num_threads(1)
    model = trained(updates)
    symbols = TASK.encode(QUESTION)
    seen = trace(model, symbols)
    for symbol, weight in zip(QUESTION, seen.attention[-1], strict=True):
        print(f"{symbol} {weight:8.2f} {'#' * round(abs(weight))}")
    features = model.look_up(TASK.draw(64, torch.Generator().manual_seed(1)).inputs)
    print(model.recurrent.diagnose(features))
    before = seen.state(at=-2)  # the memory before the question
    changed = {
        "as it is": before,
        "an empty memory": before.empty(),
        "without the 9 (step 1)": seen.erase(1, at=-2),
        "under its key the content of step 3, the 8": seen.overwrite(1, 3, at=-2),
    }
    for name, state in changed.items():
        answer = trace(model, symbols[-1:], state).answer
        print(f"{QUESTION} -> {TASK.CLASSES[answer[0]]}, {name}")


if __name__ == "__main__":
    main()
