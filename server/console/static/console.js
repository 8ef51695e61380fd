// What every page needs: htmx's changes carry the session's token.
"use strict";
document.addEventListener("htmx:configRequest", (event) => {
  const token = document.body.dataset.csrf;
  if (token && event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = token;
});
