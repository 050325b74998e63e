"""Synthetic marked scenes, and the three trainers that learn from them (run from the checkout)."""
