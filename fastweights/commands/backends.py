from dataclasses import dataclass

from fastweights.commands.parsing import parse


@dataclass(frozen=True)
class Backends:
    """For every backend of the fast-weights op: whether it can run here, and why not."""


def main(arguments: list[str]) -> None:
    parse(Backends, arguments, "fastweights backends")

    import torch

    from fastweights.ops.fast_weights_rnn import BACKENDS, choose
    from fastweights.ops.fast_weights_rnn.call import check
    from fastweights.rules import Hebbian

    devices = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
    for device in devices:
        inputs = torch.zeros(128, 9, 50, device=device)
        vector = torch.ones(50, device=device)
        matrix = torch.zeros(50, 50, device=device)
        call = check(inputs, matrix, vector, vector, None, Hebbian(), 1, "relu", None)
        chosen = choose(call)
        print(f"{device}: batch 128, 9 steps, 50 hidden units, float32, Hebbian")
        for name, module in BACKENDS.items():
            reason = module.why_not(call)
            runs = "runs" + (", and is what auto takes" if name == chosen else "")
            print(f"  {name:<10} {runs if reason is None else 'cannot: ' + reason}")
