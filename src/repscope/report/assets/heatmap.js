// The heat map of layers by layers: hover, choose, zoom, sort, threshold.

const MAP_MARGIN = { top: 30, bar: 76 }; // above the map is room for its buttons

// Whether the controls leave a score in sight.
function passes(frame, value, row, column, limits) {
  if (state.chance && !aboveChance(frame, row, column)) return false;
  if (state.threshold === 0 || Number.isNaN(value)) return true;
  const cut = thresholdValue(frame, limits);
  return frame.kind === "similarity" ? value >= cut : value <= cut;
}

function thresholdValue(frame, [low, high]) {
  const part = state.threshold / 1000;
  return frame.kind === "similarity" ? low + part * (high - low) : high - part * (high - low);
}

function drawHeatmap() {
  const frame = currentFrame();
  if (frame.tiles) {
    drawTiles(frame);
    return;
  }
  const shown = view();
  const { rows, columns } = shown;
  const limits = colorLimits(frame, rows, columns);
  let visible = 0;
  let undefinedScores = 0;
  const hidden = [];
  const z = rows.map((row, i) =>
    columns.map((column, j) => {
      const value = score(frame, row, column);
      if (Number.isNaN(value)) undefinedScores++;
      else if (passes(frame, value, row, column, limits)) {
        visible++;
        return Math.min(limits[1], Math.max(limits[0], value)); // plotly leaves infinities blank
      } else hidden.push([i, j]);
      return null;
    }),
  );
  const cells = Math.max(rows.length, columns.length);
  const gap = cells <= 40 ? 1 : 0;
  const traces = [
    {
      type: "heatmap",
      z,
      zmin: limits[0],
      zmax: limits[1],
      colorscale: colorscale(frame),
      hoverinfo: "none",
      xgap: gap,
      ygap: gap,
      colorbar: {
        title: { text: frame.kind, side: "right", font: { size: 11 } },
        thickness: 10,
        outlinewidth: 0,
        len: 1,
        tickfont: { size: 11 },
        x: 1.015,
        xpad: 4,
        ypad: 0,
      },
    },
  ];
  if (undefinedScores) traces.push(flat(rows, columns, (i, j) => Number.isNaN(score(frame, rows[i], columns[j])), DATA.colors.undefined, gap));
  if (hidden.length) traces.push(flat(rows, columns, (i, j) => z[i][j] === null && !Number.isNaN(score(frame, rows[i], columns[j])), color("empty"), gap));
  if (state.best) traces.push(bestMarks(frame, rows, columns, z));

  const geometry = place(byId("heatmap"), frame, rows, columns);
  const layout = layoutBase({
    width: geometry.width,
    height: geometry.height,
    margin: geometry.margin,
    dragmode: "zoom",
    hovermode: "closest",
    uirevision: JSON.stringify([state.row, state.column, state.query, state.order]),
    shapes: [...lines(frame, rows, columns), ...chosen(rows, columns)],
    xaxis: axisOf(frame, "columns", columns, geometry),
    yaxis: axisOf(frame, "rows", rows, geometry),
  });
  const plot = byId("heatmap");
  draw(plot, traces, layout, { frame, rows, columns, geometry });

  byId("threshold-word").textContent = frame.kind === "similarity" ? "At least" : "At most";
  byId("threshold-value").textContent = state.threshold === 0 ? "any" : format(thresholdValue(frame, limits), frame);
  const notes = [];
  if (state.threshold > 0 || state.chance) notes.push(`${visible} of ${rows.length * columns.length} pairs`);
  if (state.query.trim()) notes.push(searchNote(shown));
  if (undefinedScores) notes.push(`${undefinedScores} undefined (grey)`);
  if (state.best) notes.push("○ marks the best match of each row");
  notes.push("drag to zoom, double click to see all");
  byId("count").textContent = notes.join(" · ");
}

