// The charts: which columns of the history each one shows, and how. The library uPlot draws them.

const HEIGHT = { wide: 240, usual: 180 };

const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const line = (label, colorName, dash) => ({
  label, stroke: color(colorName), width: 1.5, dash, spanGaps: false, points: { show: false },
  value: (_, value) => (value == null ? "–" : value.toLocaleString("en", { maximumSignificantDigits: 4 })),
});

const axis = (more) => ({
  stroke: color("dim"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line"), width: 1 }, ...more,
});

// The time axis: its ticks are at least a second apart, and times are written with 24 hours.
const time = (seconds) => new Date(seconds * 1000).toLocaleTimeString("en-GB");
const timeAxis = () => axis({ incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800], space: 80, values: (_, splits) => splits.map(time) });
const timeSeries = { label: "time", value: (_, seconds) => (seconds == null ? "–" : time(seconds)) };

const plain = (_, values) => values.map((value) => (value == null ? "" : value.toLocaleString("en", { notation: "compact" })));

const logarithmic = { distr: 3, log: 10, range: (_, low, high) => [10 ** Math.floor(Math.log10(Math.max(low || 1, 0.1))), 10 ** Math.ceil(Math.log10(Math.max(high || 1000, 10)))] };
const fromZero = { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] };

// The position of a percentile on the axis is the number of its nines: 90 is at 1, 99 at 2. 100 is after all others, at 5.3.
const nines = (percent) => Math.min(-Math.log10(1 - percent / 100), 5.3);
const NINES = [0, 50, 90, 99, 99.9, 99.99, 99.999];

function overTime(columns, scale, lines) {
  return {
    data: (history) => [history.time_s, ...columns.map((column) => history[column])],
    options: () => ({ scales: { y: scale }, axes: [timeAxis(), axis({ size: 64, values: plain })], series: [timeSeries, ...lines()] }),
  };
}

const CHARTS = {
  latency: {
    ...overTime(["p50_us", "p95_us", "p99_us", "p999_us"], logarithmic, () => [
      line("p50", "one"), line("p95", "two", [8, 3]), line("p99", "three"), line("p99.9", "four", [2, 3]),
      line("target p95", "target", [12, 6]), line("target p99", "target", [3, 6]),
    ]),
    data: (history, latest) => {
      const targets = latest.slo.targets;
      const level = (value) => history.time_s.map(() => value ?? null);
      return [
        history.time_s, history.p50_us, history.p95_us, history.p99_us, history.p999_us,
        level(targets?.p95_us), level(targets?.p99_us),
      ];
    },
  },
  throughput: overTime(["orders_per_s", "executions_per_s", "rejects_per_s"], fromZero, () => [
    line("orders", "one"), line("executions", "two", [8, 3]), line("rejects", "target", [2, 3]),
  ]),
  stalls: overTime(["loop_lag_us", "gc_pause_us"], fromZero, () => [line("loop lag", "one"), line("GC pause", "three", [8, 3])]),
  cpu: overTime(["cpu_percent", "steal_percent"], { range: [0, 100] }, () => [line("busy", "one"), line("stolen", "target", [2, 3])]),
  curve: {
    data: (_, latest) => {
      const curves = ["receive_to_reply", "canary"].map((source) => latest.slo.curves_us[source]);
      const percents = (curves.find(Boolean) ?? []).map(([percent]) => nines(percent));
      return [percents, ...curves.map((curve) => (curve ? curve.map(([, us]) => us) : percents.map(() => null)))];
    },
    options: () => ({
      scales: { x: { time: false, range: [0, 5.3] }, y: logarithmic },
      axes: [
        axis({ splits: () => NINES.map(nines), values: () => NINES.map((percent) => `${percent}`) }),
        axis({ size: 64, values: plain }),
      ],
      series: [{ label: "percentile", value: (_, x) => (x == null ? "–" : (100 * (1 - 10 ** -x)).toFixed(3)) }, line("clients' orders", "one"), line("canary", "two", [8, 3])],
    }),
  },
};

export class Charts {
  constructor() {
    this.plots = new Map();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
    new ResizeObserver(() => this.resize()).observe(document.querySelector(".charts"));
  }

  draw(history, latest) {
    this.last = [history, latest];
    if (!window.uPlot) return;
    for (const [id, chart] of Object.entries(CHARTS)) {
      const data = chart.data(history, latest);
      if (this.plots.has(id)) this.plots.get(id).setData(data);
      else this.plots.set(id, this.make(id, chart, data));
      const plot = this.plots.get(id);
      if (plot.cursor.idx == null) plot.setLegend({ idx: data[0].length - 1 });
    }
  }

  make(id, chart, data) {
    const figure = document.getElementById(id);
    const place = document.createElement("div");
    place.className = "place";
    figure.append(place);
    figure.setAttribute("role", "group");
    return new window.uPlot({ ...chart.options(), ...this.size(figure), cursor: { y: false } }, data, place);
  }

  size(figure) {
    return { width: Math.max(figure.clientWidth - 20, 240), height: figure.classList.contains("wide") ? HEIGHT.wide : HEIGHT.usual };
  }

  resize() {
    for (const [id, plot] of this.plots) plot.setSize(this.size(document.getElementById(id)));
  }

  rebuild() {
    for (const [id, plot] of this.plots) {
      plot.destroy();
      document.querySelector(`#${id} .place`).remove();
    }
    this.plots.clear();
    if (this.last) this.draw(...this.last);
  }
}
