"""One vLLM engine on several machines: the head here, the other parts on nodes that have joined.

addresses   by which address and card of the network the parts speak
part        a part's process on a node: started, watched, killed
parts       all of a node, and the tasks by which its head has them; __main__ is the process
group       the head's side: which nodes, whether they fit, started and ended together
engine      the engine over such a group
"""