function searchNote({ found, total }) {
  if (!found.rows && !found.columns) return `no layer is called “${state.query.trim()}”`;
  return `${found.rows} of ${total.rows} rows and ${found.columns} of ${total.columns} columns found`;
}

// Cells of one colour that are not on the scale: undefined ones, and those below the threshold.
function flat(rows, columns, when, paint, gap) {
  return {
    type: "heatmap",
    z: rows.map((_, i) => columns.map((_, j) => (when(i, j) ? 0 : null))),
    colorscale: [[0, paint], [1, paint]],
    showscale: false,
    hoverinfo: "skip",
    xgap: gap,
    ygap: gap,
  };
}

function bestMarks(frame, rows, columns, z) {
  const x = [];
  const y = [];
  rows.forEach((row, i) => {
    const j = columns.indexOf(bestOf(frame, row, columns));
    if (j >= 0 && z[i][j] !== null) {
      x.push(j);
      y.push(i);
    }
  });
  const size = Math.max(3, Math.min(7, 180 / rows.length));
  return {
    type: "scatter",
    mode: "markers",
    x,
    y,
    hoverinfo: "skip",
    marker: { size, color: "rgba(0,0,0,0)", line: { width: rows.length > 80 ? 1 : 1.8, color: "#1fb5ad" } },
  };
}

// Size and margins that make the cells as square as the page allows.
function place(plot, frame, rows, columns) {
  const longest = (side, indices) => {
    const names = tickNames(indices.map((i) => layerName(frame, side, i)));
    return Math.max(...names.map((name) => name.replace(/&\w+;/g, "x").length)) * 6.4 + 14;
  };
  const left = Math.min(170, Math.max(48, longest("rows", rows))) + 24;
  const bottom = Math.min(170, Math.max(30, longest("columns", columns))) + 26;
  const width = plot.clientWidth;
  const inner = Math.max(120, width - left - MAP_MARGIN.bar);
  const ratio = Math.min(1.6, Math.max(0.3, rows.length / columns.length));
  const innerHeight = Math.min(inner * ratio, Math.max(400, Math.min(640, window.innerHeight - 260)));
  const used = Math.min(inner, innerHeight / Math.min(1, ratio));
  const spare = ratio >= 1 ? Math.max(0, inner - innerHeight / ratio) : Math.max(0, inner - used);
  return {
    width,
    height: innerHeight + MAP_MARGIN.top + bottom,
    innerWidth: inner - spare,
    innerHeight,
    margin: { l: left, r: MAP_MARGIN.bar + spare, t: MAP_MARGIN.top, b: bottom },
  };
}

function axisOf(frame, side, indices, geometry, range = null) {
  const names = tickNames(indices.map((i) => layerName(frame, side, i)));
  const [low, high] = range ?? [-0.5, indices.length - 0.5];
  const models = frame[side].models;
  const model = state[side === "rows" ? "row" : "column"];
  const name = model === "*" ? "all models" : models[model];
  const along = side === "columns" ? geometry.innerWidth : geometry.innerHeight;
  return {
    title: { text: plain(shorten(name, 60)), standoff: 8, font: { size: 12, color: color("text") } },
    range: [low, high],
    ...ticks(names, low, high, along, 14),
    tickfont: { size: indices.length > 40 ? 10 : 11 },
    tickangle: side === "columns" ? -90 : 0,
    ticks: "outside",
    ticklen: 3,
    showgrid: false,
    zeroline: false,
    minallowed: -0.5,
    maxallowed: indices.length - 0.5,
  };
}

