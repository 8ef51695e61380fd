"""/openapi.json and /docs.

FastAPI describes the API from what runs: the bodies are pydantic models, the answers the typed
dicts that their builders write, so that mypy holds both against the code. Written by hand is what
it cannot know, some 200 lines: what an operation is for (server/api/operations.py, which also
routes), bodies to try (examples.py), the errors' meanings, headers and examples (errors.py). A
stream's events, the headers of an answer and the one error body have no place in FastAPI's response
models: route.py and document.py put them in (150 lines, for all operations together).
"""
