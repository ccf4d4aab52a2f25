// The live page: it keeps the samples of the last hour, and gets a document each second, which it shows. It only reads.

import { Charts } from "./charts.js";
import { SIGNS, bytes, clock, duration, element, number, percent, put, spoken } from "./text.js";

const SILENT_MS = 3000;
const RETRY_MS = 2000;
const KEPT = 3600;
const ENGINES = { true: "compiled", false: "pure Python" };
const NUMBER = /^[\d–.,-]+( × [\d.,]+| (%|s|kB|MB|µs))?$/;
const SOURCES = { receive_to_reply: "clients' orders", canary: "canary" };
const TILES = [
  ["avg", "Average", "µs"], ["p95", "95th percentile", "µs"], ["p99", "99th percentile", "µs"], ["throughput", "Throughput", "orders/s"],
  ["feed_p99", "Market data, 99th percentile", "µs"],
];

const charts = new Charts();
const view = {
  history: null, latest: null, heardMs: 0, seconds: 60, paused: false,
  partition: new URLSearchParams(location.search).get("partition"), connection: 0, stream: null,
  told: {},
};

const price = (value_e4) => (value_e4 ? number(value_e4 / 1e4, 2) : "–");
const quote = (price_e4, shares) => (price_e4 ? `${number(shares)} × ${price(price_e4)}` : "–");

function table(id, head, rows, empty) {
  const cell = (tag, value) => {
    const made = document.createElement(tag);
    made.textContent = value;
    if (NUMBER.test(value)) made.className = "number";
    return made;
  };
  const row = (tag, values, like) => {
    const made = document.createElement("tr");
    made.append(...values.map((value) => cell(tag, value)));
    like?.forEach((value, column) => { if (NUMBER.test(value)) made.cells[column].className = "number"; });
    return made;
  };
  if (!rows.length) element(id).replaceChildren(row("td", [empty]));
  else element(id).replaceChildren(...(head ? [row("th", head, rows[0])] : []), ...rows.map((values) => row("td", values)));
}

function verdict(latest, silent) {
  if (silent) return ["disconnected", "No data from the telemetry service; trying again."];
  const worst = latest.checks.filter((check) => check.status !== "ok");
  const halted = worst.length > 0 && worst.every((check) => check.name === "trading");
  return [halted ? "halted" : latest.status, worst.map((check) => check.reason).join(" · ") || "All checks pass."];
}

function renderHead() {
  const { latest } = view;
  if (!latest) return;
  const silentMs = performance.now() - view.heardMs;
  const silent = silentMs > SILENT_MS;
  const [status, reason] = verdict(latest, silent);
  element("verdict").dataset.status = status;
  document.body.classList.toggle("silent", silent || latest.status === "failing");
  put("verdict-word", SIGNS[status]);
  put("verdict-reason", reason);
  document.title = `${SIGNS[status]} · ${latest.partition ? `${latest.partition} · ` : ""}trading host`;
  put("age", latest.age_s == null ? "no data" : `${number(latest.age_s + (silent ? silentMs / 1000 : 0), 1)} s`);
  put("uptime", duration(latest.engine?.uptime_s));
  put("durability", latest.engine?.durability ?? "–");
  put("engine", ENGINES[latest.engine?.compiled] ?? "–");
  put("profile", latest.host.tuning_profile ?? "unknown");
  const left = latest.gauges?.journal_seconds_left;
  put("journal", left == null ? "–" : left < 0 ? "no growth" : `${duration(left)} left`);
}

