// A text that is shown once: a button that copies it; a reload leads on, and sends nothing again.
const box = document.querySelector("[data-once]");
if (box) history.replaceState(null, "", box.dataset.once);
for (const link of document.querySelectorAll("[data-path]")) link.textContent = location.origin + link.dataset.path;
for (const button of document.querySelectorAll("[data-copy]")) {
  const text = document.getElementById(button.dataset.copy);
  const said = document.getElementById("copied");
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text.textContent);
      said.textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(text);
      said.textContent = "Selected: press Ctrl+C, or ⌘C, to copy it.";
    }
  });
}
addEventListener("pagehide", () => { for (const button of document.querySelectorAll("[data-copy]")) document.getElementById(button.dataset.copy).textContent = ""; });
