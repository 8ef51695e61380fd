"""/admin/v1: keys, what is above them, usage and the fleet for programs; described by OpenAPI.

gate.py      the key first, then the body's size
route.py     failures leave as the one error body
router.py    the routes that need the books alone
keys.py, tenants.py, usage.py, audit.py, memory.py, models.py, requests.py: by topic
"""
