// What every page needs: htmx's changes carry the session's token.
"use strict";
document.addEventListener("htmx:configRequest", (event) => {
  const token = document.body.dataset.csrf;
  if (token && event.detail.verb !== "get") event.detail.headers["X-CSRF-Token"] = token;
});
// A form that was sent is not sent again by a second click.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) event.preventDefault();
  form.dataset.sent = "yes";
});
addEventListener("pageshow", () => {
  for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
});
// A filtered list is told in a few words, not read out.
document.addEventListener("htmx:afterSwap", () => {
  const said = document.querySelector("#list [role=alert], #list .pager span, #list .empty");
  if (said) document.getElementById("told").textContent = said.textContent;
});
