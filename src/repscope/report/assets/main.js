// Controls, and which views are drawn when.

const VIEWS = [
  { id: "overview", draw: drawOverview, when: (frame) => frame.overview !== null },
  { id: "layers", draw: () => { drawHeatmap(); drawPair(); }, when: () => true },
  { id: "training", draw: drawTraining, when: (frame) => steps.length > 1 && !frame.tiles },
  { id: "correspondence", draw: drawCorrespondence, when: (frame) => !frame.tiles },
  { id: "depth", draw: drawDepth, when: (frame) => !frame.tiles },
  { id: "scores", draw: drawTable, when: () => true },
];
const stale = new Set();
const near = new Set();

// A view is drawn when it comes near the window, and again when something it shows has changed.
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) near.add(target.id);
      else near.delete(target.id);
    }
    drawStale();
  },
  { rootMargin: "40px" },
);

function drawStale(everywhere = false) {
  for (const { id, draw } of VIEWS) {
    if (stale.has(id) && (everywhere || near.has(id)) && !byId(id).hidden) {
      stale.delete(id);
      draw();
    }
  }
}

function refresh(ids = VIEWS.map(({ id }) => id)) {
  hideTooltip();
  const frame = currentFrame();
  for (const { id, when } of VIEWS) byId(id).hidden = !when(frame);
  ids.forEach((id) => stale.add(id));
  drawStale();
}

function setModels(row, column) {
  state.row = row;
  state.column = column;
  state.pair = null;
  byId("row-model").value = String(row);
  byId("column-model").value = String(column);
  tableRows = PAGE;
  refresh();
}

function setStep(index) {
  if (index < 0 || index === state.step) return;
  state.step = index;
  byId("step").value = String(index);
  byId("step-value").textContent = String(steps[index]);
  frameChanged();
}

let before = null; // the frame that was shown

// The measure or the step has changed: names may have, too.
function frameChanged() {
  const frame = currentFrame();
  const index = DATA.frames.indexOf(frame);
  document.querySelectorAll(".notes").forEach((notes) => (notes.hidden = notes.dataset.frame !== String(index)));
  describe(frame);
  for (const id of ["map-controls", "search-choice"]) byId(id).hidden = frame.tiles !== null;
  fillModels(frame);
  fillOverview(frame);
  if (state.pair) state.pair = frame.tiles ? null : counterpart(before, frame, state.pair);
  before = frame;
  refresh();
}

function describe(frame) {
  const size = `${frame.rows.layers.length} × ${frame.columns.layers.length} layers`;
  const parts = [frame.name, size];
  if (frame.n !== null) parts.push(`${frame.n.toLocaleString("en")} examples`);
  if (frame.step !== null) parts.push(`step ${frame.step}`);
  parts.push(frame.kind === "similarity" ? "higher is more alike" : "lower is more alike");
  byId("subtitle").textContent = parts.join(" · ");
  const warnings = document.querySelectorAll(`.notes[data-frame="${DATA.frames.indexOf(frame)}"] .warnings li`);
  const banner = byId("banner");
  const texts = [...warnings].map((warning) => warning.textContent);
  if (frame.tiles) texts.push(tooLarge(frame));
  banner.hidden = texts.length === 0;
  banner.replaceChildren(...texts.slice(0, 2).map((text) => element("div", { textContent: text })));
  if (texts.length > 2) banner.append(element("a", { href: "#made", textContent: `and ${texts.length - 2} more warnings` }));
}

function fillSelect(select, options, value) {
  select.replaceChildren(...options.map(([key, text]) => element("option", { value: key, textContent: text })));
  select.value = options.some(([key]) => key === value) ? value : options[0][0];
}

function fillModels(frame) {
  const several = frame.rows.models.length * frame.columns.models.length > 1;
  document.querySelectorAll(".models").forEach((choice) => (choice.hidden = !several || frame.tiles !== null));
  for (const [side, name, id] of [["rows", "row", "row-model"], ["columns", "column", "column-model"]]) {
    const options = frame[side].models.map((model, i) => [String(i), model]);
    if (several) options.push(["*", "all models"]);
    fillSelect(byId(id), options, String(state[name]));
    const chosen = byId(id).value;
    state[name] = chosen === "*" ? "*" : Number(chosen);
  }
}

function fillOverview(frame) {
  if (!frame.overview) return;
  const { layer_names: layers, map_names: maps } = frame.overview; // an object has numbers first, whatever the order was
  fillSelect(byId("overview-layer"), [["", "mean best match"], ...layers.map((name) => [name, name])], byId("overview-layer").value);
  fillSelect(byId("map-layer"), maps.length ? maps.map((name) => [name, name]) : [["", ""]], byId("map-layer").value);
}

