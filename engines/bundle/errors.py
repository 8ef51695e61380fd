"""Why a bundle cannot be made, read or installed."""


class BundleError(Exception):
    """The message says what is wrong, where, and what would be right."""
