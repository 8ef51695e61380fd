# mypy: ignore-errors
"""instructor: typed answers in each of its modes that an OpenAI server can do."""

import os
from typing import Literal

import instructor
import openai
from pydantic import BaseModel


class Place(BaseModel):
    city: Literal["Oslo", "Bergen"]
    people: int


URL, KEY = os.environ["FJORD_URL"] + "/v1", os.environ["FJORD_KEY"]
ASK = {"model": "mixtral-8x7b", "messages": [{"role": "user", "content": "Where?"}]}
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    client = instructor.from_openai(openai.OpenAI(base_url=URL, api_key=KEY), mode=mode)
    made = client.chat.completions.create(**ASK, response_model=Place, max_retries=0)
    assert made.model_dump() == {"city": "Oslo", "people": 1}, (mode, made)
client = instructor.from_openai(
    openai.OpenAI(base_url=URL, api_key=KEY), mode=instructor.Mode.TOOLS
)
*_, last = client.chat.completions.create_partial(**ASK, response_model=Place)
assert last.city == "Oslo"
