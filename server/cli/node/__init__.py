"""`fjord node`: this machine lends itself to a server, which runs parts of engines on it."""
