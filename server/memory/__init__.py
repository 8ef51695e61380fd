"""Responses and conversations that are kept for their owners, encrypted; knows no HTTP.

site_key       the key that wraps every owner's own; a file, the same on all nodes of a site
sealing        bytes -> what lies on the disk: compressed, AES-256-GCM, bound to owner and name
database       where it lies: a file of the node, or the site's PostgreSQL
owners         an owner's data key and how many bytes it has; without the key nothing is left
responses      a kept response: its turn, its events, its state; chains of them
background     responses that run without their client: claimed, alive, lost
conversations  items in their order
sweeping       what is past its time, or whose owner is gone
memory         all of it, put together
"""
