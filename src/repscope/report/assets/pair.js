// The panel beside the heat map: a summary, or all that is known of the chosen pair.

function choose(row, column) {
  state.pair = row === null || row === undefined ? null : { row, column };
  const plot = byId("heatmap");
  if (plot.shown) {
    const { frame, rows, columns } = plot.shown;
    Plotly.relayout(plot, { shapes: [...lines(frame, rows, columns), ...chosen(rows, columns)] });
  }
  drawPair();
  if (steps.length > 1) drawTraining();
}

function drawPair() {
  const frame = currentFrame();
  const panel = byId("pair");
  if (frame.tiles) {
    panel.replaceChildren(element("h4", { textContent: "An image" }), element("p", { className: "note", textContent: tooLarge(frame) }));
    return;
  }
  const content = state.pair ? pairDetails(frame, state.pair.row, state.pair.column) : summary(frame);
  panel.replaceChildren(...content);
  if (state.pair) drawPairPlots(frame, state.pair.row, state.pair.column);
}

const tooLarge = (frame) =>
  `${frame.rows.layers.length} × ${frame.columns.layers.length} layers are more scores than this page holds ` +
  `(${DATA.limit.toLocaleString("en")}): they are drawn as an image, without numbers to point at. For the numbers, ` +
  "select fewer layers (Comparison.select), or read the saved comparison.";

function summary(frame) {
  const rows = members(frame.rows, state.row);
  const columns = members(frame.columns, state.column);
  const pairs = rows.map((row) => [row, bestOf(frame, row, columns)]).filter(([, column]) => column >= 0);
  const mean = (numbers) => numbers.reduce((sum, number) => sum + number, 0) / numbers.length;
  const facts = [];
  if (pairs.length) facts.push(["Mean best match", format(mean(pairs.map(([row, column]) => score(frame, row, column))), frame)]);
  const same = sameLayer(frame, rows, columns);
  const apart = rows.some((row) => !columns.some((column) => itself(frame, row, column)));
  if (apart && same.length && pairs.length) {
    const hits = pairs.filter(([row, column]) => same.some((pair) => pair.row === row && pair.column === column)).length;
    const values = same.map(({ row, column }) => score(frame, row, column)).filter((value) => !Number.isNaN(value));
    if (values.length) facts.push(["Mean of same layers", format(mean(values), frame)]);
    facts.push(["Best match is the same layer", `${hits} of ${pairs.length}`]);
  }
  const p = frame.arrays.p_values;
  if (p) {
    const significant = rows.flatMap((row) => columns.filter((column) => aboveChance(frame, row, column))).length;
    facts.push(["Above chance (p ≤ 0.05)", `${significant} of ${rows.length * columns.length}`]);
  }
  pairs.sort((a, b) => (closer(frame, score(frame, ...a), score(frame, ...b)) ? -1 : 1));
  return [
    element("h4", { textContent: "At a glance" }),
    factsList(facts),
    element("h4", { textContent: "Closest pairs" }),
    ranked(frame, pairs.slice(0, 8), (row, column) => `${layerName(frame, "rows", row)} – ${layerName(frame, "columns", column)}`),
    element("p", { className: "note", textContent: "Click a cell of the heat map to fix a pair." }),
  ];
}

