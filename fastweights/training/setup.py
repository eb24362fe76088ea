"""What is trained: a network with its options, on a task, by the settings of a run."""

import json
from dataclasses import dataclass
from typing import Any

from fastweights import tasks
from fastweights.errors import UserError
from fastweights.own import is_own, source_of
from fastweights.tasks import Task
from fastweights.training import networks
from fastweights.training.config import Config


@dataclass(frozen=True)
class Setup:
    """`network`: the options of the model, of the class that `networks.NETWORKS` has for it; None: their defaults."""

    model: str
    task: Task
    config: Config = Config()
    network: Any = None

    def __post_init__(self) -> None:
        options = networks.network_of(self.model).options
        if self.network is None:
            object.__setattr__(self, "network", options())
        elif type(self.network) is not options:
            got = type(self.network).__name__
            raise ValueError(f"Setup: got {got} as the options of {self.model}, wanted {options.__name__}")

    def as_json(self) -> dict[str, Any]:
        """The form that config.json, results and jobs have of it."""
        return {
            "model": self.model,
            "network": networks.as_json(self.network),
            "task": tasks.describe(self.task),
            "config": self.config.as_json(),
        }

    @staticmethod
    def from_json(stored: dict[str, Any]) -> "Setup":
        return Setup(
            stored["model"],
            tasks.make_task(stored["task"] | stored.get("places", {}), tasks.find_task(stored["task"]["name"])),
            Config.from_json(stored["config"]),
            networks.from_json(stored["model"], stored["network"]),
        )

    @property
    def sources(self) -> dict[str, str]:
        """SHA-256 of the files of the user's own classes, by the names of these."""
        return sources_of(self.as_json())

    def build(self) -> Any:
        from fastweights.nn import SequenceModel

        config, spec = self.config, self.task.spec
        if spec.pairs:
            return networks.model_of_pairs(self.model, spec, config, self.network)
        if networks.network_of(self.model).pairs:
            wanted = "one whose answer is a sequence of its own, such as pronunciation or reverse"
            raise UserError(f"{self.model}: got the task {self.task.NAME}, wanted {wanted}")
        size = config.embedding_sizes[-1] if config.embedding_sizes else spec.inputs
        return SequenceModel(
            networks.network_of(self.model).build(size, config.hidden_size, self.network),
            spec,
            config.hidden_size,
            embedding_sizes=config.embedding_sizes,
            head_sizes=config.head_sizes,
            input_scale=config.input_scale,
            linear_embeddings=config.linear_embeddings,
            head_dropout=config.head_dropout,
            embedding_relu=config.embedding_relu,
        )


def own_names(stored: dict[str, Any]) -> list[str]:
    """The names of the user's own classes, and of an environment in a package, in what `Setup.as_json` made."""
    return list(own_parts(stored))


def own_parts(stored: dict[str, Any]) -> dict[str, str]:
    """What each of them is: "model", "task", "rule" or "memory"."""
    network, task = stored["network"], stored["task"]
    rule, memory = network.get("rule", {}).get("name", ""), network.get("memory", "")
    parts = ("model", stored["model"]), ("task", task["name"]), ("rule", rule), ("memory", memory)
    env = task.get("env", "")
    return {name: part for part, name in (*parts, ("task", env)) if isinstance(name, str) and is_own(name)}


def sources_of(stored: dict[str, Any]) -> dict[str, str]:
    return {name: source for name in own_names(stored) if (source := source_of(name)) is not None}


def what_counts(stored: dict[str, Any]) -> Any:
    """What runs have in common that differ by their seed alone, of what `Setup.as_json` made and what config.json says;
    a setting that is younger than a run had its default there."""
    config = {k: v for k, v in (Config().as_json() | stored["config"]).items() if k not in ("seed", "device")}
    network = {k: v for k, v in stored["network"].items() if k != "backend"}
    parts = {"model": stored["model"], "sources": stored.get("sources", {}), "task": stored["task"]}
    return json.loads(json.dumps({**parts, "network": network, "config": config}))
