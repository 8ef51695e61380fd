"""HTTP in, HTTP out: keys, money and wire shapes; knows no engine's library."""

__version__ = "0.1.0"