function pairDetails(frame, row, column) {
  const value = score(frame, row, column);
  const name = (side, index) =>
    element("div", {}, element("b", { textContent: layerName(frame, side, index) }), " ", element("span", { className: "muted", textContent: modelName(frame, side, index) }));
  const others = {
    rows: members(frame.columns, state.column).filter((other) => !Number.isNaN(score(frame, row, other)) && !itself(frame, row, other)),
    columns: members(frame.rows, state.row).filter((other) => !Number.isNaN(score(frame, other, column)) && !itself(frame, other, column)),
  };
  const sorted = (side) =>
    others[side]
      .map((other) => (side === "rows" ? [row, other] : [other, column]))
      .sort((a, b) => (closer(frame, score(frame, ...a), score(frame, ...b)) ? -1 : 1));
  const place = (side) => {
    const list = sorted(side);
    const rank = list.findIndex(([r, c]) => r === row && c === column);
    return rank < 0 ? null : `${rank + 1} of ${list.length}`;
  };
  const facts = statistics(frame, row, column);
  if (place("rows")) facts.push([`rank for ${layerName(frame, "rows", row)}`, place("rows")]);
  return [
    element("div", { className: "names" }, name("rows", row), name("columns", column)),
    element("div", { className: "score", textContent: format(value, frame) }),
    factsList(facts),
    element("h4", { textContent: `Best matches of ${layerName(frame, "rows", row)} in ${nameOf(frame, "columns")}` }),
    ranked(frame, sorted("rows").slice(0, 5), (r, c) => layerName(frame, "columns", c)),
    element("h4", { textContent: `Best matches of ${layerName(frame, "columns", column)} in ${nameOf(frame, "rows")}` }),
    ranked(frame, sorted("columns").slice(0, 5), (r) => layerName(frame, "rows", r)),
    element("h4", { textContent: `${layerName(frame, "rows", row)} against every layer of ${frame.columns.models[frame.columns.owner[column]]}` }),
    element("div", { className: "plot", id: "profile" }),
    ...diagnosticsOf(frame, row, column),
    element("p", { className: "note" }, element("button", { type: "button", className: "quiet", textContent: "← Summary", onclick: () => choose(null, null) })),
  ];
}

function factsList(facts) {
  return element("dl", {}, ...facts.flatMap(([name, text]) => [element("dt", { textContent: name }), element("dd", { textContent: text })]));
}

function ranked(frame, pairs, name) {
  return element(
    "ul",
    { className: "ranked" },
    ...pairs.map(([row, column]) => {
      const fill = element("i");
      fill.style.width = `${100 * share(frame, score(frame, row, column))}%`;
      const own = state.pair && state.pair.row === row && state.pair.column === column;
      return element(
        "li",
        {},
        element(
          "button",
          { type: "button", className: own ? "chosen" : "", title: name(row, column), onclick: () => choose(row, column) },
          element("span", { className: "name", textContent: name(row, column) }),
          element("span", { className: "bar" }, fill),
          element("span", { className: "number", textContent: format(score(frame, row, column), frame) }),
        ),
      );
    }),
  );
}

// What is known of each of the two layers by itself: numbers side by side, spectra as curves.
function layerFacts(frame, side, index) {
  return frame.diagnostics[modelName(frame, side, index)]?.[layerName(frame, side, index)] ?? {};
}

const isSpectrum = (value) => Array.isArray(value) && value.length > 1 && value.every((number) => typeof number === "number");
const curvesOf = (facts) => [...new Set(facts.flatMap(Object.keys))].filter((name) => /spectrum/.test(name) && facts.some((own) => isSpectrum(own[name])));
const known = (value) => value !== null && value !== undefined && !(Array.isArray(value) && !value.length);

function diagnosticsOf(frame, row, column) {
  const facts = [layerFacts(frame, "rows", row), layerFacts(frame, "columns", column)];
  const names = [...new Set(facts.flatMap(Object.keys))];
  const curves = curvesOf(facts);
  const numbers = names.filter((name) => !curves.includes(name) && facts.some((own) => known(own[name])));
  const text = (value) => {
    if (!known(value)) return "";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (Array.isArray(value)) return value.join(", ");
    if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
    return typeof value === "object" ? JSON.stringify(value) : String(value);
  };
  const content = [];
  for (const name of curves) content.push(element("h4", { textContent: words(name) }), element("div", { className: "plot spectrum" }));
  if (numbers.length) {
    const line = (cells, tag) => element("tr", {}, ...cells.map((cell, i) => element(tag, { textContent: cell, className: i ? "number" : "" })));
    content.push(
      element("h4", { textContent: "Diagnostics" }),
      element(
        "table",
        { className: "facts" },
        line(["", shorten(layerName(frame, "rows", row), 16), shorten(layerName(frame, "columns", column), 16)], "td"),
        ...numbers.map((name) => line([words(name), ...facts.map((own) => text(own[name]))], "td")),
      ),
    );
  }
  return content;
}

const words = (name) => (name.charAt(0).toUpperCase() + name.slice(1)).replace(/_/g, " ");

