"""Ranking: baselines that count, and a second stage that orders candidates."""