// The buttons that choose a partition; none without partitions. They are created once, so that the keyboard focus is not lost.
function renderSwitch() {
  const { partition, partitions } = view.latest;
  const names = Object.keys(partitions ?? {});
  if (element("partitions")?.dataset.names !== names.join()) element("partitions")?.remove();
  if (!names.length) return;
  if (!element("partitions")) {
    const made = document.createElement("span");
    made.id = "partitions";
    made.dataset.names = names.join();
    made.setAttribute("role", "group");
    made.setAttribute("aria-label", "Partition");
    made.append(...names.map((name) => {
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.partition = name;
      button.addEventListener("click", () => choose(name));
      return button;
    }));
    element("controls").prepend(made);
  }
  for (const button of element("partitions").children) {
    const { partition: name } = button.dataset;
    const text = partitions[name] === "ok" ? name : `${name} ${SIGNS[partitions[name]]}`;
    if (button.textContent !== text) button.textContent = text;
    button.dataset.status = partitions[name];
    button.setAttribute("aria-pressed", String(name === partition));
  }
  // Screen readers are told changes of the other partitions. The verdict shows that of the present one.
  const changed = names.filter((name) => name !== partition && partitions[name] !== (view.told[name] ?? "ok"));
  if (changed.length) put("told", changed.map((name) => `${name}: ${spoken(partitions[name])}`).join(", "));
  view.told = partitions;
  for (const link of document.querySelectorAll("footer a")) {
    if (["/health", "/latest"].includes(link.pathname)) link.search = new URLSearchParams({ partition });
  }
}

function renderTiles() {
  const { slo, windows } = view.latest;
  const tiles = TILES.map(([key, name, unit]) => {
    const capacity = key === "throughput";
    const feed = key === "feed_p99";
    const now = capacity ? windows["1s"]?.orders_received_per_s : feed ? windows["60s"]?.latency_us.feed?.p99 : slo.latency_us?.[key];
    const target = capacity ? slo.targets?.throughput_per_s : slo.targets?.[`${key}_us`];
    const hour = slo.last_hour[key];
    const kept = capacity || now == null || target == null ? "unknown" : now < target ? "yes" : "no";
    const word = { yes: "✓ within target", no: "✕ target missed", unknown: capacity ? "load at present" : feed ? "nobody subscribes" : "nothing to judge" }[kept];
    const made = document.createElement("div");
    made.className = "tile";
    made.dataset.kept = kept;
    made.dataset.tile = key;
    const add = (className, text) => {
      const part = document.createElement("div");
      part.className = className;
      part.textContent = text;
      made.append(part);
    };
    add("name", name);
    add("now", `${number(now)} ${unit}`);
    add("word", word);
    const sources = Object.entries(slo.latency_by_source_us).map(([source, figures]) => `${SOURCES[source]} ${number(figures[key])}`);
    if (feed) add("name", "from the reply to the feed's sending");
    else if (!capacity && sources.length) add("name", sources.join(", "));
    add("name", target == null ? "target unknown" : `target ${capacity ? "at least" : "under"} ${number(target)} ${unit}`);
    if (!capacity && !feed) add("name", `last hour kept ${percent(hour?.kept_ratio)}, budget left ${percent(hour?.budget_left_ratio)}`);
    return made;
  });
  element("tiles").replaceChildren(...tiles);
}

function renderTables() {
  const { latest } = view;
  const gauges = latest.gauges ?? {};
  const counters = latest.counters ?? {};
  table("checks", null, latest.checks.map((check) => [SIGNS[check.status].split(" ")[0], check.name, check.reason]), "–");
  table(
    "symbols", ["Symbol", "Bid", "Ask", "Last", "Trades"],
    (latest.symbols ?? []).slice(0, 12).map((s) => [
      s.symbol, quote(s.bid_price_e4, s.bid_shares), quote(s.ask_price_e4, s.ask_shares), price(s.last_price_e4), number(s.trades),
    ]), "No symbol yet.",
  );
  table("rejects", ["Reason", "Count"], Object.entries(latest.windows["60s"]?.rejects ?? {}).map(([letter, count]) => [letter, number(count)]), "None.");
  const dropped = ["slow", "silent"].map((cause) => counters[`dropped_${cause}_clients`] ?? 0);
  table("queues", null, [
    ["Journal lag", bytes(gauges.journal_lag_bytes)], ["Waiting for clients", bytes(gauges.queued_bytes)],
    ["Dropped clients (slow, silent)", dropped.map((count) => number(count)).join(", ")], ["Open orders", number(gauges.open_orders)],
    ["Engine's memory", bytes(latest.engine?.resident_bytes)], ["Host's memory used", percent(latest.host.memory_percent / 100)],
    ["Longest loop lag", `${number(gauges.loop_lag_max_ns / 1e3)} µs`], ["Longest GC pause", `${number(gauges.gc_pause_max_ns / 1e3)} µs`],
    ["Clock offset (at most)", latest.host.clock_offset_us == null
      ? (latest.host.clock_synchronised === false ? "not synchronised" : "unknown")
      : `${number(latest.host.clock_offset_us, 1)} µs (${number(latest.host.clock_error_bound_us, 0)} µs)`],
    ["Kill switches in force", number(gauges.kill_switches)],
  ], "–");
  table(
    "sessions", ["Account", "Since", "In", "Out", "Waiting"],
    (latest.sessions ?? []).map((s) => [
      s.account + (s.test ? " (test)" : ""), clock(s.connected_ns), number(s.messages_in), number(s.messages_out), bytes(s.queued_bytes),
    ]), "No session.",
  );
  table("events", null, (latest.events ?? []).slice(-12).reverse().map((event) => [clock(event.time_ns), event.text]), "No event yet.");
}

