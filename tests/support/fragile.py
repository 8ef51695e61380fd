"""An engine that one request kills, wherever it goes."""

from engines.base import GenerateRequest, Prompt
from engines.testing.scripted import ScriptedEngine


class Fragile(ScriptedEngine):
    """Dies of one text."""

    async def render(self, request: GenerateRequest) -> Prompt:
        prompt = await super().render(request)
        if "deadly" in prompt.rendered:
            self.kill()
        return prompt
