"use strict";
(() => {
  const MAX_PRINTED = 300;
  const { words, accounts, rows } = JSON.parse(document.getElementById("data").textContent);
  // Columns of a row, and of an account.
  const [ACCOUNT, NUMBER, LABEL, COUNTRY, KIND, STATUS, CAN, ROUTE, ASSIGNEE, POOL, ID, AMOUNT, FINDINGS] = Array(13).keys();
  const [A_BACKEND, A_ID, A_NAME, A_NUMBERS, A_CRITICAL, A_OTHER, A_OUTCOME, A_AMOUNT] = Array(8).keys();
  const CODED = { [COUNTRY]: words.country, [KIND]: words.kind, [STATUS]: words.status, [FINDINGS]: words.findings };
  const ABILITIES = ["voice", "sms", "mms", "fax"];
  const $ = (id) => document.getElementById(id);
  const text = (row, column) => (column in CODED ? CODED[column][row[column]] : row[column]) || "";
  const account = (row) => accounts[row[ACCOUNT]];
  const can = (row) => ABILITIES.filter((_, bit) => row[CAN] & (1 << bit)).join(" ");
  // The worst severity of a number's findings, and their codes.
  const severity = (row) => text(row, FINDINGS).split(" ")[0];
  const codes = (row) => text(row, FINDINGS).split(" ").slice(1);
  const known = (word) => (word === "unknown" ? "" : word);
  const count = (n) => n.toLocaleString("en");
  const countryNames = (() => {
    try { return new Intl.DisplayNames(["en"], { type: "region" }); } catch { return null; }
  })();
  const countryName = (code) => {
    if (!/^[A-Z]{2}$/.test(code) || !countryNames) return code || "unknown";
    return `${countryNames.of(code)} (${code})`;
  };

  function element(name, className, content) {
    const created = document.createElement(name);
    if (className) created.className = className;
    // Always textContent, so that labels and names are never parsed as markup.
    if (content) created.textContent = content;
    return created;
  }
  const bdi = (content) => (content ? element("bdi", "", content) : "");
  // A word with a detail in small letters below.
  function over(word, below, className = "sub") {
    const cell = element("span");
    cell.append(bdi(word));
    if (below) cell.append(element("span", className, below));
    return cell;
  }
  function numberCell(row) {
    const cell = element("span");
    cell.append(bdi(row[NUMBER]));
    for (const code of codes(row)) cell.append(element("span", `flag ${severity(row)}`, code));
    return cell;
  }
  function accountCell(row) {
    const cell = over(account(row)[A_BACKEND], account(row)[A_NAME]);
    cell.append(element("span", "sub id", account(row)[A_ID]));
    return cell;
  }
  function routeCell(row) {
    const [, kind, target] = /^([^:\s]+):(.+)$/s.exec(text(row, ROUTE)) ?? ["", text(row, ROUTE), ""];
    const cell = over(kind.replaceAll("_", " "), target, "sub id"), pool = text(row, POOL);
    if (pool) cell.append(element("span", "sub", `pool ${pool}`));
    return cell;
  }

  // A table that is searched, sorted and shown in pages.
  class List {
    // `columns`: name, sort key, cell and class of each. `haystack`: the searched text of an item.
    constructor({ table, status, sort, pages, items, columns, noun, perPage, haystack, down = false, order = 0 }) {
      Object.assign(this, { table, status, sortBox: sort, pages, items, columns, noun, perPage, haystack, down, order });
      this.page = 0;
      this.where = "";
      this.shown = [];
      this.haystacks = null;
      columns.forEach(({ name }, index) => this.addHeading(name, index));
      sort.addEventListener("change", () => {
        this.order = parseInt(sort.value, 10);
        this.down = sort.value.endsWith("-");
        this.sort();
      });
      for (const nav of pages) {
        nav.querySelector(".prev").addEventListener("click", () => this.turn(-1, nav));
        nav.querySelector(".next").addEventListener("click", () => this.turn(1, nav));
      }
    }
    addHeading(name, index) {
      const th = element("th"), button = element("button", "sort", name);
      th.scope = "col";
      th.dataset.name = name;
      button.type = "button";
      button.addEventListener("click", () => {
        this.down = index === this.order && !this.down;
        this.order = index;
        this.sort();
      });
      th.append(button);
      this.table.tHead.rows[0].append(th);
      this.sortBox.append(new Option(`${name} \u2191`, `${index}+`), new Option(`${name} \u2193`, `${index}-`));
    }
    select(query, accepts) {
      const wanted = terms(query.trim());
      // Built for the first search, not when the page is opened.
      if (wanted.length) this.haystacks ??= this.items.map((item) => this.haystack(item).toLowerCase());
      this.shown = [];
      for (let index = 0; index < this.items.length; index++) {
        if (!accepts(this.items[index])) continue;
        if (wanted.every((term) => this.haystacks[index].includes(term))) this.shown.push(index);
      }
      this.sort();
    }
    sort() {
      const key = this.columns[this.order].key, sign = this.down ? -1 : 1;
      const keys = new Array(this.items.length);
      for (const index of this.shown) keys[index] = key(this.items[index]);
      // Empty cells come last in both directions.
      this.shown.sort((a, b) => {
        const x = keys[a], y = keys[b];
        if (x === y) return a - b;
        if (x === "" || y === "") return x === "" ? 1 : -1;
        return x < y ? -sign : sign;
      });
      this.page = 0;
      this.draw();
    }
    turn(step, nav) {
      this.page += step;
      this.draw();
      if (nav.classList.contains("below")) this.table.closest("section").scrollIntoView();
    }
    line(index) {
      const tr = element("tr");
      for (const { name, cell, kind } of this.columns) {
        const td = element("td", kind);
        td.dataset.label = name;
        const content = cell(this.items[index]);
        if (typeof content === "string" ? content : content.textContent) td.append(content);
        tr.append(td);
      }
      return tr;
    }
    draw(from = this.page * this.perPage, to = from + this.perPage) {
      const { shown, items, noun, table } = this;
      table.tBodies[0].replaceChildren(...shown.slice(from, to).map((index) => this.line(index)));
      const last = Math.min(to, shown.length), pages = Math.ceil(shown.length / this.perPage);
      const of = shown.length === items.length ? "" : ` (of ${count(items.length)})`;
      const range = `${count(from + 1)}\u2013${count(last)} of ${count(shown.length)} ${noun}s`;
      const found = shown.length ? `${shown.length === 1 ? `1 ${noun}` : range}${of}` : `No ${noun} matches.`;
      this.status.textContent = found + this.where;
      table.hidden = !shown.length;
      for (const nav of this.pages) {
        nav.hidden = pages < 2;
        nav.querySelector(".where").textContent = `${count(this.page + 1)} / ${count(pages)}`;
        nav.querySelector(".prev").disabled = this.page === 0;
        nav.querySelector(".next").disabled = this.page >= pages - 1;
      }
      this.columns.forEach((_, index) => {
        const sorted = index === this.order ? (this.down ? "descending" : "ascending") : "none";
        table.tHead.rows[0].cells[index].setAttribute("aria-sort", sorted);
      });
      this.sortBox.value = `${this.order}${this.down ? "-" : "+"}`;
    }
  }

  function terms(query) {
    // Numbers are found in any common spelling.
    if (/^[+\d\s().\/-]+$/.test(query) && /\d/.test(query)) return [query.replace(/[^+\d]/g, "")];
    return query.toLowerCase().split(/\s+/).filter(Boolean);
  }
  const navs = (of) => [...document.querySelectorAll(`.pages[data-of=${of}]`)];

  const numbers = new List({
    table: $("list"), status: $("shown"), sort: $("sort"), pages: navs("number"), items: rows, noun: "number", perPage: 100,
    columns: [
      { name: "Number", key: (row) => row[NUMBER], cell: numberCell, kind: "num" },
      { name: "Label", key: (row) => row[LABEL].toLowerCase(), cell: (row) => bdi(row[LABEL]), kind: "label" },
      { name: "Account", key: (row) => account(row).slice(0, 2).join("\t"), cell: accountCell, kind: "account" },
      { name: "Country", key: (row) => text(row, COUNTRY), cell: (row) => over(text(row, COUNTRY), known(text(row, KIND))) },
      { name: "Status", key: (row) => text(row, STATUS), cell: (row) => element("span", `status ${text(row, STATUS)}`, text(row, STATUS)) },
      { name: "Can", key: (row) => row[CAN], cell: can, kind: "can" },
      { name: "Answered by", key: (row) => row[ROUTE].toLowerCase(), cell: routeCell },
    ],
    haystack: (row) =>
      [row[NUMBER], row[LABEL], ...account(row).slice(0, 3), row[ASSIGNEE], row[POOL], row[ROUTE], row[ID],
        text(row, COUNTRY), text(row, KIND), text(row, STATUS), text(row, FINDINGS)].join("\n"),
  });

  function accountLink(one) {
    const cell = element("span"), button = element("button", "pick", one[A_NAME] || one[A_ID]);
    button.type = "button";
    button.addEventListener("click", () => show({ account: one }));
    cell.append(button);
    if (one[A_NAME]) cell.append(element("span", "sub id", one[A_ID]));
    return cell;
  }
  const amount = (n) => (n === "" ? "" : Number(n).toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 }));
  const hasAmounts = accounts.some((one) => one[A_AMOUNT] !== "");
  const hasOutcomes = accounts.some((one) => one[A_OUTCOME] !== "");
  const index = new List({
    table: $("account-list"), status: $("account-shown"), sort: $("account-sort"), pages: navs("account"), items: accounts,
    noun: "account", perPage: 20, order: 2, down: true,
    columns: [
      { name: "Account", key: (one) => (one[A_NAME] || one[A_ID]).toLowerCase(), cell: accountLink, kind: "account" },
      { name: "Backend", key: (one) => one[A_BACKEND], cell: (one) => bdi(one[A_BACKEND]) },
      { name: "Numbers", key: (one) => one[A_NUMBERS], cell: (one) => count(one[A_NUMBERS]), kind: "n" },
      { name: "Critical", key: (one) => one[A_CRITICAL], cell: (one) => count(one[A_CRITICAL]), kind: "n" },
      { name: "Other findings", key: (one) => one[A_OTHER], cell: (one) => count(one[A_OTHER]), kind: "n" },
      ...(hasAmounts ? [{ name: "A month", key: (one) => (one[A_AMOUNT] === "" ? "" : Number(one[A_AMOUNT])), cell: (one) => amount(one[A_AMOUNT]), kind: "n" }] : []),
      ...(hasOutcomes ? [{ name: "Outcome", key: (one) => one[A_OUTCOME], cell: (one) => one[A_OUTCOME].replaceAll("_", " ") }] : []),
    ],
    haystack: (one) => [one[A_BACKEND], one[A_ID], one[A_NAME], one[A_OUTCOME].replaceAll("_", " ")].join("\n"),
  });

  // The filters of the list of numbers, and the account that was selected in the index.
  let onlyAccount = null;
  const chosen = (id) => $(id).value;
  const isNarrowed = () => numbers.shown.length < rows.length;
  function filterNumbers() {
    const [backend, country, status, finding] = ["backend", "country", "status", "findings"].map((name) => chosen(`f-${name}`));
    const hasFinding = words.findings.map((word) => finding === "*" ? word !== "" : word.split(" ").slice(1).includes(finding));
    numbers.where = onlyAccount === null ? "" : ` in account ${onlyAccount[A_NAME] || onlyAccount[A_ID]}`;
    numbers.select($("q").value, (row) =>
      (backend === "" || account(row)[A_BACKEND] === backend) && (country === "" || row[COUNTRY] === Number(country)) &&
      (status === "" || row[STATUS] === Number(status)) && (finding === "" || hasFinding[row[FINDINGS]]) &&
      (onlyAccount === null || account(row) === onlyAccount));
  }
  function setFilter({ filter, value, account = null }) {
    $("controls").reset();
    onlyAccount = account;
    if (filter) $(`f-${filter}`).value = filter === "backend" ? value : words[filter].indexOf(value);
    filterNumbers();
  }
  function show(wanted) {
    setFilter(wanted);
    $("numbers").scrollIntoView();
    $("numbers").focus({ preventScroll: true });
  }
  function options(id, all, values) {
    $(id).append(new Option(all, ""), ...values.map(([shownAs, value]) => new Option(shownAs, value)));
  }
  const byName = (a, b) => (a[0] < b[0] ? -1 : 1);
  const coded = (name, shownAs) => words[name].map((word, index) => [shownAs(word), index]).sort(byName);
  const findingCodes = [...new Set(words.findings.flatMap((word) => word.split(" ").slice(1)))].sort();
  options("f-backend", "All", [...new Set(accounts.map((one) => one[A_BACKEND]))].sort().map((name) => [name, name]));
  options("f-country", "All", coded("country", countryName));
  options("f-status", "All", coded("status", (word) => word));
  options("f-findings", "All numbers", [["With findings", "*"], ...findingCodes.map((code) => [code, code])]);

  $("q").addEventListener("input", filterNumbers);
  for (const name of ["backend", "country", "status", "findings"]) $(`f-${name}`).addEventListener("change", filterNumbers);
  $("account-q").addEventListener("input", () => index.select($("account-q").value, () => true));
  for (const form of document.querySelectorAll(".controls")) form.addEventListener("submit", (event) => event.preventDefault());
  $("clear").addEventListener("click", () => setFilter({}));
  for (const button of document.querySelectorAll(".pick[data-filter]")) {
    button.addEventListener("click", () => show(button.dataset));
    if (button.dataset.filter === "country") button.textContent = countryName(button.dataset.value);
  }

  // What the list shows, as a file for a spreadsheet.
  const CSV = [
    ["backend", (row) => account(row)[A_BACKEND]], ["account", (row) => account(row)[A_ID]], ["account_name", (row) => account(row)[A_NAME]],
    ["id", (row) => row[ID]], ["number", (row) => row[NUMBER]], ["label", (row) => row[LABEL]], ["country", (row) => text(row, COUNTRY)],
    ["kind", (row) => text(row, KIND)], ["status", (row) => text(row, STATUS)], ["can", can], ["route", (row) => row[ROUTE]],
    ["assignee", (row) => row[ASSIGNEE]], ["pool", (row) => row[POOL]], ["monthly_amount", (row) => row[AMOUNT]],
    ["findings", (row) => codes(row).join(" ")],
  ];
  // An apostrophe before everything that a spreadsheet would run, in every locale. Phone numbers stay as they are.
  const FORMULA = /^(?=\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])|(?<=[;\t\r\n])(?=[ \u00a0]*[=+\-@\uff1d\uff0b\uff0d\uff20])/g;
  const guarded = (value) => (/^[+-][0-9 ().\/-]*$/.test(value) ? value : value.replace(FORMULA, "'"));
  const quoted = (value) => (/[",;\t\r\n']/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  function csv() {
    const lines = numbers.shown.map((position) => CSV.map(([, value]) => quoted(guarded(value(rows[position])))).join(","));
    // The byte order mark tells Excel that the file is UTF-8.
    return `\ufeff${[CSV.map(([name]) => name).join(","), ...lines].join("\r\n")}\r\n`;
  }
  $("save").addEventListener("click", () => {
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "numbers.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });

  // Paper shows a summary: the numbers only if a search or a filter selected some of them.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
    document.body.classList.toggle("selected", isNarrowed());
    if (isNarrowed()) numbers.draw(0, MAX_PRINTED);
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    numbers.draw();
  });

  $("controls").hidden = !rows.length;
  $("account-controls").hidden = accounts.length <= 20;
  index.select("", () => true);
  filterNumbers();
})();
