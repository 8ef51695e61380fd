"""/admin/v1: keys, what is above them, usage and the fleet for programs; described by OpenAPI.

gate.py      the key first, then the body's size
authority.py who may do what, as a table
reach.py     what of the books is whose
bounds.py    what others than admins may not say of keys and members
route.py     failures leave as the one error body
router.py    the routes that need the books alone
keys.py, tenants.py, usage.py, audit.py, memory.py, models.py, requests.py: by topic
registry.py  the registry as it runs, with model_plans.py: how each was planned
now/         what the server does at this moment, and each second after it
"""
