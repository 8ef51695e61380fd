"""Files that clients left here, and batches of requests made of them; knows no HTTP.

    database    what files and batches there are: one SQLite file, made when it is first needed
    files       a client's file: written whole or not at all, counted against its owner's quota
    store       a batch and its states
    input_lines a file's lines in bounded memory; checking looks at all of them beforehand
    results     what became of each line, durable before its usage record is
    outputs     the output and error files
    batch_run   one batch's life; runner has them all

How a line is answered is the API's business (server/api/batches/lines.py).
"""
