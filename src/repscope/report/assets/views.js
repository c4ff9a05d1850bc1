// The other views: correspondence, depth, models, training.

function drawCorrespondence() {
  const frame = currentFrame();
  const { rows, columns } = view();
  const links = correspondences(frame, rows, columns, byId("links").value);
  const plot = byId("correspondence-plot");
  const height = Math.min(900, Math.max(260, 22 * Math.max(rows.length, columns.length))) + 60;
  const most = Math.max(8, Math.min(30, Math.floor((0.3 * plot.clientWidth - 36) / 7))); // characters: links need room, too
  const named = (side, indices) => tickNames(indices.map((i) => layerName(frame, side, i)), most);
  const names = { rows: named("rows", rows), columns: named("columns", columns) };
  const margin = Math.min(220, Math.max(60, 7 * Math.max(...[...names.rows, ...names.columns].map((name) => name.length)) + 16));
  const place = (i, count) => (count > 1 ? i / (count - 1) : 0.5);
  const scale = colorscale(frame);
  const limits = frame.diverging ? colorLimits(frame, rows, columns) : frame.scale;
  const tint = (value) => {
    const part = Math.min(1, Math.max(0, (value - limits[0]) / (limits[1] - limits[0])));
    // The ends of the scale are near to black and white: on paper or on a dark page they would not be seen.
    const seen = frame.diverging ? part : dark() ? 0.3 + 0.7 * part : 0.08 + 0.72 * part;
    return scale[Math.round((frame.kind === "distance" && !frame.diverging ? (dark() ? 0.7 * part : 0.2 + 0.72 * part) : seen) * (scale.length - 1))][1];
  };
  const thickest = Math.max(2, Math.min(9, 300 / Math.max(rows.length, columns.length)));
  const shapes = links
    .map(({ row, column, value }) => ({ y0: place(rows.indexOf(row), rows.length), y1: place(columns.indexOf(column), columns.length), value }))
    .sort((a, b) => share(frame, a.value) - share(frame, b.value))
    .map(({ y0, y1, value }) => ({
      type: "path",
      path: `M 0.01,${y0} C 0.4,${y0} 0.6,${y1} 0.99,${y1}`,
      line: { color: tint(value), width: 0.6 + (thickest - 0.6) * share(frame, value) },
      opacity: 0.9,
      layer: "below",
    }));
  const side = (indices, x, which) => ({
    type: "scatter",
    mode: "markers",
    x: indices.map(() => x),
    y: indices.map((_, i) => place(i, indices.length)),
    customdata: indices.map((index) => [which, index]),
    text: indices.map((index) => linkText(frame, links, which, index)),
    hovertemplate: "%{text}<extra></extra>",
    marker: { size: Math.max(4, Math.min(9, 260 / indices.length)), color: color("text") },
    yaxis: which === "rows" ? "y" : "y2",
  });
  const pitch = (indices) => ticks(indices === rows ? names.rows : names.columns, 0, indices.length - 1, height - 60, 14);
  const axis = (indices, title) => {
    const labels = pitch(indices);
    return {
      range: [-0.03, 1.03],
      tickvals: labels.tickvals.map((i) => place(i, indices.length)),
      ticktext: labels.ticktext,
      showgrid: false,
      zeroline: false,
      showline: false,
      ticks: "",
      fixedrange: true,
      title: { text: plain(shorten(title, 50)), font: { color: color("text") }, standoff: 6 },
    };
  };
  const layout = layoutBase({
    width: plot.clientWidth,
    height,
    margin: { l: margin + 20, r: margin + 20, t: 34, b: 14 }, // above, the buttons, which would hide the last label
    hovermode: "closest",
    dragmode: false,
    shapes,
    xaxis: { range: [-0.02, 1.02], visible: false, fixedrange: true },
    yaxis: axis(rows, nameOf(frame, "rows")),
    yaxis2: { ...axis(columns, nameOf(frame, "columns")), overlaying: "y", side: "right", tickcolor: color("line"), linecolor: color("line") },
  });
  Plotly.react(plot, [side(rows, 0, "rows"), side(columns, 1, "columns")], layout, CONFIG);
  if (!plot.wired) {
    plot.wired = true;
    plot.on("plotly_click", (event) => {
      const [which, index] = event.points[0].customdata;
      const { frame: now, rows: left, columns: right } = view();
      const other = bestOf(now, index, which === "rows" ? right : left, which);
      if (other < 0) return;
      choose(...(which === "rows" ? [index, other] : [other, index]));
      byId("layers").scrollIntoView();
    });
  }
  byId("correspondence-lead").textContent =
    `Each layer and its best match; the thicker and ${dark() ? "brighter" : "warmer"} a link, the more alike. ` +
    `${links.length} ${links.length === 1 ? "link" : "links"}. Point at a layer for its score, click it to fix the pair.`;
}

