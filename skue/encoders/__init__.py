"""Encoders: from histories to user vectors."""
