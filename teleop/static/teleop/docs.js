// Swagger UI has a dark form; the admin keeps the chosen theme in this browser.

const dark = matchMedia("(prefers-color-scheme: dark)");

function follow() {
  const theme = localStorage.getItem("theme") ?? "auto";
  document.documentElement.classList.toggle("dark-mode", theme === "dark" || (theme === "auto" && dark.matches));
}

document.documentElement.lang = "en"; // the page of the library says none
follow();
dark.addEventListener("change", follow);
addEventListener("storage", follow);
