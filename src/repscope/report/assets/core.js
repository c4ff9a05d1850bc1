// State, data and small helpers that all views share.

const DATA = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);

const state = {
  label: DATA.frames[0].label, // measure
  step: null, // training step, an index into steps
  row: 0, // model on the rows: an index, or "*" for all
  column: 0,
  order: "execution",
  limits: "range",
  threshold: 0, // position of the slider, 0 to 1000
  chance: false, // only what is above chance
  best: true,
  query: "",
  pair: null, // {row, column}: indices among all layers of the frame
};

const labels = [...new Set(DATA.frames.map((frame) => frame.label))];
const steps = [...new Set(DATA.frames.map((frame) => frame.step).filter((step) => step !== null))];

function currentFrame() {
  const step = steps.length ? steps[state.step ?? 0] : null;
  return DATA.frames.find((frame) => frame.label === state.label && frame.step === step) ?? DATA.frames[0];
}

function fromBase64(text) {
  const characters = atob(text);
  const bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  return bytes;
}

function decodeArrays(frame) {
  for (const [name, text] of Object.entries(frame.arrays)) {
    const bytes = fromBase64(text);
    frame.arrays[name] = name === "values" ? new Float64Array(bytes.buffer) : new Float32Array(bytes.buffer);
  }
  frame.width = frame.columns.layers.length;
  frame.within =
    frame.rows.layers.length === frame.width &&
    frame.rows.layers.every(
      (name, i) =>
        name === frame.columns.layers[i] &&
        frame.rows.models[frame.rows.owner[i]] === frame.columns.models[frame.columns.owner[i]],
    );
}

// A number of one pair of layers; NaN where it was not computed, or there is no such layer (-1).
function at(frame, name, row, column) {
  const array = frame.arrays[name];
  return array && row >= 0 && column >= 0 ? array[row * frame.width + column] : NaN;
}

const score = (frame, row, column) => at(frame, "values", row, column);
const closer = (frame, a, b) => (frame.kind === "similarity" ? a > b : a < b);
const itself = (frame, row, column) => frame.within && row === column;

// Whether chance reaches a score in one case of twenty at most; p values are in single precision.
const aboveChance = (frame, row, column) => at(frame, "p_values", row, column) <= Math.fround(0.05);

// Half width of the 95 % interval of a score.
const halfWidth = (frame, row, column) => frame.half_width * at(frame, "standard_errors", row, column);

// The pair of layers of the same names and models in another frame; null where it has none.
function counterpart(from, to, pair) {
  const place = (side, index) =>
    to[side].layers.findIndex((name, i) => name === from[side].layers[index] && to[side].owner[i] === from[side].owner[index]);
  const [row, column] = [place("rows", pair.row), place("columns", pair.column)];
  return row < 0 || column < 0 ? null : { row, column };
}

// Indices of the layers of one model on an axis, or of all.
function members(axis, model) {
  const all = axis.layers.map((_, i) => i);
  return model === "*" ? all : all.filter((i) => axis.owner[i] === model);
}

function matcher(query) {
  const text = query.trim().toLowerCase();
  if (!text) return () => true;
  if (!/[*?]/.test(text)) return (name) => name.toLowerCase().includes(text);
  const escaped = text.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, ".");
  const pattern = new RegExp(`^${escaped}$`);
  return (name) => pattern.test(name.toLowerCase());
}

// The layers that are shown, in the order in which they are.
function view() {
  const frame = currentFrame();
  const sides = { rows: members(frame.rows, state.row), columns: members(frame.columns, state.column) };
  if (state.order === "similarity") {
    const whole = state.row === "*" || frame.rows.models.length * frame.columns.models.length === 1;
    const order = frame.orders[whole ? "*" : `${state.row},${state.column}`];
    if (order) {
      sides.rows = order[0].map((i) => sides.rows[i]);
      sides.columns = order[1].map((i) => sides.columns[i]);
    }
  }
  const fits = matcher(state.query);
  const found = { rows: 0, columns: 0 };
  const total = { rows: sides.rows.length, columns: sides.columns.length };
  for (const side of ["rows", "columns"]) {
    const kept = sides[side].filter((i) => fits(frame[side].layers[i]));
    found[side] = kept.length;
    if (kept.length) sides[side] = kept; // a name that one model lacks empties the other axis only
  }
  return { frame, ...sides, found, total };
}

// The best counterpart of a row (or column) among others, never itself; -1 without a defined score.
function bestOf(frame, index, others, axis = "rows") {
  let best = -1;
  let value = NaN;
  for (const other of others) {
    const [row, column] = axis === "rows" ? [index, other] : [other, index];
    const candidate = score(frame, row, column);
    if (Number.isNaN(candidate) || itself(frame, row, column)) continue;
    if (best < 0 || closer(frame, candidate, value)) [best, value] = [other, candidate];
  }
  return best;
}

function colorLimits(frame, rows, columns) {
  let [low, high] = frame.scale;
  if (state.limits === "data") {
    [low, high] = [Infinity, -Infinity];
    for (const row of rows) {
      for (const column of columns) {
        const value = score(frame, row, column);
        if (!Number.isFinite(value)) continue;
        low = Math.min(low, value);
        high = Math.max(high, value);
      }
    }
    if (!(low < high)) [low, high] = [Number.isFinite(low) ? low : 0, (Number.isFinite(low) ? low : 0) + 1];
  }
  return parted(frame, low, high);
}

