"use strict";
// Data is interned: findings and timelines that many hosts share are there once, and hosts refer to them by number.
const data = JSON.parse(document.getElementById("data").textContent);
const SIZE = 100;
const ORDER = ["failed", "down", "error", "warning", "info", "none"];
const SVG = "http://www.w3.org/2000/svg";
const documented = (id) => `${data.documentation}/${id}.md`;
const byId = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function shape(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// As everywhere else: 71 s, 15 min 25 s, 2 h 11 min.
const UNITS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
function human(seconds) {
  if (seconds === null || seconds === undefined) return "never";
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 180) return `${whole} s`;
  const [size, unit, smaller, rest] = UNITS.find(([one]) => whole >= 2 * one);
  const left = Math.floor((whole % size) / smaller);
  return `${Math.floor(whole / size)} ${unit}${left ? ` ${left} ${rest}` : ""}`;
}

const rows = data.hosts.map((host) => {
  const findings = host.findings.map((number) => data.findings[number]);
  const lines = data.timelines[host.timelines] || [];
  const seconds = {};
  for (const line of lines) seconds[line.phase] = line.seconds;
  const worst = host.status !== "ok" ? host.status : findings.length ? findings[0].severity : "none";
  const ids = findings.map((finding) => finding.id).join(" ");
  return {
    host, findings, lines, seconds, worst, up: lines.length > 0,
    drift: host.drift ? host.drift.settings.length : 0,
    text: `${host.host} ${host.version || ""} ${ids}`.toLowerCase(),
  };
});

const late = (phase) => (row) => (!row.up ? -1 : row.seconds[phase] === null ? Infinity : row.seconds[phase]);
const spoken = (phase) => (row) => (row.up ? human(row.seconds[phase]) : "");
const COLUMNS = [
  { title: "host", key: (row) => row.host.host, show: null },
  { title: "worst", key: (row) => ORDER.indexOf(row.worst), show: (row) => row.worst, mark: (row) => row.worst },
  { title: "findings", key: (row) => -row.findings.length, show: (row) => row.findings.length || "", number: true },
  { title: "version", key: (row) => row.host.version || "", show: (row) => (row.host.version || "").split(" ")[0] },
  { title: "idle", key: late("idle"), show: spoken("idle"), number: true },
  { title: "executing", key: late("executing"), show: spoken("executing"), number: true },
  { title: "sending", key: late("sending"), show: spoken("sending"), number: true },
  { title: "stale", key: (row) => -row.host.stale_sessions, show: (row) => row.host.stale_sessions || "", number: true },
  { title: "drift", key: (row) => -row.drift, show: (row) => (row.drift ? `${row.drift} since ${row.host.drift.since.slice(0, 10)}` : "") },
];
const compare = new Intl.Collator("en", { numeric: true }).compare;
const view = { column: 1, ascending: true, page: 0, open: null, rows };

function sort(some) {
  const { key } = COLUMNS[view.column];
  const sign = view.ascending ? 1 : -1;
  return some.sort((one, other) => {
    const [a, b] = [key(one), key(other)];
    const order = typeof a === "string" ? compare(a, b) : a === b ? 0 : a < b ? -1 : 1;
    return sign * order || compare(one.host.host, other.host.host);
  });
}

function choose() {
  const words = byId("text").value.toLowerCase().split(/\s+/).filter(Boolean);
  const standing = byId("standing").value;
  view.rows = sort(rows.filter((row) =>
    words.every((word) => row.text.includes(word)) &&
    (!standing || row.worst === standing) &&
    (!byId("drifted").checked || row.drift) &&
    (!byId("stale").checked || row.host.stale_sessions)));
  view.page = 0;
  draw();
}

