"""Estimators that turn histories into user vectors."""

from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._mixed import MixedUserEncoder

__all__ = ["DecayAverageUserEncoder", "MixedUserEncoder"]