function renderAll(another) {
  renderHead();
  if (view.latest) renderSwitch();
  if ((view.paused && !another) || !view.latest || document.hidden) return;
  renderTiles();
  renderTables();
  if (view.history) {
    const shown = Object.fromEntries(Object.entries(view.history).map(([name, values]) => [name, values.slice(-view.seconds)]));
    charts.draw(shown, view.latest);
  }
}

function take(latest) {
  const another = view.latest?.partition !== latest.partition;
  view.latest = latest;
  view.heardMs = performance.now();
  if (view.history && latest.second.time_s !== view.history.time_s.at(-1)) {
    for (const [name, values] of Object.entries(view.history)) {
      values.push(latest.second[name] ?? null);
      if (values.length > KEPT) values.shift();
    }
  }
  renderAll(another);
}

async function json(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`, { cause: answer.status });
  return answer.json();
}

function path(name, parameters = {}) {
  const asked = view.partition == null ? parameters : { ...parameters, partition: view.partition };
  const query = new URLSearchParams(asked).toString();
  return query ? `${name}?${query}` : name;
}

// Data that an earlier connection still delivers is ignored: it is of another partition, or comes twice.
async function connect() {
  const mine = ++view.connection;
  const current = () => mine === view.connection;
  const again = () => setTimeout(() => current() && connect(), RETRY_MS);
  view.stream?.close();
  try {
    const history = await json(path("/history", { window: KEPT }));
    const latest = await json(path("/latest"));
    if (!current()) return;
    view.history = history;
    take(latest);
    const stream = new EventSource(path("/stream"));
    view.stream = stream;
    stream.onmessage = (message) => current() && take(JSON.parse(message.data));
    stream.onerror = () => {
      stream.close();
      again();
    };
  } catch (error) {
    if (!current()) return;
    if (error.cause === 404 && view.partition != null) {
      choose(null);  // the address names a partition that does not exist any more
      return;
    }
    renderHead();
    again();
  }
}

function choose(partition) {
  view.partition = partition;
  history.replaceState(null, "", path(location.pathname));
  connect();
}

for (const button of document.querySelectorAll("[data-window]")) {
  button.addEventListener("click", () => {
    view.seconds = Number(button.dataset.window);
    for (const other of document.querySelectorAll("[data-window]")) other.setAttribute("aria-pressed", String(other === button));
    renderAll();
  });
}
element("pause").addEventListener("click", () => {
  view.paused = !view.paused;
  element("pause").setAttribute("aria-pressed", String(view.paused));
  put("pause", view.paused ? "Resume" : "Pause");
  renderAll();
});
document.addEventListener("visibilitychange", () => renderAll());
setInterval(renderHead, 500);
if (location.hash.startsWith("#token=")) history.replaceState(null, "", location.pathname + location.search);  // remove the token from the address; login.js does that only if a login is needed
connect();
