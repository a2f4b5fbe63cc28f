"""Decisions that look random and are the same for one seed, whatever happens between them."""

import hashlib

_SCALE = 2.0**-64


def fraction(seed: int, purpose: str, device: int, number: int = 0) -> float:
    """Give a number from 0 up to, not including, 1, for one purpose of one device, the so-manieth time.

    Unlike a generator it holds no state: ten thousand devices need none, and one device's decisions do not depend on
    how many others decided before.
    """
    text = f"{seed}/{purpose}/{device}/{number}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest) * _SCALE


def between(span: tuple[float, float], at: float) -> float:
    """Give what lies at a fraction of a span."""
    return span[0] + (span[1] - span[0]) * at
