"""Pretraining checkpoints for stock models: `targets` lists them."""
