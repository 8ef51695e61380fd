"""Whether several machines can run one engine: what they tell of themselves, and what reaches what.

channel     how a machine is asked, by whatever link
link, door  such a link of its own: TCP between two that have one secret
told        what a machine tells of itself; here: of this one
joined_nodes, ray_nodes   other ways: what has joined a server, and what a Ray cluster has
prober      what a machine does when it is asked
listeners, reaching, transfer, handshake, clocks, files   one kind of probe each
preflight   all probes of all machines; findings: what they say, with what to do
"""
