"""What another server of the site asks of this one: prompts made, tokens generated, inputs read, on
the engines that stand here. Who pays, and whether, the asker has settled; what it asks is in its
record alone. The asking side is server/peers.

door.py       who may ask, and what is said where it cannot be done
questions.py  those with one answer: open, pulse, embed, score
channel.py    what is said to one front, in one answer that never ends
calls.py      what a front asks for by it: prompts, generations
held.py       prompts between their rendering and their generation
answer.py     one generation: frames, as the engine makes them
counted.py    for /metrics
traced.py     for traces
mounted.py    path -> what answers there
"""
