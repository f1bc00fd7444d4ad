"""The command ``python -m skue compare``: a comparison of user vectors on a log."""
