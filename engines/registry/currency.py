"""What money can be in: prices of a registry, keys and budgets alike."""

from typing import Literal, TypeAlias, get_args

Currency: TypeAlias = Literal["NOK", "USD", "EUR", "SEK", "DKK"]
CURRENCIES: tuple[Currency, ...] = get_args(Currency)