function draw() {
  const head = document.querySelector("#hosts thead tr");
  [...head.children].forEach((cell, number) => {
    cell.setAttribute("aria-sort", number !== view.column ? "none" : view.ascending ? "ascending" : "descending");
  });
  const body = document.createDocumentFragment();
  const from = view.page * SIZE;
  for (const row of view.rows.slice(from, from + SIZE)) {
    const open = view.open === row;
    const line = element("tr");
    for (const column of COLUMNS) {
      if (column.show === null) {
        const button = element("button", { type: "button", class: "host", "aria-expanded": String(open) }, row.host.host);
        button.addEventListener("click", () => toggle(row));
        line.append(element("th", { scope: "row" }, button));
      } else {
        const marks = [column.number ? "number" : "", column.mark ? column.mark(row) : ""].filter(Boolean).join(" ");
        line.append(element("td", marks ? { class: marks } : {}, String(column.show(row))));
      }
    }
    body.append(line);
    if (open) body.append(element("tr", { class: "detail" }, element("td", { colspan: COLUMNS.length }, element("div", { class: "stay" }, ...detail(row)))));
  }
  document.querySelector("#hosts tbody").replaceChildren(body);
  byId("count").textContent = `${view.rows.length} of ${rows.length} hosts`;
  const last = Math.max(0, Math.ceil(view.rows.length / SIZE) - 1);
  const turn = (title, page) => {
    const button = element("button", { type: "button" }, title);
    button.disabled = page < 0 || page > last;
    button.addEventListener("click", () => { view.page = page; draw(); });
    return button;
  };
  byId("pages").replaceChildren(...(last ? [turn("previous", view.page - 1), `page ${view.page + 1} of ${last + 1}`, turn("next", view.page + 1)] : []));
}

function toggle(row) {
  view.open = view.open === row ? null : row;
  draw();
  const button = [...document.querySelectorAll(".host")].find((one) => one.textContent === row.host.host);
  if (button) button.focus();
}

function detail(row) {
  const { host } = row;
  const parts = [];
  if (host.reason) parts.push(element("p", { class: "failed" }, `${host.status}: ${host.reason}`));
  const list = (items) => element("ul", {}, ...items);
  if (row.findings.length) {
    parts.push(element("h3", {}, "Findings"), list(row.findings.map((one) =>
      element("li", {}, element("a", { class: one.severity, href: documented(one.id) }, `${one.id} ${one.severity}`), ` ${one.where}: ${one.evidence}. `, element("span", { class: "quiet" }, one.remedy)))));
  }
  if (host.ignored.length) {
    parts.push(element("h3", {}, "Ignored"), list(host.ignored.map((number) => data.findings[number]).map((one) =>
      element("li", {}, `${one.id} ${one.where}: `, element("span", { class: "quiet" }, one.reason)))));
  }
  if (row.drift) {
    parts.push(element("h3", {}, `Drifted from what profile ${host.drift.profile} put in force on ${host.drift.hardened}`), list(host.drift.settings.map((one) =>
      element("li", {}, `${one.name} is ${one.found} instead of ${one.wanted} (${one.where})`))));
  }
  if (row.up) {
    parts.push(element("h3", {}, "From the peer's loss to the backend's end"), element("div", { class: "wide" }, picture(row)));
    parts.push(element("p", { class: "quiet" }, "Marks: first probe, last probe, user timeout over, noticed by the kernel (its check interval later the backend sees it), backend gone; without slack, on a logarithmic axis."));
  }
  if (host.drill) {
    parts.push(element("h3", {}, `Drill of ${host.drill.time}`), list(host.drill.cells.map((cell) =>
      element("li", {}, `${cell.phase}, ${cell.fault}: promised ${human(cell.bound)}, measured ${cell.measured === null ? "still there" : human(cell.measured)}: ${cell.verdict}`))));
  }
  if (host.diagnosis) {
    parts.push(element("h3", {}, `Diagnosis of ${host.diagnosis.time}`), list(host.diagnosis.causes.map((cause) =>
      element("li", {}, `${cause.cause}: ${cause.losses}`))));
  }
  return parts;
}

// A logarithmic axis: a second and a day are both there to be read.
const LEFT = 220, RIGHT = 880, FIRST = 0.5, TICKS = [[1, "1 s"], [10, "10 s"], [60, "1 min"], [600, "10 min"], [3600, "1 h"], [86400, "1 d"]];
const at = (seconds) => LEFT + ((RIGHT - LEFT) * Math.log(Math.min(Math.max(seconds, FIRST), 86400) / FIRST)) / Math.log(86400 / FIRST);
const NAMES = { first_probe: "first probe", last_probe: "last probe", user_timeout: "user timeout over", noticed: "noticed by the kernel", gone: "backend gone" };

