"use strict";
(() => {
  const PER_PAGE = 100, MAX_PRINTED = 300;
  const { words, rows } = JSON.parse(document.getElementById("data").textContent);
  const [BACKEND, ACCOUNT, NUMBER, LABEL, COUNTRY, KIND, STATUS, CAN, ROUTE, ASSIGNEE, POOL, ID, FLAG] = Array(13).keys();
  const CODED = { [BACKEND]: words.backend, [ACCOUNT]: words.account, [COUNTRY]: words.country, [KIND]: words.kind, [STATUS]: words.status };
  const ABILITIES = ["voice", "sms", "mms", "fax"], SEVERITIES = ["", "critical", "warning", "notice"];
  const $ = (id) => document.getElementById(id);
  const text = (row, column) => (column in CODED ? CODED[column][row[column]] : row[column]) || "";
  const can = (row) => ABILITIES.filter((_, bit) => row[CAN] & (1 << bit)).join(" ");
  const known = (word) => (word === "unknown" ? "" : word);
  const count = (n) => n.toLocaleString("en");
  const countryNames = (() => {
    try { return new Intl.DisplayNames(["en"], { type: "region" }); } catch { return null; }
  })();
  const countryName = (code) => {
    if (!/^[A-Z]{2}$/.test(code) || !countryNames) return code || "unknown";
    return `${countryNames.of(code)} (${code})`;
  };

  // Columns of the list: their sort keys and their cells.
  const COLUMNS = [
    { name: "Number", key: (row) => row[NUMBER], cell: numberCell, kind: "num" },
    { name: "Label", key: (row) => text(row, LABEL).toLowerCase(), cell: (row) => bdi(text(row, LABEL)), kind: "label" },
    { name: "Account", key: (row) => `${text(row, BACKEND)}\t${text(row, ACCOUNT)}`, cell: accountCell, kind: "account" },
    { name: "Country", key: (row) => text(row, COUNTRY), cell: (row) => over(text(row, COUNTRY), known(text(row, KIND))) },
    { name: "Status", key: (row) => text(row, STATUS), cell: statusCell },
    { name: "Can", key: (row) => row[CAN], cell: can, kind: "can" },
    { name: "Answered by", key: (row) => text(row, ROUTE).toLowerCase(), cell: routeCell },
  ];

  function element(name, className, content) {
    const created = document.createElement(name);
    if (className) created.className = className;
    // Always textContent, so that labels and names are never parsed as markup.
    if (content) created.textContent = content;
    return created;
  }
  const bdi = (content) => (content ? element("bdi", "", content) : "");
  function numberCell(row) {
    const cell = element("span");
    cell.append(bdi(row[NUMBER]));
    if (row[FLAG]) cell.append(element("span", `flag ${SEVERITIES[row[FLAG]]}`, SEVERITIES[row[FLAG]]));
    return cell;
  }
  // A word with a detail in small letters below.
  function over(word, below, className = "sub") {
    const cell = element("span");
    cell.append(bdi(word));
    if (below) cell.append(element("span", className, below));
    return cell;
  }
  function accountCell(row) {
    const name = words.name[row[ACCOUNT]], cell = over(text(row, BACKEND), name);
    cell.append(element("span", "sub id", text(row, ACCOUNT)));
    return cell;
  }
  function statusCell(row) {
    return element("span", `status ${text(row, STATUS)}`, text(row, STATUS));
  }
  function routeCell(row) {
    const [, kind, target] = /^([^:\s]+):(.+)$/s.exec(text(row, ROUTE)) ?? ["", text(row, ROUTE), ""];
    const cell = over(kind.replaceAll("_", " "), target, "sub id"), pool = text(row, POOL);
    if (pool) cell.append(element("span", "sub", `pool ${pool}`));
    return cell;
  }

  // The searched text of each row, built for the first search.
  let haystacks = null;
  function haystack(index) {
    haystacks ??= rows.map((row) =>
      [row[NUMBER], text(row, LABEL), text(row, BACKEND), text(row, ACCOUNT), words.name[row[ACCOUNT]], row[ASSIGNEE], row[POOL], row[ROUTE], row[ID]]
        .join("\n").toLowerCase());
    return haystacks[index];
  }
  function terms(query) {
    // Numbers are found in any common spelling.
    if (/^[+\d\s().\/-]+$/.test(query) && /\d/.test(query)) return [query.replace(/[^+\d]/g, "")];
    return query.toLowerCase().split(/\s+/).filter(Boolean);
  }

  const state = { order: 0, down: false, page: 0 };
  let shown = [];

  function chosen(id) { const value = $(id).value; return value === "" ? null : Number(value); }
  function select() {
    const wanted = terms($("q").value.trim());
    const filters = [[BACKEND, chosen("f-backend")], [COUNTRY, chosen("f-country")], [STATUS, chosen("f-status")]]
      .filter(([, value]) => value !== null);
    const onlyFindings = $("f-found").checked;
    shown = [];
    for (let index = 0; index < rows.length; index++) {
      const row = rows[index];
      if (onlyFindings && !row[FLAG]) continue;
      if (filters.some(([column, value]) => row[column] !== value)) continue;
      if (wanted.length && !wanted.every((term) => haystack(index).includes(term))) continue;
      shown.push(index);
    }
    sort();
  }
  function sort() {
    const key = COLUMNS[state.order].key, sign = state.down ? -1 : 1;
    const keys = new Map(shown.map((index) => [index, key(rows[index])]));
    // Empty cells come last in both directions.
    shown.sort((a, b) => {
      const x = keys.get(a), y = keys.get(b);
      if (x === y) return a - b;
      if (x === "" || y === "") return x === "" ? 1 : -1;
      return x < y ? -sign : sign;
    });
    state.page = 0;
    draw();
  }
  function line(index) {
    const tr = element("tr");
    for (const { name, cell, kind } of COLUMNS) {
      const td = element("td", kind);
      td.dataset.label = name;
      const content = cell(rows[index]);
      if (typeof content === "string" ? content : content.textContent) td.append(content);
      tr.append(td);
    }
    return tr;
  }
  function draw(from = state.page * PER_PAGE, to = from + PER_PAGE) {
    $("list").tBodies[0].replaceChildren(...shown.slice(from, to).map(line));
    const last = Math.min(to, shown.length), pages = Math.ceil(shown.length / PER_PAGE);
    const of = shown.length === rows.length ? "" : ` (of ${count(rows.length)})`;
    const range = `${count(from + 1)}\u2013${count(last)} of ${count(shown.length)} numbers`;
    $("shown").textContent = shown.length ? `${shown.length === 1 ? "1 number" : range}${of}` : "No number matches.";
    $("list").hidden = !shown.length;
    for (const nav of document.querySelectorAll(".pages")) {
      nav.hidden = pages < 2;
      nav.querySelector(".where").textContent = `${count(state.page + 1)} / ${count(pages)}`;
      nav.querySelector(".prev").disabled = state.page === 0;
      nav.querySelector(".next").disabled = state.page >= pages - 1;
    }
    COLUMNS.forEach((_, index) => {
      const sorted = index === state.order ? (state.down ? "descending" : "ascending") : "none";
      $("list").tHead.rows[0].cells[index].setAttribute("aria-sort", sorted);
    });
    $("sort").value = `${state.order}${state.down ? "-" : "+"}`;
  }

  function options(id, all, values, name) {
    $(id).append(new Option(all, ""));
    values.map((word, index) => [name(word), index]).sort((a, b) => (a[0] < b[0] ? -1 : 1))
      .forEach(([shownAs, index]) => $(id).append(new Option(shownAs, index)));
  }
  function turn(step, nav) {
    state.page += step;
    draw();
    if (nav.classList.contains("below")) $("numbers").scrollIntoView();
  }
  function pick({ filter, value }) {
    $("controls").reset();
    if (filter === "query") $("q").value = value;
    else $(`f-${filter}`).value = words[filter].indexOf(value);
    select();
    $("numbers").scrollIntoView();
    $("numbers").focus({ preventScroll: true });
  }

  COLUMNS.forEach(({ name }, index) => {
    const th = element("th"), button = element("button", "sort", name);
    th.scope = "col";
    th.dataset.name = name;
    button.type = "button";
    button.addEventListener("click", () => {
      state.down = index === state.order && !state.down;
      state.order = index;
      sort();
    });
    th.append(button);
    $("list").tHead.rows[0].append(th);
    $("sort").append(new Option(`${name} \u2191`, `${index}+`), new Option(`${name} \u2193`, `${index}-`));
  });
  options("f-backend", "All", words.backend, (word) => word);
  options("f-country", "All", words.country, countryName);
  options("f-status", "All", words.status, (word) => word);
  $("q").addEventListener("input", select);
  for (const id of ["f-backend", "f-country", "f-status", "f-found"]) $(id).addEventListener("change", select);
  $("sort").addEventListener("change", ({ target }) => {
    state.order = parseInt(target.value, 10);
    state.down = target.value.endsWith("-");
    sort();
  });
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("controls").addEventListener("reset", () => setTimeout(select));
  for (const nav of document.querySelectorAll(".pages")) {
    nav.querySelector(".prev").addEventListener("click", () => turn(-1, nav));
    nav.querySelector(".next").addEventListener("click", () => turn(1, nav));
  }
  for (const button of document.querySelectorAll(".pick")) {
    button.addEventListener("click", () => pick(button.dataset));
    if (button.dataset.filter === "country") button.textContent = countryName(button.dataset.value);
  }

  // Print every section, and a limited number of rows.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const one of opened) one.open = true;
    if (shown.length) draw(0, MAX_PRINTED);
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
    draw();
  });

  $("controls").hidden = !rows.length;
  select();
})();
