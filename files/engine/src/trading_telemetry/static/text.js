// Functions with which both pages write values as text. null is written as "–".

export const SIGNS = { ok: "✓ Healthy", degraded: "⚠ Degraded", halted: "⚠ Trading halted", failing: "✕ Failing", disconnected: "✕ Disconnected" };

export const spoken = (status) => SIGNS[status].slice(2);  // without the sign, because screen readers would read it

export const element = (id) => document.getElementById(id);

export const number = (value, digits = 0) =>
  value == null ? "–" : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
export const percent = (ratio) => (ratio == null ? "–" : `${(100 * ratio).toFixed(1)} %`);
export const bytes = (value) => (value == null ? "–" : value < 1e6 ? `${number(value / 1e3, 1)} kB` : `${number(value / 1e6, 1)} MB`);
export const clock = (ns) => new Date(ns / 1e6).toLocaleTimeString("en-GB");

export function duration(seconds) {
  if (seconds == null) return "–";
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]].map(([size, name]) => {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    return [count, name];
  });
  const first = parts.findIndex(([count]) => count > 0);
  return first < 0 ? "0 s" : parts.slice(first, first + 2).map(([count, name]) => `${count} ${name}`).join(" ");
}

export function put(id, text) {
  if (element(id).textContent !== text) element(id).textContent = text;
}
