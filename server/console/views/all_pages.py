"""Every page of the console."""

from server.console.views import now

PAGES = (*now.ROUTES,)