// Where the colours part at zero, it lies in the middle.
function parted(frame, low, high) {
  const reach = Math.max(Math.abs(low), Math.abs(high));
  return frame.diverging ? [-reach, reach] : [low, high];
}

const dark = () => document.documentElement.dataset.theme === "dark";
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function colorscale(frame) {
  let stops = DATA.colors.sequential;
  // An image has its colours from the beginning, whatever the page is now.
  if (frame.diverging) stops = dark() && !frame.tiles ? DATA.colors.diverging_dark : DATA.colors.diverging_light;
  if (frame.kind === "distance") stops = [...stops].reverse();
  return stops.map((stop, i) => [i / (stops.length - 1), stop]);
}

// How alike, 0 to 1, on the colour scale: the length of bars and the width of links.
function share(frame, value) {
  const [low, high] = frame.scale;
  const part = Math.min(1, Math.max(0, (value - low) / (high - low)));
  return frame.kind === "similarity" ? part : 1 - part;
}

function format(value, frame = currentFrame()) {
  if (value === null || value === undefined || Number.isNaN(value)) return "undefined";
  if (typeof value === "string") return value; // an infinity, which JSON lacks
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const bounded = frame.range.every(Number.isFinite);
  return (bounded ? value.toFixed(3) : Number(value.toPrecision(4)).toString()).replace("-", "−");
}

// Single precision ends at 1e-45: what is below is 0 here, and no p value is.
const formatP = (p) => (p === 0 ? "< 1e−45" : p < 0.001 ? p.toExponential(0).replace("-", "−") : p.toFixed(3));

// An element with properties and children; text is always text, never HTML.
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const layerName = (frame, side, index) => frame[side].layers[index];
const modelName = (frame, side, index) => frame[side].models[frame[side].owner[index]];

// A name as plotly shows it letter by letter: it reads some tags, and escapes.
function plain(name) {
  return name.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function commonPrefix(names) {
  const parents = names.map((name) => name.split(".").slice(0, -1));
  let shared = 0;
  while (parents.length > 1 && parents.every((own) => own.length > shared && own[shared] === parents[0][shared])) shared++;
  return shared ? `${parents[0].slice(0, shared).join(".")}.` : "";
}

function shorten(name, width = 22) {
  if (name.length <= width) return name;
  const head = Math.floor(width / 3);
  return `${name.slice(0, head)}…${name.slice(name.length - (width - 1 - head))}`;
}

// Names of an axis: without what all have in common, and no longer than can be read.
function tickNames(names, width = 22) {
  const prefix = Math.max(...names.map((name) => name.length)) > width ? commonPrefix(names) : "";
  return names.map((name) => plain(shorten(name.slice(prefix.length), width)));
}

// Which of `count` positions bear a label when each needs `pitch` pixels of `length`.
function ticks(names, low, high, length, pitch) {
  const shown = Math.max(1, Math.floor(length / pitch));
  const every = Math.max(1, Math.ceil((high - low) / shown));
  const tickvals = [];
  for (let i = 0; i < names.length; i += every) if (i >= low && i <= high) tickvals.push(i);
  return { tickvals, ticktext: tickvals.map((i) => names[i]) };
}

const CONFIG = {
  displaylogo: false,
  typesetMath: false, // a name between dollar signs is no formula
  responsive: false,
  displayModeBar: "hover",
  modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toggleSpikelines"],
  toImageButtonOptions: { format: "svg", filename: "repscope" },
};

function layoutBase(extra = {}) {
  const axis = {
    gridcolor: color("grid"),
    zerolinecolor: color("grid"),
    linecolor: color("line"),
    tickcolor: color("line"),
    automargin: false,
  };
  const { xaxis = {}, yaxis = {}, ...rest } = extra;
  return {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("muted") },
    hoverlabel: {
      bgcolor: color("card"),
      bordercolor: color("line"),
      font: { family: getComputedStyle(document.body).fontFamily, color: color("text") },
      align: "left",
    },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("muted"), activecolor: color("accent") },
    showlegend: false,
    margin: { l: 60, r: 20, t: 10, b: 40 },
    ...rest,
    xaxis: { ...axis, ...xaxis },
    yaxis: { ...axis, ...yaxis },
  };
}

function showTooltip(event, ...lines) {
  const tooltip = byId("tooltip");
  tooltip.replaceChildren(...lines);
  tooltip.hidden = false;
  const { clientX, clientY } = event;
  const box = tooltip.getBoundingClientRect();
  tooltip.style.left = `${Math.max(8, Math.min(clientX + 16, window.innerWidth - box.width - 8))}px`;
  const above = clientY + 18 + box.height > window.innerHeight;
  tooltip.style.top = `${Math.max(8, above ? clientY - box.height - 12 : clientY + 18)}px`;
}

const hideTooltip = () => (byId("tooltip").hidden = true);

function copyText(text, button) {
  const done = () => {
    const word = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = word), 1200);
  };
  const selecting = () => {
    const area = element("textarea", { value: text });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
    done();
  };
  if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(done, selecting);
  else selecting();
}