const nameOf = (frame, side) => {
  const model = state[side === "rows" ? "row" : "column"];
  return model === "*" ? "all models" : frame[side].models[model];
};

function correspondences(frame, rows, columns, which) {
  const of = { rows: new Map(rows.map((row) => [row, bestOf(frame, row, columns)])), columns: new Map(columns.map((column) => [column, bestOf(frame, column, rows, "columns")])) };
  const links = [];
  if (which === "columns") for (const [column, row] of of.columns) links.push([row, column]);
  else for (const [row, column] of of.rows) if (which === "rows" || of.columns.get(column) === row) links.push([row, column]);
  return links
    .filter(([row, column]) => row >= 0 && column >= 0)
    .map(([row, column]) => ({ row, column, value: score(frame, row, column) }));
}

function linkText(frame, links, which, index) {
  const own = links.filter((link) => (which === "rows" ? link.row : link.column) === index);
  const other = (link) => (which === "rows" ? layerName(frame, "columns", link.column) : layerName(frame, "rows", link.row));
  const shown = own.slice(0, 8).map((link) => `${plain(other(link))}  ${format(link.value, frame)}`);
  if (own.length > 8) shown.push(`and ${own.length - 8} more`);
  return [`<b>${plain(layerName(frame, which, index))}</b>`, ...(shown.length ? shown : ["no link"])].join("<br>");
}

function drawDepth() {
  const frame = currentFrame();
  const { rows, columns } = view();
  const plot = byId("depth-plot");
  const traces = [];
  const add = (found, name, paint, dash) => {
    const columnOf = new Map(found.map(({ row, column }) => [row, column]));
    const pairs = rows.map((row) => ({ row, column: columnOf.get(row) ?? -1 })); // without a score there is a gap
    const x = rows.map((_, i) => i);
    traces.push(...bands(frame, pairs, x).map((trace) => ({ ...trace, name: trace.name && `${trace.name}, ${name}`, showlegend: false, ...(name === "best match" ? {} : { fillcolor: trace.fillcolor }) })), {
      type: "scatter",
      mode: rows.length > 60 ? "lines" : "lines+markers",
      x,
      y: pairs.map(({ row, column }) => score(frame, row, column)),
      text: pairs.map(({ row, column }) => `${plain(layerName(frame, "rows", row))} – ${plain(layerName(frame, "columns", column) ?? "")}`),
      hovertemplate: "%{text}<br>%{y:.4~g}<extra></extra>",
      name,
      customdata: pairs.map(({ row, column }) => [row, column]),
      line: { color: paint, width: 2, dash },
      marker: { size: 5 },
    });
  };
  const best = rows.map((row) => ({ row, column: bestOf(frame, row, columns) })).filter(({ column }) => column >= 0);
  const same = sameLayer(frame, rows, columns).filter(({ row, column }) => !itself(frame, row, column));
  if (best.length) add(best, "best match", color("second"), same.length ? "dot" : "solid");
  if (same.length) add(same, "same layer", color("accent"), "solid");
  const names = tickNames(rows.map((i) => layerName(frame, "rows", i)));
  const width = plot.clientWidth;
  const bottom = Math.min(150, Math.max(...names.map((name) => name.length)) * 6.4 + 30);
  const layout = layoutBase({
    width,
    height: 250 + bottom,
    margin: { l: 56, r: 16, t: 30, b: bottom },
    hovermode: "closest",
    showlegend: true,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    xaxis: { range: [-0.5, rows.length - 0.5], ...ticks(names, 0, rows.length - 1, width - 80, 15), tickangle: -90, showgrid: false, zeroline: false, tickfont: { size: 11 } },
    yaxis: { title: { text: plain(frame.name), standoff: 8 }, automargin: true, rangemode: frame.scale[0] === 0 ? "tozero" : "normal" },
  });
  Plotly.react(plot, traces, layout, CONFIG);
  if (!plot.wired) {
    plot.wired = true;
    plot.on("plotly_click", (event) => {
      const [row, column] = event.points[0].customdata ?? [];
      if (row !== undefined) choose(row, column);
    });
  }
  const parts = [`Along ${nameOf(frame, "rows")}: ${same.length ? "the score with the same layer, and with the best match" : "the score with the best match"} in ${nameOf(frame, "columns")}.`];
  if (frame.arrays.standard_errors) parts.push("Coloured band: 95 % interval.");
  if (frame.arrays.null_mean) parts.push("Grey band: chance, mean ± 1.96 standard deviations.");
  byId("depth-lead").textContent = parts.join(" ");
}

