"""Metrics and protocols by which models trained on a set are judged. Pure but for the models they are given."""
