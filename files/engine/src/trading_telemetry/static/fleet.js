// The page of many hosts: it requests /fleet every two seconds, and shows a row of a table for each partition.

import { SIGNS, clock, duration, element, number, percent, put, spoken } from "./text.js";

const ASK_MS = 2000;
const LIMIT_MS = 5000;
const NAMED = 4;
const rows = new Map();
const told = new Map();  // the last state of each row, as a text
let asking = false;
let timer = 0;

function left(seconds) {
  if (seconds == null) return "–";
  return seconds < 0 ? "no growth" : duration(seconds);
}

function state(host, row, nowNs) {
  if (host.silent_since_ns != null) {
    const seconds = Math.max((nowNs - host.silent_since_ns) / 1e9, 0);
    return ["failing", `✕ No answer since ${clock(host.silent_since_ns)} (${duration(seconds)})`, host.problem, "No answer"];
  }
  if (row.status == null) return ["failing", "✕ No answer", row.reasons.join(" · "), "No answer"];  // the host answers, but has no data of this partition
  return [row.status, SIGNS[row.status], row.reasons.join(" · "), spoken(row.status)];
}

function cells(row) {
  const target = row.p99_target_us == null ? "" : ` (${number(row.p99_target_us)})`;
  return [
    `${number(row.p99_us)}${target}`, percent(row.p99_kept_ratio), number(row.orders_per_s), number(row.executions_per_s),
    number(row.rejects_per_s), percent(row.journal_used_ratio), left(row.journal_seconds_left), number(row.sessions),
    row.age_s == null ? "–" : `${number(row.age_s, 1)} s`,
  ];
}

// Each row is created once and then updated, so that the keyboard focus and a marked text are not lost.
function rowOf(key, host, partition) {
  if (rows.has(key)) return rows.get(key);
  const made = document.createElement("tr");
  const head = document.createElement("th");
  head.scope = "row";
  const link = document.createElement("a");
  link.href = partition == null ? host.url : `${host.url}/?${new URLSearchParams({ partition })}`;
  link.textContent = host.name;
  head.append(link);
  made.append(head, ...Array.from({ length: 11 }, () => document.createElement("td")));
  const [name, described, ...figures] = [...made.cells].slice(1);
  name.textContent = partition ?? "–";
  described.append(document.createElement("strong"), document.createElement("div"));
  figures.forEach((cell) => { cell.className = "number"; });
  rows.set(key, made);
  return made;
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

// Screen readers are told only changes of a state, and not the figures in the reasons, which change with every answer.
function tell(states) {
  const changed = [...states].filter(([key, { words }]) => words !== (told.get(key) ?? spoken("ok"))).map(([, { name, words }]) => `${name}: ${words}`);
  const more = changed.length > NAMED ? [`${changed.length - NAMED} more`] : [];
  if (changed.length) put("told", [...changed.slice(0, NAMED), ...more].join(", "));
  else if (document.body.classList.contains("silent")) put("told", "There is data again.");
  told.clear();
  states.forEach(({ words }, key) => told.set(key, words));
}

function render(fleet) {
  const all = fleet.hosts.flatMap((host) => {
    const known = host.partitions.length ? host.partitions : [{ partition: null, reasons: [] }];
    return known.map((row) => ({
      host, row, key: JSON.stringify([host.name, row.partition]), name: [host.name, row.partition].filter(Boolean).join(" "),
      state: state(host, row, fleet.time_ns),
    }));
  });
  const shown = all.map(({ host, row, key, state: [status, word, reason] }) => {
    const made = rowOf(key, host, row.partition);
    made.dataset.status = status;
    const [, , described, ...figures] = made.cells;
    write(described.firstChild, word);
    write(described.lastChild, reason);
    cells(row).forEach((text, column) => write(figures[column], text));
    return made;
  });
  const body = document.querySelector("#fleet tbody");
  if (shown.length !== body.rows.length || shown.some((row, at) => row !== body.rows[at])) body.replaceChildren(...shown);
  const states = new Map(all.map(({ key, name, state: [, , , words] }) => [key, { name, words }]));
  [...rows.keys()].filter((key) => !states.has(key)).forEach((key) => rows.delete(key));
  tell(states);

  const ill = all.filter(({ state: [status] }) => status !== "ok");
  const named = ill.map(({ name, state: [, word, reason] }) => `${name}: ${reason || word}`);
  const more = named.length > NAMED ? [`${named.length - NAMED} more`] : [];
  element("verdict").dataset.status = fleet.status;
  document.body.classList.remove("silent");
  put("verdict-word", SIGNS[fleet.status]);
  put("verdict-reason", [...named.slice(0, NAMED), ...more].join(" · ") || "All hosts answer, and all checks pass.");
  document.title = `${SIGNS[fleet.status]} · trading hosts`;
  put("answering", `${fleet.hosts.filter((host) => host.silent_since_ns == null).length} of ${fleet.hosts.length}`);
  put("well", `${all.length - ill.length} of ${all.length}`);
  put("orders", number(all.reduce((sum, { row }) => sum + (row.orders_per_s ?? 0), 0)));
}

// Requests /fleet and shows the answer. A hidden tab requests nothing, until it is visible again.
async function ask() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch("/fleet", { signal: AbortSignal.timeout(LIMIT_MS) });
    if (!answer.ok) throw new Error(`/fleet: ${answer.status}`);
    render(await answer.json());
  } catch {
    element("verdict").dataset.status = "disconnected";
    document.body.classList.add("silent");
    put("verdict-word", SIGNS.disconnected);
    put("verdict-reason", "No data from the service of this page; trying again.");
    put("told", spoken("disconnected"));
    document.title = `${SIGNS.disconnected} · trading hosts`;
  }
  asking = false;
  timer = setTimeout(ask, ASK_MS);
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  ask();
});

if (location.hash.startsWith("#token=")) history.replaceState(null, "", location.pathname + location.search);  // remove the token from the address; login.js does that only if a login is needed
ask();
