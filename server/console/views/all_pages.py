"""Every page of the console."""

from server.console.views import key_acts, key_forms, keys, now

PAGES = (
    *now.ROUTES,
    *key_forms.ROUTES,
    *key_acts.ROUTES,
    *keys.ROUTES,
)