function connect() {
  const on = (id, event, act) => byId(id).addEventListener(event, () => act(byId(id)));
  const layerViews = ["layers", "scores"];
  fillSelect(byId("measure"), labels.map((label) => [label, label]), state.label);
  byId("measure-choice").hidden = labels.length < 2;
  on("measure", "change", ({ value }) => { state.label = value; frameChanged(); });
  for (const [id, name] of [["row-model", "row"], ["column-model", "column"]]) {
    on(id, "change", ({ value }) => {
      const model = value === "*" ? "*" : Number(value);
      // All models stand on both axes or on none: one against all has no blocks to tell apart.
      const other = name === "row" ? "column" : "row";
      let second = state[other];
      if (model === "*") second = "*";
      else if (second === "*") second = 0;
      setModels(name === "row" ? model : second, name === "row" ? second : model);
    });
  }
  byId("step-choice").hidden = steps.length < 2;
  byId("step").max = String(Math.max(0, steps.length - 1));
  byId("step").value = String(state.step ?? 0);
  byId("step-value").textContent = String(steps[state.step] ?? "");
  on("step", "input", ({ value }) => setStep(Number(value)));
  let playing = null;
  on("play", "click", (button) => {
    const show = (sign, does) => { button.textContent = sign; button.setAttribute("aria-label", does); };
    const stop = () => { clearInterval(playing); playing = null; show("▶", "Play"); };
    if (playing) return stop();
    show("⏸", "Pause");
    if (state.step === steps.length - 1) setStep(0);
    playing = setInterval(() => (state.step >= steps.length - 1 ? stop() : setStep(state.step + 1)), 700);
    return undefined;
  });
  on("search", "input", ({ value }) => { state.query = value; tableRows = PAGE; refresh(["layers", "correspondence", "depth", "scores"]); });
  on("order", "change", ({ value }) => { state.order = value; refresh(["layers", "correspondence", "depth", "scores"]); });
  on("limits", "change", ({ value }) => { state.limits = value; refresh(layerViews); });
  let waiting = 0;
  on("threshold", "input", ({ value }) => {
    state.threshold = Number(value);
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => refresh(layerViews));
  });
  on("chance", "change", ({ checked }) => { state.chance = checked; refresh(layerViews); });
  on("best", "change", ({ checked }) => { state.best = checked; refresh(["layers"]); });
  on("links", "change", () => refresh(["correspondence"]));
  on("overview-layer", "change", () => refresh(["overview"]));
  on("map-layer", "change", () => refresh(["overview"]));
  on("copy-table", "click", (button) => copyText(tableText("\t"), button));
  on("download-csv", "click", downloadCsv);
  on("more", "click", () => { tableRows += 5 * PAGE; refresh(["scores"]); });
  on("theme", "click", () => { setTheme(dark() ? "light" : "dark"); refresh(); });
  document.querySelectorAll("button.copy").forEach((button) =>
    button.addEventListener("click", () => copyText(button.closest(".copyable").querySelector("pre").textContent, button)),
  );
  window.addEventListener("beforeprint", () => setPrinting(true));
  window.addEventListener("afterprint", () => setPrinting(false));
  let resizing = 0;
  window.addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(refresh, 150); });
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
}

let onScreen = null; // the theme to go back to

// Paper is white and narrower than a window: everything is drawn for it, and again for the screen.
function setPrinting(printing) {
  if (printing) onScreen = document.documentElement.dataset.theme;
  document.documentElement.toggleAttribute("data-printing", printing);
  setTheme(printing ? "light" : onScreen);
  refresh();
  drawStale(printing);
}

async function inflate(text) {
  const stream = new Blob([fromBase64(text)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

async function start() {
  setTheme(window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", (event) => { setTheme(event.matches ? "dark" : "light"); refresh(); });
  if (typeof DecompressionStream === "undefined") {
    const banner = byId("banner");
    banner.hidden = false;
    banner.textContent = "This browser is too old for the charts: it takes one of 2023 or later. The text below is complete.";
    return;
  }
  const library = element("script");
  library.textContent = await inflate(byId("library").textContent);
  document.head.append(library);
  DATA.frames.forEach(decodeArrays);
  // Of several models, the first two differ more than the first and itself.
  const first = DATA.frames[0];
  if (first.columns.models.length > 1 && first.rows.models[0] === first.columns.models[0]) state.column = 1;
  state.step = steps.length ? steps.length - 1 : null;
  byId("chance-choice").hidden = !DATA.frames.some((frame) => frame.arrays.p_values);
  connect();
  byId("toolbar").hidden = false;
  frameChanged();
  byId("sections").replaceChildren(
    ...[...document.querySelectorAll("main > section:not([hidden])")].map((section) => element("a", { href: `#${section.id}`, textContent: section.querySelector("h2").textContent })),
  );
  document.querySelectorAll("main > section").forEach((section) => observer.observe(section));
  document.documentElement.dataset.ready = "yes";
}

start();
