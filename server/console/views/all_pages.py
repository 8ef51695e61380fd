"""Every page of the console."""

from server.console.views import (
    audit,
    chat,
    invoices,
    key_acts,
    key_forms,
    keys,
    member_acts,
    members,
    models,
    now,
    owners,
    requests,
    usage,
)

PAGES = (
    *now.ROUTES,
    *models.ROUTES,
    *chat.ROUTES,
    *key_forms.ROUTES,
    *key_acts.ROUTES,
    *keys.ROUTES,
    *owners.ROUTES,
    *members.ROUTES,
    *member_acts.ROUTES,
    *usage.ROUTES,
    *invoices.ROUTES,
    *requests.ROUTES,
    *audit.ROUTES,
)
