"""Other servers of the site, as engines of this one: what a front does not have, it asks of a node
that has it. The way back is server/api/peer.

wire.py        what is said, in msgpack
huge_integers.py  what msgpack has no room for
errors.py      an engine's errors, said to another server and raised there
connection.py  one HTTP/1.1 connection to a node, one exchange at a time
channel.py     one exchange with a node that never ends: all generations go through it
replies.py     what a node answers to one question
client.py      the connections to one node, kept alive
directory.py   a node's name -> its address; the site's password
peers.py       the nodes that are asked
engine.py      an alias on a node: an Engine
stream.py      an answer as it comes
"""
