"""Encoders: from histories to user vectors."""

from skue.encoders._base import UserEncoder
from skue.encoders._decay_average import DecayAverageUserEncoder
from skue.encoders._events import Events
from skue.encoders._mixed import MixedUserEncoder
from skue.encoders._online import UserStates
from skue.encoders.two_tower import TwoTowerUserEncoder

__all__ = [
    "DecayAverageUserEncoder",
    "Events",
    "MixedUserEncoder",
    "TwoTowerUserEncoder",
    "UserEncoder",
    "UserStates",
]
