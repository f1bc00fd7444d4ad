"""How well user vectors retrieve held-out items: scorers and curves."""
