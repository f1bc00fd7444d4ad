"""The comparison that ``python -m skue compare`` prints."""
