"use strict";
// Everything that comes from outside is written with textContent, so that no name can become markup.

const byId = (id) => document.getElementById(id);
const SHOWN = 200;
let about = { kinds: [], routes: [] };
let latest = { faults: [] };
let paused = false;
let rows = [];
let shown = 0;
let listed = 0;

function make(tag, text, className) {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (className) element.className = className;
  return element;
}

async function ask(method, path, body) {
  const options = { method, headers: {} };
  if (body !== undefined) {
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  const answer = await fetch(path, options);
  const data = answer.status === 204 ? null : await answer.json();
  if (!answer.ok) throw new Error(data.message);
  return data;
}

async function act(work) {
  byId("mistake").hidden = true;
  try {
    await work();
  } catch (error) {
    byId("mistake").textContent = error.message;
    byId("mistake").hidden = false;
    showFaults();
  }
}

// --- Faults

function written(text) {
  const paragraph = make("p");
  text.split("`").forEach((part, place) => paragraph.append(place % 2 ? make("code", part) : part));
  return paragraph;
}

const details = (rule) =>
  Object.entries(rule)
    .filter(([name]) => !["kind", "off"].includes(name))
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(", ") : value}`)
    .join(" · ");

function faultRow(key, title, text, on, change) {
  const row = make("div", undefined, on ? "fault on" : "fault");
  const toggle = make("input");
  toggle.type = "checkbox";
  toggle.id = key;
  toggle.checked = on;
  toggle.setAttribute("role", "switch");
  toggle.addEventListener("change", () => change(toggle.checked));
  const label = make("label", title);
  label.htmlFor = key;
  const tools = make("div", undefined, "tools");
  tools.append(toggle);
  row.append(label, tools);
  if (text) row.append(written(text));
  return row;
}

function activeRow(fault) {
  const met = fault.met === 1 ? "met once" : `met ${fault.met} times`;
  const text = [details(fault.rule), met].filter(Boolean).join(" · ");
  const row = faultRow(`fault-${fault.id}`, fault.rule.kind, text, fault.on, (on) =>
    act(() => ask("PATCH", `/_sandbox/faults/${fault.id}`, { on })));
  row.classList.add("there");
  const remove = make("button", "×", "remove");
  remove.type = "button";
  remove.setAttribute("aria-label", `Remove ${fault.rule.kind}`);
  remove.addEventListener("click", () => act(() => ask("DELETE", `/_sandbox/faults/${fault.id}`)));
  row.querySelector(".tools").append(remove);
  return row;
}

function addFault(kind) {
  const rule = { kind, route: byId("route").value, account: byId("account").value || "*", rate: Number(byId("rate").value) };
  return act(() => ask("POST", "/_sandbox/faults", rule));
}

let drawn = "";
function showFaults() {
  const faults = latest.faults;
  byId("calm").hidden = faults.length === 0;
  const same = JSON.stringify(faults);
  if (same === drawn && byId("mistake").hidden) return;
  drawn = same;
  const focused = document.activeElement && document.activeElement.id;
  byId("active-faults").replaceChildren(...faults.map(activeRow));
  const there = new Set(faults.map((fault) => fault.rule.kind));
  for (const kind of about.kinds) {
    const row = byId(`row-${kind.kind}`);
    if (row) row.hidden = there.has(kind.kind);
    const toggle = byId(`kind-${kind.kind}`);
    if (toggle) toggle.checked = false;
  }
  if (focused && focused.startsWith("kind-")) {
    const added = faults.find((fault) => `kind-${fault.rule.kind}` === focused);
    if (added) byId(`fault-${added.id}`).focus();
  } else if (focused && byId(focused)) {
    byId(focused).focus();
  }
}

function showKinds() {
  const groups = new Map();
  for (const kind of about.kinds) {
    if (!groups.has(kind.group)) groups.set(kind.group, []);
    groups.get(kind.group).push(kind);
  }
  for (const [group, kinds] of groups) {
    byId("kinds").append(make("h3", group));
    for (const kind of kinds) {
      const row = faultRow(`kind-${kind.kind}`, kind.kind, kind.text, false, () => addFault(kind.kind));
      row.id = `row-${kind.kind}`;
      byId("kinds").append(row);
    }
  }
  const backends = [...new Set(about.routes.map((route) => route.split(".")[0]))];
  const choices = ["*", ...backends.map((backend) => `${backend}.*`), ...about.routes];
  byId("route").replaceChildren(...choices.map((route) => {
    const option = make("option", route === "*" ? "all" : route);
    option.value = route;
    return option;
  }));
}

// --- Requests

const failed = (served) => served.status === null || served.status >= 400;

function statusOf(served) {
  if (served.status === null) return ["none", "bad"];
  if (served.status >= 500 || served.status === 429) return [String(served.status), "bad"];
  return [String(served.status), served.status >= 400 ? "warn" : "good"];
}

function logRow(served) {
  const row = make("tr", undefined, failed(served) ? "failed" : "");
  const [status, color] = statusOf(served);
  const operation = make("td");
  operation.append(make("span", served.route), make("span", `${served.method} ${served.path}`, "path"));
  operation.title = served.path;
  const account = make("td");
  account.append(make("code", served.account));
  const time = new Date(served.at);
  const took = served.duration < 1 ? `${Math.round(served.duration * 1000)} ms` : `${served.duration.toFixed(1)} s`;
  row.append(
    make("td", Number.isNaN(time.getTime()) ? "" : time.toLocaleTimeString([], { hour12: false })), make("td", status, color), operation,
    account, make("td", took), make("td", served.fault || "", "warn"));
  return row;
}

function showLog(fresh) {
  rows = rows.concat(fresh).slice(-SHOWN);
  if (paused) return;
  const wanted = byId("only-failed").checked ? rows.filter(failed) : rows;
  byId("log").replaceChildren(...wanted.slice().reverse().map(logRow));
  byId("quiet").hidden = wanted.length > 0;
}

// --- Limits, accounts, addresses

function showLimits(state) {
  // A day's window says nothing until some of it is used.
  const limits = state.limits.filter((limit) => limit.seconds < 86400 || limit.used > limit.most / 100);
  byId("limits").replaceChildren(...limits.map((limit) => {
    const item = make("li");
    const meter = make("meter");
    const name = `${limit.backend} ${limit.account}`;
    const title = make("span", `${limit.backend} `);
    title.append(make("code", limit.account));
    Object.assign(meter, { min: 0, max: limit.most, high: limit.most * 0.8, optimum: 0, value: limit.used });
    meter.setAttribute("aria-label", `${name}: ${limit.used} of ${limit.most}`);
    const per = limit.seconds >= 86400 ? "day" : `${limit.seconds} s`;
    item.append(title, make("span", `${limit.used} of ${limit.most} per ${per}`, "hint"), meter);
    return item;
  }));
  byId("no-limits").hidden = limits.length > 0;
  byId("enforced").textContent = state.enforced ? "" : "not enforced";
}

async function showAccounts(more) {
  const search = byId("search").value;
  const query = new URLSearchParams({ search, skip: more ? listed : 0 });
  const data = await ask("GET", `/_sandbox/accounts?${query}`);
  const items = data.accounts.map((account) => {
    const item = make("li");
    const count = account.state === "connected" ? `${account.numbers} numbers` : account.state;
    const name = make("span", `${account.backend} `);
    name.append(make("code", account.account));
    item.append(name, make("span", count));
    return item;
  });
  if (more) byId("accounts").append(...items);
  else byId("accounts").replaceChildren(...items);
  listed = data.next;
  byId("more").hidden = listed >= data.locations;
}

function showAbout() {
  byId("about").textContent = `Three vendors on loopback · ${about.locations.toLocaleString()} locations · seed ${about.seed}`;
  byId("vendors").replaceChildren(...about.vendors.map((vendor) => {
    const item = make("li");
    item.append(make("span", vendor.name), make("code", vendor.url), make("code", vendor.header));
    return item;
  }));
}

// --- Live

function update(state) {
  latest = state;
  for (const name of ["total", "in_flight", "peak", "failed", "created"]) {
    byId(name).textContent = state[name].toLocaleString();
  }
  showFaults();
  if (state.log.length) showLog(state.log);
  showLimits(state);
  shown = state.total;
}

function say(state, text) {
  byId("link").dataset.state = state;
  byId("link").querySelector("b").textContent = text;
}

function watch() {
  const events = new EventSource(shown ? `/_sandbox/events?after=${shown}` : "/_sandbox/events");
  events.onopen = () => say("live", "live");
  events.onmessage = (event) => update(JSON.parse(event.data));
  events.onerror = () => {
    events.close(); // it would ask again for what is here already
    say("lost", "connection lost, trying again");
    setTimeout(watch, 1000);
  };
}

async function begin() {
  try {
    about = await ask("GET", "/_sandbox/about");
  } catch (error) {
    say("lost", error.message);
    return;
  }
  showAbout();
  showKinds();
  watch();
  await showAccounts(false);
}

byId("calm").addEventListener("click", () => act(() => ask("DELETE", "/_sandbox/faults")));
byId("scope").addEventListener("submit", (event) => event.preventDefault());
byId("only-failed").addEventListener("change", () => showLog([]));
byId("search").addEventListener("input", () => showAccounts(false));
byId("more").addEventListener("click", () => showAccounts(true));
byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  showLog([]);
});
begin();
