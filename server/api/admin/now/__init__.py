"""/admin/v1/now: what a server does at this moment, and each second after it.

wire.py      the answer's parts
speed.py     tokens a second, times to the first token, of what is counted anyway
devices.py   cards and the machine's memory: planned, taken, caches
alerts.py    what somebody should know of, and what to do
look.py      all of it together, at one moment
watching.py  a look a second while somebody watches
events.py    the looks as server-sent events
seen.py      what a person of one owner sees of it
routes.py    the paths
"""
