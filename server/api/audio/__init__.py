"""/v1/audio/transcriptions and translations: OpenAI's API of speech.

form       the multipart form: a recording on its way to a file without a name, and its fields
wire       the fields
build      what is generated: a request for each piece that a model hears at once
segments   pieces of text with their times
answers    JSON, text, subtitles; stream the events of a stream
endpoints  the way of a request
"""
