from dataclasses import dataclass


@dataclass(frozen=True)
class Boundary:
    first: int
    last: int
    kind: str


def boundaries(t, x):
    return []


def disorder(t):
    return 0.0