function drawOverview() {
  const frame = currentFrame();
  const { overview } = frame;
  const which = byId("overview-layer").value;
  const z = which === "" ? overview.best : overview.layers[which];
  const plot = byId("overview-plot");
  const { rows, columns } = frame;
  const longest = Math.max(...rows.models.concat(columns.models).map((name) => Math.min(name.length, 24)));
  const margin = Math.max(40, longest * 6.6 + 16);
  const inner = plot.clientWidth - margin - 70;
  const names = (models) => models.map((name) => plain(shorten(name, 24)));
  const height = Math.min(480, inner * Math.min(1.3, rows.models.length / columns.models.length));
  const finite = z.flat().filter(Number.isFinite);
  const low = frame.diverging ? -Math.max(...frame.scale.map(Math.abs)) : frame.scale[0];
  const high = frame.diverging ? -low : Math.max(frame.scale[1], ...finite);
  const layout = layoutBase({
    width: plot.clientWidth,
    height: height + MAP_MARGIN.top + margin,
    margin: { l: margin, r: 70, t: MAP_MARGIN.top, b: margin },
    dragmode: "zoom",
    xaxis: { range: [-0.5, columns.models.length - 0.5], ...ticks(names(columns.models), 0, columns.models.length - 1, inner, 14), tickangle: -90, showgrid: false, zeroline: false },
    yaxis: { range: [-0.5, rows.models.length - 0.5], ...ticks(names(rows.models), 0, rows.models.length - 1, height, 14), showgrid: false, zeroline: false },
  });
  const text = z.map((line) => line.map((value) => format(value ?? NaN, frame)));
  Plotly.react(
    plot,
    [
      {
        type: "heatmap",
        z,
        zmin: low,
        zmax: high,
        text,
        texttemplate: Math.max(rows.models.length, columns.models.length) <= 10 ? "%{text}" : "",
        customdata: rows.models.map((row) => columns.models.map((column) => `${plain(row)} – ${plain(column)}`)),
        hovertemplate: "%{customdata}<br>%{text}<extra></extra>",
        colorscale: colorscale(frame),
        xgap: 1,
        ygap: 1,
        colorbar: { thickness: 10, outlinewidth: 0, len: 1, ypad: 0, x: 1.015 },
      },
    ],
    layout,
    CONFIG,
  );
  if (!plot.wired) {
    plot.wired = true;
    plot.on("plotly_click", (event) => {
      if (currentFrame().tiles) return; // which shows all layers of all models
      const { x, y } = event.points[0];
      setModels(Math.round(y), Math.round(x));
      byId("layers").scrollIntoView();
    });
  }
  byId("overview-lead").textContent = frame.tiles ? "How alike each two models are." : "Click two models to see their layers.";
  drawMap(frame);
}

