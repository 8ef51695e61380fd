"""Responses and conversations that are kept for their owners, sealed; knows no HTTP.

    site_key       the key that wraps every owner's own; a file, the same on all nodes of a site
    sealing        bytes -> what lies on the disk: packed, AES-256-GCM, bound to owner and name
    database       where it lies: a file of the node, or the site's PostgreSQL
    owners         an owner's data key and how many bytes it has; without the key nothing is left
    vault          database and owners, once the site's key is known to be the right one
    responses      a kept response: its turn, its events, chains of them; response_rows: as a row
    conversations  items in their order
    kept_requests  what is kept of requests where that is asked for
    background     responses that run without their client: claimed, alive, lost
    counts         how much is kept, and what failed
    sweeping       what is past its time, or whose owner is gone
    memory         all of it, put together

How one is made and told again is the API's business (server/api/responses, server/api/memory).
"""