// Thin lines between blocks of a network, stronger ones between networks; none where layers are sorted or searched.
// Over an image, which is neither, only those between networks: thin ones would hide its pixels.
function lines(frame, rows, columns) {
  if (!frame.tiles && (state.order !== "execution" || state.query.trim())) return [];
  const shapes = [];
  for (const [side, indices, along] of [["rows", rows, "y"], ["columns", columns, "x"]]) {
    const across = along === "x" ? "y" : "x";
    const add = (at, width, opacity) =>
      shapes.push({
        type: "line",
        [`${along}0`]: at - 0.5,
        [`${along}1`]: at - 0.5,
        [`${across}0`]: 0,
        [`${across}1`]: 1,
        [`${across}ref`]: "paper",
        line: { color: color("card"), width },
        opacity,
      });
    const starts = new Map();
    indices.forEach((index, i) => {
      const owner = frame[side].owner[index];
      if (!starts.has(owner)) starts.set(owner, i);
    });
    for (const [owner, start] of starts) {
      if (start > 0) add(start, frame.tiles ? 2 : 4, 1);
      if (frame.tiles) continue;
      for (const [, first] of frame[side].blocks[owner]) if (first > 0) add(start + first, rows.length > 40 ? 1.5 : 3, rows.length > 40 ? 0.7 : 1);
    }
  }
  return shapes;
}

function chosen(rows, columns) {
  if (!state.pair) return [];
  const x = columns.indexOf(state.pair.column);
  const y = rows.indexOf(state.pair.row);
  if (x < 0 || y < 0) return [];
  const box = { type: "rect", x0: x - 0.5, x1: x + 0.5, y0: y - 0.5, y1: y + 0.5 };
  return [
    { ...box, line: { color: "#000000", width: 4 } },
    { ...box, line: { color: "#ffffff", width: 2 } },
  ];
}

// What is known of a pair, as lines of text.
function pairLines(frame, row, column) {
  const value = score(frame, row, column);
  const lines = [
    element("div", {}, element("b", { textContent: layerName(frame, "rows", row) }), " ", element("span", { className: "muted", textContent: modelName(frame, "rows", row) })),
    element("div", {}, element("b", { textContent: layerName(frame, "columns", column) }), " ", element("span", { className: "muted", textContent: modelName(frame, "columns", column) })),
    element("div", { className: "score", textContent: format(value, frame) }),
  ];
  for (const [name, text] of statistics(frame, row, column)) lines.push(element("div", {}, element("span", { className: "muted", textContent: `${name} ` }), text));
  return lines;
}

// Chance level, interval, p value and n of a pair, as far as they were computed.
function statistics(frame, row, column) {
  const facts = [];
  const mean = at(frame, "null_mean", row, column);
  const spread = at(frame, "null_sd", row, column);
  const half = halfWidth(frame, row, column);
  const p = at(frame, "p_values", row, column);
  const value = score(frame, row, column);
  if (!Number.isNaN(mean)) facts.push(["chance level", format(mean, frame) + (Number.isNaN(spread) ? "" : ` ± ${format(spread, frame)} (sd)`)]);
  if (!Number.isNaN(half)) facts.push(["95 % interval", `${format(value - half, frame)} to ${format(value + half, frame)}`]);
  if (!Number.isNaN(p)) facts.push(["p value", formatP(p)]);
  const calibrated = at(frame, "calibrated", row, column);
  if (!Number.isNaN(calibrated)) facts.push(["calibrated", calibrated.toFixed(3)]);
  if (frame.n !== null) facts.push(["examples", `n = ${frame.n}`]);
  return facts;
}

// Draws, and keeps the part that was zoomed into, with names as dense as it allows.
function draw(plot, traces, layout, shown) {
  Plotly.react(plot, traces, layout, CONFIG);
  plot.shown = shown;
  if (!plot.wired) wire(plot);
  nameTicks(plot);
}