function picture(row) {
  const sets = [["before", data.timelines[row.host.before], "--before"], ["in force", row.lines, "--accent"]];
  if (row.host.wanted !== row.host.timelines) sets.push(["as the policy wants", data.timelines[row.host.wanted], "--none"]);
  const shown = sets.filter(([, lines]) => lines && lines.length);
  const step = 18, group = shown.length * step + 14, height = 40 + row.lines.length * group;
  const words = row.lines.map((line) => `${line.phase.replaceAll("_", " ")} ${human(line.seconds)}`).join(", ");
  const svg = shape("svg", { viewBox: `0 0 1000 ${height}`, role: "img", "aria-label": `Backend gone after: ${words}` });
  for (const [seconds, title] of TICKS) {
    svg.append(shape("line", { class: "axis", x1: at(seconds), x2: at(seconds), y1: 20, y2: height - 8 }), shape("text", { x: at(seconds), y: 14, "text-anchor": "middle" }, title));
  }
  row.lines.forEach((line, number) => {
    const top = 36 + number * group;
    svg.append(shape("text", { x: 4, y: top + 4, "font-weight": 600 }, line.phase.replaceAll("_", " ")));
    shown.forEach(([title, lines, colour], place) => {
      const one = lines.find((other) => other.phase === line.phase);
      const y = top + place * step;
      const end = one.seconds === null ? RIGHT : at(one.seconds);
      svg.append(shape("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, title));
      svg.append(shape("line", { class: "bar", x1: LEFT, x2: end, y1: y, y2: y, style: `stroke: var(${colour})` }));
      for (const [name, seconds] of one.events) {
        const mark = shape("line", { class: "mark", x1: at(seconds), x2: at(seconds), y1: y - 6, y2: y + 6 });
        mark.append(shape("title", {}, `${NAMES[name]}: ${human(seconds)}`));
        svg.append(mark);
      }
      svg.append(shape("text", { x: Math.min(end + 8, RIGHT + 8), y: y + 4 }, one.seconds === null ? "→ never" : human(one.seconds)));
    });
  });
  if (row.host.path_idle_limit) {
    const x = at(row.host.path_idle_limit / 1000);
    const limit = shape("line", { class: "limit", x1: x, x2: x, y1: 18, y2: height - 6 });
    limit.append(shape("title", {}, `a device on the path forgets an idle connection after ${human(row.host.path_idle_limit / 1000)}`));
    svg.append(limit, shape("text", { x: x + 4, y: height - 8 }, `path limit ${human(row.host.path_idle_limit / 1000)}`));
  }
  return svg;
}

function start() {
  const counts = {};
  for (const row of rows) counts[row.worst] = (counts[row.worst] || 0) + 1;
  byId("about").textContent = `${data.time} · ${rows.length} ${rows.length === 1 ? "host" : "hosts"} · ${ORDER.filter((one) => counts[one]).map((one) => `${counts[one]} ${one}`).join(", ")}`;
  for (const one of ORDER.filter((name) => counts[name])) byId("standing").append(element("option", { value: one }, `${one} (${counts[one]})`));
  COLUMNS.forEach((column, number) => {
    const button = element("button", { type: "button" }, column.title);
    button.addEventListener("click", () => {
      view.ascending = view.column === number ? !view.ascending : true;
      view.column = number;
      view.rows = sort([...view.rows]);
      view.page = 0;
      draw();
    });
    document.querySelector("#hosts thead tr").append(element("th", { scope: "col", ...(column.number ? { class: "number" } : {}) }, button));
  });
  const hosts = {};
  for (const row of rows) for (const id of new Set(row.findings.map((finding) => finding.id))) hosts[id] = (hosts[id] || 0) + 1;
  const rank = (id) => ORDER.indexOf(data.rules[id].severity);
  for (const id of Object.keys(hosts).sort((one, other) => rank(one) - rank(other) || hosts[other] - hosts[one] || compare(one, other))) {
    const button = element("button", { type: "button", class: "host" }, id);
    button.addEventListener("click", () => { byId("text").value = id; choose(); byId("text").focus(); });
    const { severity, title } = data.rules[id];
    document.querySelector("#rules tbody").append(element("tr", {}, element("th", { scope: "row" }, button), element("td", { class: severity }, severity), element("td", { class: "number" }, String(hosts[id])), element("td", {}, element("a", { href: documented(id) }, title))));
  }
  byId("rules").hidden = !Object.keys(hosts).length;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", choose);
  byId("filters").addEventListener("change", choose);
  choose();
}

start();