function drawPairPlots(frame, row, column) {
  const columns = members(frame.columns, state.column);
  const layout = (extra) =>
    layoutBase({ width: byId("pair").clientWidth - 34, height: 150, margin: { l: 40, r: 8, t: 6, b: 28 }, hovermode: "closest", ...extra });
  const names = columns.map((c) => layerName(frame, "columns", c));
  Plotly.newPlot(
    byId("profile"),
    [
      ...bands(frame, columns.map((c) => ({ row, column: c })), columns.map((_, i) => i)),
      { type: "scatter", mode: "lines", x: columns.map((_, i) => i), y: columns.map((c) => score(frame, row, c)), text: names.map(plain), hovertemplate: "%{text}<br>%{y:.4~g}<extra></extra>", line: { color: color("accent"), width: 1.8 } },
      { type: "scatter", mode: "markers", x: [columns.indexOf(column)], y: [score(frame, row, column)], hoverinfo: "skip", marker: { size: 9, color: color("accent"), line: { color: color("card"), width: 2 } } },
    ],
    layout({ xaxis: { title: { text: "layer", standoff: 4 }, showticklabels: false, showgrid: false, zeroline: false }, yaxis: { nticks: 4, automargin: true } }),
    { ...CONFIG, displayModeBar: false },
  );
  const facts = [layerFacts(frame, "rows", row), layerFacts(frame, "columns", column)];
  const curves = curvesOf(facts);
  document.querySelectorAll("#pair .spectrum").forEach((plot, i) => {
    const series = facts.map((own) => own[curves[i]]).map((values) => (isSpectrum(values) ? values : []));
    const log = series.flat().every((value) => value >= 0);
    Plotly.newPlot(
      plot,
      series.map((values, k) => ({
        type: "scatter",
        mode: "lines",
        name: plain(shorten(layerName(frame, k ? "columns" : "rows", k ? column : row), 24)),
        x: values.map((_, rank) => rank + 1),
        y: log ? values.map((value) => (value > 0 ? value : null)) : values,
        line: { color: color(k ? "second" : "accent"), width: 1.8, dash: k ? "dot" : "solid" },
      })),
      layout({
        height: 185,
        showlegend: true,
        legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 11 } },
        margin: { l: 48, r: 8, t: 30, b: 34 },
        xaxis: { type: "log", title: { text: "component", standoff: 4 }, dtick: 1 },
        yaxis: log ? { type: "log", exponentformat: "power", dtick: 1 } : {},
      }),
      { ...CONFIG, displayModeBar: false },
    );
  });
}

// Bands of chance and of the 95 % interval under a curve over pairs of layers.
function bands(frame, pairs, x) {
  const traces = [];
  const band = (low, high, fill, name) => {
    if (!low.some((value) => !Number.isNaN(value))) return;
    traces.push(
      { type: "scatter", mode: "lines", x, y: low, line: { width: 0 }, hoverinfo: "skip", showlegend: false },
      { type: "scatter", mode: "lines", x, y: high, line: { width: 0 }, fill: "tonexty", fillcolor: fill, hoverinfo: "skip", name, showlegend: true },
    );
  };
  const value = (name, sign, width) => pairs.map(({ row, column }) => at(frame, name[0], row, column) + sign * width * at(frame, name[1], row, column));
  band(value(["null_mean", "null_sd"], -1, 1.96), value(["null_mean", "null_sd"], 1, 1.96), color("chance"), "chance ± 1.96 sd");
  band(value(["values", "standard_errors"], -1, frame.half_width), value(["values", "standard_errors"], 1, frame.half_width), color("band"), "95 % interval");
  return traces;
}

// Pairs of the same layer in both models: by name where they share names, else by place where they have as many.
function sameLayer(frame, rows, columns) {
  const places = new Map(columns.map((column) => [layerName(frame, "columns", column), column]));
  const byName = rows
    .filter((row) => places.has(layerName(frame, "rows", row)))
    .map((row) => ({ row, column: places.get(layerName(frame, "rows", row)) }));
  if (byName.length) return byName;
  return rows.length === columns.length ? rows.map((row, i) => ({ row, column: columns[i] })) : [];
}
