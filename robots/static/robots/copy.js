/** Adds a button to each `code.key` that copies its text: a key, a link, a command. */

for (const code of document.querySelectorAll("code.key")) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "button copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    button.textContent = (await copy(code)) ? "Copied" : "Press Ctrl+C";
  });
  (code.closest("pre") ?? code).after(button);
}

/** Copy the text; without the clipboard, which browsers offer only over HTTPS, by the selection. */
async function copy(code) {
  getSelection().selectAllChildren(code);
  try {
    await navigator.clipboard.writeText(code.textContent);
    return true;
  } catch {
    return document.execCommand("copy");
  }
}
