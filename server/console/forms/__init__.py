"""Forms: what was typed, what of it is sent to the admin API, and what that refused.

form.py       one form, with what was typed in it
allowance.py  the fields that keys, owners and members share
sent_once.py  a form that is sent twice makes nothing twice
"""
