"""What is kept of requests whose key (or owner) is set to it.

    shape.py     of a body the numbers and kinds, without a word of anybody's
    recorder.py  a request that has ended -> a sealed row, behind a bounded queue

The rows are the memory's (server/memory/kept_requests.py), reading them is the admin API's
(server/api/admin/content.py), and who is set to what stands in the tenant tree.
"""
