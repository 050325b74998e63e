"""How well and how fast Markcut works: ``python -m benchmarks --help``."""
