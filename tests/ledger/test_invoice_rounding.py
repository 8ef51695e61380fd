"""An invoice's VAT and what is paid are rounded half up."""

import pytest

from server.ledger.invoice import in_cents, vat_of


@pytest.mark.parametrize(
    ("net", "rate", "vat"),
    [
        (10, 25_000_000, 3),  # 2.5: half up
        (9, 25_000_000, 2),
        (1_000_000, 12_345_678, 123_457),
        (10**18, 25_000_000, 25 * 10**16),
        (7, 0, 0),
        (0, 25_000_000, 0),
    ],
)
def test_vat_is_rounded_half_up_to_a_micro_unit(net: int, rate: int, vat: int) -> None:
    assert vat_of(net, rate) == vat


def test_what_is_paid_is_rounded_half_up_to_a_hundredth() -> None:
    assert [in_cents(micro) for micro in (0, 4_999, 5_000, 14_999, 1_234_567)] == [
        0,
        0,
        10_000,
        10_000,
        1_230_000,
    ]
