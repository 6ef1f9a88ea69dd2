// The start: totals at once, then the table; the theme, and keys for the player.

function showTheme() {
  byId("theme").textContent = isDark() ? "Light" : "Dark";
  byId("theme").setAttribute("aria-label", isDark() ? "Light theme" : "Dark theme");
  for (const picture of current?.pictures || []) picture.paint();
}

byId("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  showTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showTheme);
document.addEventListener("keydown", (event) => {
  if (current?.blind?.isOpen) current.blind.onKey(event);
  else current?.player?.onKey(event);
});
document.addEventListener("keyup", (event) => current?.player?.onKeyUp(event));
// For tests and the console: the player of the open detail.
Object.defineProperty(window, "earzipPlayer", { get: () => current?.player || null });

showTheme();
showOverview();
readRows().then((rows) => {
  library = rows;
  showProblems(rows);
  if (!rows.length) return;
  showCoverage();
  byId("tracks").hidden = false;
  const table = new Table(rows, columnsOf(rows));
  if (rows.length === 1) table.toggle(rows[0], rows[0].line, rows[0].toggle);
}).catch((error) => {
  const message = `The table cannot be shown: this page is damaged, or this browser too old for it (${error.message}).`;
  byId("overview").append(element("p", { class: "warning", role: "alert" }, message));
});