function drawMap(frame) {
  const { maps, map_names: names, metric } = frame.overview;
  const plot = byId("map-plot");
  const found = maps[byId("map-layer").value] ?? maps[names[0]];
  byId("map-choice").hidden = !found;
  if (!found) {
    Plotly.purge(plot);
    byId("map-note").textContent = metric
      ? "A map of the models needs at least three, on both axes, with a layer that all of them have."
      : `Of ${frame.name} no function is declared to be a metric, so there is no map of the models. CKA and Procrustes have one.`;
    return;
  }
  const size = Math.min(460, plot.clientWidth);
  const reach = 1.25 * Math.max(1e-9, ...found.points.flat().map(Math.abs));
  const axis = { range: [-reach, reach], showticklabels: false, zeroline: false, ticks: "" };
  Plotly.react(
    plot,
    [
      {
        type: "scatter",
        mode: frame.rows.models.length > 30 ? "markers" : "markers+text",
        x: found.points.map(([x]) => x),
        y: found.points.map(([, y]) => y),
        text: frame.rows.models.map((name) => plain(shorten(name, 20))),
        textposition: "top center",
        textfont: { color: color("text"), size: 11 },
        hovertemplate: "%{text}<extra></extra>",
        marker: { size: 10, color: color("accent"), line: { color: color("card"), width: 1.5 } },
      },
    ],
    layoutBase({ width: plot.clientWidth, height: size + MAP_MARGIN.top - 10, margin: { l: 10, r: 10, t: MAP_MARGIN.top, b: 10 }, hovermode: "closest", xaxis: axis, yaxis: { ...axis, scaleanchor: "x" } }),
    CONFIG,
  );
  byId("map-note").textContent =
    `Classical scaling of the metric ${metric}; the plane shows ${Math.round(100 * found.share)} % of it. Near models are alike.`;
}

function drawTraining() {
  const frames = DATA.frames.filter((frame) => frame.label === state.label);
  const plot = byId("training-plot");
  const mean = (values) => {
    const defined = values.filter((value) => !Number.isNaN(value));
    return defined.length ? defined.reduce((sum, value) => sum + value, 0) / defined.length : NaN;
  };
  const own = (frame) => ({ rows: members(frame.rows, state.row), columns: members(frame.columns, state.column) });
  const series = [
    ["mean best match", (frame) => { const { rows, columns } = own(frame); return mean(rows.map((row) => [row, bestOf(frame, row, columns)]).filter(([, c]) => c >= 0).map(([row, c]) => score(frame, row, c))); }, "second", "dot"],
    ["mean of same layers", (frame) => { const { rows, columns } = own(frame); return mean(sameLayer(frame, rows, columns).filter(({ row, column }) => !itself(frame, row, column)).map(({ row, column }) => score(frame, row, column))); }, "accent", "solid"],
  ];
  const traces = series.map(([name, value, paint, dash]) => ({ name, y: frames.map(value), line: { color: color(paint), width: 2, dash } }));
  if (state.pair) {
    const frame = currentFrame();
    const there = (one) => {
      const pair = counterpart(frame, one, state.pair); // checkpoints need not have the same layers
      return pair ? score(one, pair.row, pair.column) : NaN;
    };
    const name = `${layerName(frame, "rows", state.pair.row)} – ${layerName(frame, "columns", state.pair.column)}`;
    traces.push({ name: plain(shorten(name, 50)), y: frames.map(there), line: { color: color("text"), width: 2 } });
  }
  const x = frames.map((frame) => frame.step);
  Plotly.react(
    plot,
    traces.filter(({ y }) => y.some((value) => !Number.isNaN(value))).map((trace) => ({ type: "scatter", mode: "lines+markers", x, hovertemplate: "step %{x}<br>%{y:.4~g}", ...trace })),
    layoutBase({
      width: plot.clientWidth,
      height: 300,
      margin: { l: 56, r: 16, t: 30, b: 40 },
      hovermode: "closest",
      showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      shapes: [{ type: "line", x0: x[state.step], x1: x[state.step], y0: 0, y1: 1, yref: "paper", line: { color: color("muted"), width: 1, dash: "dot" } }],
      xaxis: { title: { text: "training step", standoff: 6 }, showgrid: false, zeroline: false },
      yaxis: { title: { text: plain(frames[0].name), standoff: 8 }, automargin: true },
    }),
    CONFIG,
  );
  if (!plot.wired) {
    plot.wired = true;
    plot.on("plotly_click", (event) => setStep(steps.indexOf(event.points[0].x)));
  }
}