// Names along the axes for the part that is in sight.
function nameTicks(plot) {
  const { frame, rows, columns, geometry } = plot.shown;
  const names = (side, indices) => tickNames(indices.map((i) => layerName(frame, side, i)));
  const x = ticks(names("columns", columns), ...plot.layout.xaxis.range, geometry.innerWidth, 14);
  const y = ticks(names("rows", rows), ...plot.layout.yaxis.range, geometry.innerHeight, 14);
  if (x.tickvals.join() === plot.layout.xaxis.tickvals.join() && y.tickvals.join() === plot.layout.yaxis.tickvals.join()) return;
  Plotly.relayout(plot, {
    "xaxis.tickvals": x.tickvals,
    "xaxis.ticktext": x.ticktext,
    "yaxis.tickvals": y.tickvals,
    "yaxis.ticktext": y.ticktext,
  });
}

function wire(plot) {
  plot.wired = true;
  const cell = (event) => {
    const point = event.points.find((candidate) => candidate.data.type === "heatmap");
    if (!point) return null;
    const { rows, columns } = plot.shown;
    return { row: rows[Math.round(point.y)], column: columns[Math.round(point.x)] };
  };
  plot.on("plotly_hover", (event) => {
    const found = cell(event);
    if (found) showTooltip(event.event, ...pairLines(plot.shown.frame, found.row, found.column));
  });
  plot.on("plotly_unhover", hideTooltip);
  plot.on("plotly_click", (event) => {
    const found = cell(event);
    if (found) choose(found.row, found.column);
  });
  plot.on("plotly_relayout", (change) => {
    if (!Object.keys(change).some((key) => /^[xy]axis\.(range|autorange)/.test(key))) return;
    const { rows, columns } = plot.shown;
    if (change["xaxis.autorange"]) Plotly.relayout(plot, { "xaxis.autorange": false, "yaxis.autorange": false, "xaxis.range": [-0.5, columns.length - 0.5], "yaxis.range": [-0.5, rows.length - 0.5] });
    else nameTicks(plot);
  });
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
    if (plot.shown.frame.tiles) return;
    if (event.key === "Escape") return choose(null, null);
    const move = moves[event.key];
    if (!move) return;
    event.preventDefault();
    const { rows, columns } = plot.shown;
    const from = state.pair ? [rows.indexOf(state.pair.row), columns.indexOf(state.pair.column)] : [-move[0], -move[1]];
    const clip = (value, count) => Math.min(count - 1, Math.max(0, value));
    choose(rows[clip(from[0] + move[0], rows.length)], columns[clip(from[1] + move[1], columns.length)]);
  });
}

// Too many scores for the browser: an image in tiles, with names but without numbers.
function drawTiles(frame) {
  const rows = frame.rows.layers.map((_, i) => i);
  const columns = frame.columns.layers.map((_, i) => i);
  const plot = byId("heatmap");
  const geometry = place(plot, frame, rows, columns);
  const axis = (side, indices) => {
    const made = axisOf(frame, side, indices, geometry);
    return { ...made, title: { ...made.title, text: plain(shorten(frame[side].models.join(" · "), 60)) } };
  };
  const layout = layoutBase({
    width: geometry.width,
    height: geometry.height,
    margin: geometry.margin,
    dragmode: "zoom",
    uirevision: "image",
    shapes: lines(frame, rows, columns),
    images: frame.tiles.map((tile) => ({
      source: tile.image,
      xref: "x",
      yref: "y",
      x: tile.x - 0.5,
      y: tile.y + tile.height - 0.5,
      sizex: tile.width,
      sizey: tile.height,
      sizing: "stretch",
      layer: "below",
    })),
    xaxis: axis("columns", columns),
    yaxis: axis("rows", rows),
  });
  const [low, high] = parted(frame, ...frame.scale);
  const scale = {
    type: "scatter",
    x: [null],
    y: [null],
    marker: { color: [0], cmin: low, cmax: high, colorscale: colorscale(frame), showscale: true, colorbar: { thickness: 10, outlinewidth: 0, len: 1, x: 1.015, ypad: 0 } },
  };
  draw(plot, [scale], layout, { frame, rows, columns, geometry });
  byId("count").textContent = "drag to zoom, double click to see all";
}
