// Buttons that copy the text of what they name.
export function copies(button, text) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = before), 1500);
  });
}

for (const button of document.querySelectorAll("[data-copies]")) {
  if (!navigator.clipboard) continue; // there is none without TLS, but on this machine
  button.hidden = false;
  copies(button, () => document.getElementById(button.dataset.copies).textContent);
}
