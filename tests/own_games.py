"""An environment of somebody's own, which breaks as it is told."""

import gymnasium
import numpy
from gymnasium import spaces

SPACES = spaces.Dict(
    {
        "sign": spaces.Discrete(3),
        "picture": spaces.Box(0, 255, (2, 2), numpy.uint8),
        "said": spaces.Text(5),
        "two": spaces.Tuple((spaces.MultiBinary(2), spaces.Box(-1.0, 1.0, (1,)))),
    }
)


class Own(gymnasium.Env):
    """Ends after 2 to 5 steps; the reward is 1 where the action repeats the first sign."""

    def __init__(self, breaks=None, space=SPACES, actions=None):
        self.observation_space, self.breaks = space, breaks
        self.action_space = actions or spaces.Discrete(3, start=5)

    def seen(self):
        return {"sign": self.sign, "picture": numpy.full((2, 2), 51, numpy.uint8), "said": "no",
                "two": (numpy.array([1, 0], numpy.int8), numpy.array([0.5], numpy.float32))}  # fmt: skip

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.sign, self.at, self.end = int(self.np_random.integers(3)), 0, int(self.np_random.integers(2, 6))
        return ({} if self.breaks == "nothing seen" else self.seen()), {}

    def step(self, action):
        self.at += 1
        if self.breaks == "raises":
            raise RuntimeError("out of paper")
        if self.breaks == "four":
            return self.seen(), 0.0, True, {}
        if self.breaks == "nan":
            self.seen = lambda: {**Own.seen(self), "two": (numpy.array([1, 0]), numpy.array([numpy.nan]))}
        rewards = {"nan reward": numpy.nan, "no reward": None}
        return self.seen(), rewards.get(self.breaks, float(action - 5 == self.sign)), self.at == self.end, False, {}
