# mypy: ignore-errors
"""pydantic-ai: text, streams, typed output by tool and by schema."""

import asyncio
import os
from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

PROVIDER = OpenAIProvider(base_url=os.environ["FJORD_URL"] + "/v1", api_key=os.environ["FJORD_KEY"])


class Place(BaseModel):
    city: Literal["Oslo", "Bergen"]
    people: int


async def main() -> None:
    model = OpenAIChatModel("mixtral-8x7b", provider=PROVIDER)
    answer = await Agent(model, instructions="Be brief.").run("Hei på deg")
    assert answer.output == "Hei på deg"
    assert answer.usage.output_tokens > 0

    async with Agent(model).run_stream("Hei på deg") as streamed:
        assert [x async for x in streamed.stream_text()][-1] == "Hei på deg"

    by_schema = await Agent(model, output_type=NativeOutput(Place)).run("Where?")
    assert by_schema.output == Place(city="Oslo", people=1)
    by_tool = await Agent(model, output_type=Place).run("Where?")
    assert by_tool.output == Place(city="Oslo", people=1)

    thinking = OpenAIChatModel("thinking", provider=PROVIDER)
    thought = await Agent(thinking).run("Hei")
    parts = [p for m in thought.all_messages() for p in m.parts if p.part_kind == "thinking"]
    assert [p.content for p in parts] == ["Norway, so Oslo."]


asyncio.run(main())
