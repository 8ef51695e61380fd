"""What a registry says of its operator: whose name and VAT stand on invoices."""

from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)

from engines.registry.exact import MICRO, micro_units


def _percent(value: Any) -> int:
    micro = micro_units(value, "percentage")
    if micro > 100 * MICRO:
        raise ValueError("a percentage is at most 100")
    return micro


def _one_line(text: str) -> str:
    return " ".join(text.split())


Words = Annotated[str, StringConstraints(min_length=1), AfterValidator(_one_line)]
Percent = Annotated[int, BeforeValidator(_percent)]


class SellerEntry(BaseModel):
    """The seller of `fjord invoice --issue`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Words = Field(description="the seller's name")
    address: Words = Field(description="the seller's address")
    organisation_number: Words = Field(description="in quotes, as the register writes it")
    vat_number: Words | None = Field(None, description='in quotes, like "NO 999 999 999 MVA"')
    vat_percent: Percent = Field(description='in quotes, like "25"; "0" where no VAT is due')
