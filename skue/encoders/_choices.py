"""The choices that several encoders offer, as an editor shows them."""

from __future__ import annotations

from typing import Literal, TypeAlias

from numpy.typing import ArrayLike

AgeUnit: TypeAlias = Literal["step", "instant", "s", "m", "h", "D", "W"]
ColdStart: TypeAlias = Literal["mean", "popular", "zero", "raise"] | ArrayLike
UnknownItem: TypeAlias = Literal["ignore", "warn", "raise"]
