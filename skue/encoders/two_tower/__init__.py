"""The learned encoder: from histories to a trained pair of towers."""

from skue.encoders.two_tower._encoder import TwoTowerUserEncoder

__all__ = ["TwoTowerUserEncoder"]
