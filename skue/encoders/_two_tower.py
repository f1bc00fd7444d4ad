"""Where encoders pickled by skue 0.1 expect ``TwoTowerUserEncoder``."""

from skue.encoders.two_tower import TwoTowerUserEncoder

__all__ = ["TwoTowerUserEncoder"]
