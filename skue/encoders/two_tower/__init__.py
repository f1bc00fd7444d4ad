"""The learned encoder: from histories to a trained pair of towers."""
