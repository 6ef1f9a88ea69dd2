// The table: sorted, filtered, a page of rows at a time, so that tens of thousands stay usable.

const ROWS_A_PAGE = 100;

class Table {
  constructor(rows, columns) {
    this.rows = rows;
    this.columns = columns;
    this.sorting = { column: null, direction: "none" };
    this.found = rows;
    this.page = 0;
    this.open = null; // the row whose detail is shown, and its closing
    this.texts = new Map();
    this.someLackPictures = summary.n_views > 0 && rows.some((row) => row.view === null);
    this.showHead();
    this.showControls();
    this.update();
  }

  showHead() {
    const cells = this.columns.map((column) => {
      const title = column.says || null;
      column.head = element("th", { scope: "col", class: classOf(column) },
        column.fixed
          ? element("span", { class: "unseen" }, "Cover")
          : element("button", { type: "button", title, onclick: () => this.sortBy(column) }, column.label));
      return column.head;
    });
    byId("head").append(...cells);
  }

  showControls() {
    let waiting = 0;
    byId("filter").addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(() => this.update(), 120);
    });
    byId("only-pictures").parentElement.hidden = !this.someLackPictures;
    byId("only-pictures").addEventListener("change", () => this.update());
    const sort = byId("sort");
    sort.append(element("option", { value: "" }, "as found"));
    for (const { key, label } of this.columns.filter((column) => !column.fixed)) {
      sort.append(element("option", { value: `${key} ascending` }, `${label}, rising`));
      sort.append(element("option", { value: `${key} descending` }, `${label}, falling`));
    }
    sort.addEventListener("change", () => {
      const [key, direction] = sort.value.split(" ");
      this.setSorting(this.columns.find((column) => column.key === key) || null, direction || "none");
    });
  }

  sortBy(column) {
    const { column: before, direction } = this.sorting;
    const turned = { ascending: "descending", descending: "ascending" };
    this.setSorting(column, before === column ? turned[direction] : "ascending");
  }

  setSorting(column, direction) {
    this.sorting = { column, direction };
    byId("sort").value = column ? `${column.key} ${direction}` : "";
    this.update();
  }

  update() {
    const { column, direction } = this.sorting;
    for (const each of this.columns) {
      if (each.fixed) continue;
      each.head.setAttribute("aria-sort", each === column ? direction : "none");
    }
    const words = plain(byId("filter").value).split(/\s+/).filter(Boolean);
    const only = byId("only-pictures").checked;
    this.found = this.rows.filter((row) =>
      (!only || row.view !== null) && words.every((word) => this.textOf(row).includes(word)));
    if (column) this.found.sort(comparison(column, direction));
    const all = counted(this.rows.length, "track");
    byId("count").textContent = this.found.length === this.rows.length ? all : `${grouped(this.found.length)} of ${all}`;
    this.showPage(0);
  }

  textOf(row) {
    let text = this.texts.get(row);
    if (text === undefined) {
      const tags = Object.values(row.tags || {}).flat();
      const { container = "", codec = "" } = row.source || {};
      const parts = [row.title, row.artist, row.album, row.name, row.quality, row.model, container, codec, ...tags];
      text = plain(parts.join("\n"));
      this.texts.set(row, text);
    }
    return text;
  }

  showPage(page) {
    this.close();
    this.page = page;
    const first = page * ROWS_A_PAGE;
    const shown = this.found.slice(first, first + ROWS_A_PAGE);
    byId("body").replaceChildren(...shown.map((row) => this.lineOf(row)));
    if (!shown.length) byId("body").append(element("tr", {}, element("td", { colspan: this.columns.length, class: "none" }, "No track has all of these words.")));
    this.showPager(first, shown.length);
  }

  showPager(first, n) {
    const pager = byId("pager");
    pager.hidden = this.found.length <= ROWS_A_PAGE;
    const turn = (label, page) => element("button", {
      type: "button",
      disabled: page < 0 || page * ROWS_A_PAGE >= this.found.length || page === this.page,
      onclick: () => {
        this.showPage(page);
        byId("tracks").scrollIntoView();
        this.focusPager(label);
      },
    }, label);
    const last = Math.floor((this.found.length - 1) / ROWS_A_PAGE);
    pager.replaceChildren(
      turn("First", 0), turn("Previous", this.page - 1),
      element("span", {}, `${grouped(first + 1)} to ${grouped(first + n)} of ${grouped(this.found.length)}`),
      turn("Next", this.page + 1), turn("Last", last));
  }

  focusPager(label) { // its buttons are made anew; at an end the one that was pressed is disabled
    const buttons = [...byId("pager").querySelectorAll("button:not(:disabled)")];
    (buttons.find((button) => button.textContent === label) || buttons[0])?.focus({ preventScroll: true });
  }

  lineOf(row) {
    const toggle = element("button", { type: "button", class: "open", "aria-expanded": "false" }, row.label);
    const cells = this.columns.map((column) => {
      const content = column.key === "label" ? this.titleCell(row, toggle) : [column.cell(row)];
      return element("td", { class: classOf(column) }, ...content);
    });
    const line = element("tr", { class: row.problem ? "line troubled" : "line" }, ...cells);
    line.addEventListener("click", () => {
      if (!String(getSelection())) this.toggle(row, line, toggle); // text can be selected
    });
    row.line = line;
    row.toggle = toggle;
    return line;
  }

  titleCell(row, toggle) {
    const under = [row.artist, row.album].filter(Boolean).join(" · ");
    return [
      toggle,
      row.version ? element("span", { class: "version" }, row.version) : null,
      row.view !== null && this.someLackPictures ? element("span", { class: "has-pictures", title: "with pictures" }) : null,
      under ? element("span", { class: "under" }, under) : null,
    ];
  }

  toggle(row, line, button) {
    const wasOpen = this.open && this.open.line === line;
    this.close();
    if (wasOpen) return;
    const cell = element("td", { colspan: this.columns.length });
    const detail = element("tr", { class: "detail" }, cell);
    line.after(detail);
    line.classList.add("opened");
    button.setAttribute("aria-expanded", "true");
    const stop = showDetail(row, cell);
    this.open = { line, button, detail, stop };
  }

  close() {
    if (!this.open) return;
    const { line, button, detail, stop } = this.open;
    stop();
    detail.remove();
    line.classList.remove("opened");
    button.setAttribute("aria-expanded", "false");
    this.open = null;
  }
}

function classOf(column) {
  return [column.class, column.number && "number"].filter(Boolean).join(" ");
}

function plain(text) {
  return text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
