"""Kubernetes quantities ("250m", "64Mi") as exact numbers."""

from __future__ import annotations

from decimal import Decimal

SUFFIXES = {
    "Ki": Decimal(2**10),
    "Mi": Decimal(2**20),
    "Gi": Decimal(2**30),
    "Ti": Decimal(2**40),
    "n": Decimal("1e-9"),
    "u": Decimal("1e-6"),
    "m": Decimal("1e-3"),
    "k": Decimal("1e3"),
    "M": Decimal("1e6"),
    "G": Decimal("1e9"),
    "T": Decimal("1e12"),
}


def quantity(text: str | float) -> Decimal:
    """The number that a quantity stands for: cores, or bytes. Raises decimal.InvalidOperation for anything else."""
    written = str(text)
    for suffix, factor in SUFFIXES.items():
        if written.endswith(suffix):
            return Decimal(written.removesuffix(suffix)) * factor
    return Decimal(written)
