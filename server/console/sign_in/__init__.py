"""The door of the console: its cookies, its pages.

cookies.py       what a browser is given, and how it is read back
book_sessions.py a cookie -> who has signed in, by the books
door.py          what the pages of the door share
known_browsers.py who has to wait after wrong passwords
local.py         a name and a password; signing out
links.py         a one-time link sets a password
account.py       one's own sessions and password
issuers.py       the way to an OpenID Connect issuer and back
"""
