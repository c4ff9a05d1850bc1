// The scores as a table: what is shown, copied and downloaded.

const PAGE = 100;
let tableRows = PAGE;

const COLUMNS = [
  ["null_mean", "chance level"],
  ["null_sd", "sd of chance"],
  ["p_values", "p value"],
  ["calibrated", "calibrated"],
  ["standard_errors", "standard error"],
];

// All pairs in sight, closest first.
function tablePairs() {
  const { frame, rows, columns, found } = view();
  if (state.query.trim() && !found.rows && !found.columns) return [];
  const limits = colorLimits(frame, rows, columns);
  const pairs = [];
  for (const row of rows) {
    for (const column of columns) {
      const value = score(frame, row, column);
      if (passes(frame, value, row, column, limits)) pairs.push({ row, column, value });
    }
  }
  const rank = (value) => (Number.isNaN(value) ? Infinity : frame.kind === "similarity" ? -value : value);
  return pairs.sort((a, b) => (rank(a.value) === rank(b.value) ? 0 : rank(a.value) < rank(b.value) ? -1 : 1));
}

function tableHead(frame) {
  return ["row model", "row layer", "column model", "column layer", "score", ...COLUMNS.filter(([key]) => frame.arrays[key]).map(([, name]) => name)];
}

function tableCells(frame, { row, column, value }) {
  return [
    modelName(frame, "rows", row),
    layerName(frame, "rows", row),
    modelName(frame, "columns", column),
    layerName(frame, "columns", column),
    value,
    ...COLUMNS.filter(([key]) => frame.arrays[key]).map(([key]) => at(frame, key, row, column)),
  ];
}

function drawTable() {
  const frame = currentFrame();
  if (frame.tiles) {
    fillTable(["row model", "row layer", "column model", "column layer", "best score"], frame.best.slice(0, tableRows), frame.best.length);
    byId("table-note").textContent = `best match of each row; ${frame.best.length} rows`;
    return;
  }
  const pairs = tablePairs();
  const body = pairs.slice(0, tableRows).map((pair) => ({ pair, cells: tableCells(frame, pair) }));
  fillTable(tableHead(frame), body.map((line) => line.cells), pairs.length, body.map((line) => line.pair));
  byId("table-note").textContent = `${pairs.length} ${pairs.length === 1 ? "pair" : "pairs"}, the closest first; copy and CSV hold all of them`;
}

function fillTable(head, lines, total, pairs = []) {
  const frame = currentFrame();
  const number = (cell, i) => (head[i] === "p value" ? formatP(cell) : format(cell ?? NaN, frame));
  byId("table").tHead.replaceChildren(element("tr", {}, ...head.map((name, i) => element("th", { scope: "col", textContent: name, className: i > 3 ? "number" : "" }))));
  byId("table").tBodies[0].replaceChildren(
    ...lines.map((cells, k) =>
      element(
        "tr",
        pairs[k] ? { onclick: () => (choose(pairs[k].row, pairs[k].column), byId("layers").scrollIntoView()) } : {},
        ...cells.map((cell, i) => element("td", { textContent: i > 3 ? number(cell, i) : cell, className: i > 3 ? "number" : "" })),
      ),
    ),
  );
  byId("more").hidden = lines.length >= total;
}

// A number of single precision with no more digits than tell it from its neighbours: 0.05, not 0.05000000074505806.
function shortest(value) {
  for (let digits = 1; digits < 9; digits++) {
    const near = Number(value.toPrecision(digits));
    if (Math.fround(near) === value) return near;
  }
  return value;
}

// Every number in full: the shortest text that reads back as the same number.
function tableText(separator) {
  const frame = currentFrame();
  const lines = frame.tiles ? frame.best : tablePairs().map((pair) => tableCells(frame, pair));
  const head = frame.tiles ? ["row model", "row layer", "column model", "column layer", "best score"] : tableHead(frame);
  const quoted = (cell, i) => {
    const text = cell === null || Number.isNaN(cell) ? "" : String(typeof cell === "number" && i > 4 ? shortest(cell) : cell);
    if (separator === "\t") return text.replace(/[\t\r\n]/g, " ");
    return /[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text;
  };
  return [head, ...lines].map((cells) => cells.map(quoted).join(separator)).join("\r\n") + "\r\n";
}

function downloadCsv() {
  const frame = currentFrame();
  const url = URL.createObjectURL(new Blob([tableText(",")], { type: "text/csv" }));
  const step = frame.step === null ? "" : `-step-${frame.step}`;
  element("a", { href: url, download: `${frame.measure}${step}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
