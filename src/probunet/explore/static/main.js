// The page of ``probunet explore``: what is chosen, and everything that follows from it.

import { array, json, save, upload } from "./api.js";
import { FComb } from "./fcomb.js";
import { histogram } from "./histogram.js";
import { CLASSES, HANDLE, heat, HYPOTHESIS, outline, picture, READERS, tint, canvas } from "./paint.js";
import { Plane } from "./plane.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const PRESETS = { Lung: [-1350, 150], "Soft tissue": [-160, 240] };
// What is chosen; all of it is in the address, behind #.
const chosen = { case: "0", n: 32, seed: 0, distance: 0.5, pick: 0, across: null, up: null, z: null, map: "none",
  slice: null, row: null, column: null };
let model, known, image, readers = [], hypotheses, labels, marginals, comb = null, live = null, hovered = null;
let turn = 0; // a later question makes the answers to earlier ones worthless
let updates = [];

const view = new View(at("view"), layers, (row, column) => {
  const { width, height } = field(), [, rows, columns] = known.shape;
  if ((width < columns || height < rows) && row >= 0 && column >= 0 && row < rows && column < columns) {
    open(chosen.case, { slice: chosen.slice, row: Math.floor(row), column: Math.floor(column), stay: true });
  }
});
const plane = new Plane(at("plane"), () => ({
  latent: known?.latent, z: chosen.z, across: chosen.across, up: chosen.up, latents: hypotheses?.latents,
}), (z) => { chosen.z = z; decode(); });

const field = () => known.field;
// Slice and field, for a query.
const place = () => (chosen.slice === null ? "" : `slice=${chosen.slice}&`)
  + (chosen.row === null ? "" : `row=${chosen.row}&column=${chosen.column}&`);
const binary = () => model.classes.length === 2;
const one = (i) => labels.data.subarray(i * labels.shape[1] * labels.shape[2], (i + 1) * labels.shape[1] * labels.shape[2]);

function say(text) { at("message").textContent = text; }

async function start() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(chosen)) {
    if (!asked.has(key)) continue;
    const text = asked.get(key);
    const number = typeof chosen[key] === "number" || ["across", "up", "slice", "row", "column"].includes(key);
    chosen[key] = key === "z" ? text.split(",").map(Number) : number ? Number(text) : text;
  }
  model = await json("/api/model");
  at("model").textContent = `${model.name} (${model.kind})`;
  at("file").accept = model.upload.suffixes.join(",");
  at("n").max = model.maximum_samples;
  const names = await json("/api/cases");
  names.forEach((name, i) => at("cases").add(new Option(name, String(i))));
  wire();
  if (names.length || chosen.case.startsWith("upload")) await open(chosen.case, chosen);
  else say("Open an image, or drop one on the page.");
}

// A case, and which field of it; `stay` leaves the view as it is.
async function open(key, { z = null, slice = null, row = null, column = null, stay = false } = {}) {
  const mine = ++turn, path = `/api/cases/${encodeURIComponent(key)}`;
  Object.assign(chosen, { slice, row, column });
  at("view").setAttribute("aria-busy", "true");
  say(""); // at once: what is said later may be of something newer
  try {
    const found = await json(`${path}?${place()}`);
    const [values, drawn] = await Promise.all([array(`${path}/picture?${place()}`, Float32Array), array(`${path}/readers?${place()}`, Uint8Array)]);
    const features = model.combine && found.decodes_in_page ? await array(`${path}/features?${place()}`, Float32Array) : null;
    if (mine !== turn) return;
    known = found;
    image = values;
    comb = features ? new FComb(model.combine, features.data) : null;
    const [count, height, width] = drawn.shape;
    readers = Array.from({ length: count }, (_, i) => drawn.data.subarray(i * height * width, (i + 1) * height * width))
      .map((map) => ({ map, path: outline(map, width, height), size: map.reduce((n, v) => n + (v > 0 && v < 255), 0) }));
    chosen.case = key;
    chosen.z = z && z.length === known.latent?.prior.mean.length ? z : known.latent?.prior.mean ?? null;
    live = null;
    at("cases").value = key;
    at("note").textContent = known.note;
    at("dicomseg").disabled = !known.dicom;
    at("slices").hidden = known.slices === 1;
    Object.assign(at("slice"), { max: known.slices - 1, value: known.slice });
    at("slice-number").value = `${known.slice + 1} of ${known.slices}`;
    if (at("format").selectedOptions[0].disabled) at("format").value = "png";
    setWindow(known.range, known.window);
    latentControls();
    await draw(mine);
    if (!stay) fit();
    if (z) decode();
  } catch (error) { if (mine === turn) say(error.message); }
  at("view").removeAttribute("aria-busy");
}

async function draw(mine = ++turn) {
  const path = `/api/cases/${encodeURIComponent(chosen.case)}`, query = `${place()}n=${chosen.n}&seed=${chosen.seed}`;
  const found = await json(`${path}/hypotheses?${query}&distance=${chosen.distance}`);
  const maps = await array(`${path}/labels?${query}`, Uint8Array);
  const shares = await array(`${path}/probabilities?${query}`, Float32Array);
  if (mine !== turn) return;
  [hypotheses, labels, marginals] = [found, maps, shares];
  chosen.pick = Math.min(chosen.pick, hypotheses.groups.length - 1);
  at("shown").value = chosen.n;
  at("within").value = chosen.distance;
  at("count").textContent = `${hypotheses.groups.length} of ${chosen.n} hypotheses`;
  filmstrip();
  numbers();
  show();
}

// What lies over the image now.
function layers() {
  if (!image) return { image: null, over: [], paths: [] };
  const shown = picture(image, Number(at("low").value), Number(at("high").value));
  const box = field(), over = [], paths = [], [, height, width] = labels?.shape ?? [0, 0, 0];
  if (marginals && chosen.map !== "none") {
    const size = width * height, values = new Float32Array(size), classes = marginals.shape[0];
    for (let i = 0; i < size; i++) {
      const shares = Array.from({ length: classes }, (_, k) => marginals.data[k * size + i]);
      values[i] = chosen.map === "probability" ? 1 - shares[0]
        : shares.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(classes);
    }
    over.push({ image: heat(values, width, height), box });
  }
  if (box.width < image.shape[2] || box.height < image.shape[1]) {
    const frame = new Path2D();
    frame.rect(0, 0, box.width, box.height);
    paths.push({ path: frame, box, colour: "#a9b4bf", width: 1 });
  }
  const current = labels && (live ?? one(hypotheses.groups[hovered ?? chosen.pick].representative));
  if (at("readers").checked && binary()) {
    readers.forEach(({ path }, i) => paths.push({
      path, box: { left: 0, top: 0 }, colour: READERS[i % READERS.length], width: 1.5, dash: [4, 3],
    }));
  }
  if (labels && at("every").checked && binary()) {
    for (let i = 0; i < labels.shape[0]; i++) {
      paths.push({ path: outline(one(i), width, height), box, colour: `${HYPOTHESIS}66`, width: 1 });
    }
  }
  if (current && binary()) {
    paths.push({ path: outline(current, width, height), box, colour: live ? HANDLE : HYPOTHESIS, width: 3 });
  } else if (current) over.push({ image: tint(current, width, height), box });
  return { image: shown, over, paths };
}

function show() {
  view.draw();
  plane.draw();
  for (const [i, item] of [...at("strip").children].entries()) item.setAttribute("aria-selected", String(i === chosen.pick && !live));
  const wanted = [[live ? "what the handle says" : "selected group", live ? HANDLE : HYPOTHESIS]];
  if (binary() && at("readers").checked) readers.forEach((_, i) => wanted.push([`reader ${i + 1}`, READERS[i % READERS.length]]));
  if (!binary()) wanted.splice(0, 1, ...model.classes.slice(1).map((name, k) => [name, CLASSES[1 + (k % (CLASSES.length - 1))]]));
  at("legend").replaceChildren(...wanted.map(([text, colour]) => {
    const item = document.createElement("span");
    item.textContent = text;
    item.style.color = colour;
    return item;
  }));
  const state = new URLSearchParams(Object.entries(chosen).filter(([key, value]) => value !== null && (key !== "z" || live))
    .map(([key, value]) => [key, Array.isArray(value) ? value.map((v) => v.toFixed(3)).join() : value]));
  history.replaceState(null, "", `#${state}`);
}

function filmstrip() {
  const box = field(), grey = picture(image, Number(at("low").value), Number(at("high").value));
  at("strip").replaceChildren(...hypotheses.groups.map((group, i) => {
    const item = document.createElement("button"), small = canvas(148, 148), context = small.getContext("2d");
    const scale = 148 / Math.max(box.width, box.height), map = one(group.representative);
    context.scale(scale, scale);
    context.drawImage(grey, box.left, box.top, box.width, box.height, 0, 0, box.width, box.height);
    if (binary()) {
      context.strokeStyle = HYPOTHESIS;
      context.lineWidth = 4 / scale;
      context.stroke(outline(map, box.width, box.height));
    } else context.drawImage(tint(map, box.width, box.height), 0, 0);
    const empty = !map.some((v) => v > 0), text = `${Math.round(100 * group.frequency)} %${empty ? ", empty" : ""}`;
    item.className = "group";
    item.setAttribute("role", "option");
    item.setAttribute("aria-label", `group ${i + 1}: ${text}`);
    item.append(small, text);
    item.addEventListener("click", () => select(i));
    item.addEventListener("mouseenter", () => { hovered = i; view.draw(); });
    item.addEventListener("mouseleave", () => { hovered = null; view.draw(); });
    return item;
  }));
}

function select(i) {
  const count = hypotheses.groups.length;
  chosen.pick = ((i % count) + count) % count;
  live = null;
  const latents = hypotheses.latents;
  if (latents) chosen.z = [...latents[hypotheses.groups[chosen.pick].representative]];
  sliders();
  show();
  at("strip").children[chosen.pick].scrollIntoView({ block: "nearest", inline: "nearest" });
}

function numbers() {
  const spacing = known.spacing_mm, unit = spacing ? "mm²" : "pixels", size = spacing ? spacing[0] * spacing[1] : 1;
  const areas = hypotheses.pixels.map((counts) => size * counts.slice(1).reduce((a, b) => a + b, 0));
  at("area-title").textContent = `Area over hypotheses (ticks: readers), ${unit}`;
  histogram(at("histogram"), areas, readers.map((r) => r.size * size), unit);
  const none = areas.filter((area) => area === 0).length, strong = document.createElement("strong");
  strong.textContent = `${Math.round((100 * none) / areas.length)} %`;
  const seen = readers.length ? ` Of ${readers.length} readers who looked, ${readers.filter((r) => !r.size).length} saw none.` : "";
  const name = binary() ? model.classes[1] : "foreground";
  at("absent").replaceChildren("That a reader sees no ", name, ": ", strong, ` (${none} of ${areas.length} hypotheses).`, seen);
}

// The handle moved: f_comb runs here, or on the server for models without one.
let waiting = false;
function decode() {
  sliders();
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(async () => {
    const started = performance.now();
    if (comb) live = comb.labels(chosen.z);
    else {
      try {
        live = (await array(`/api/cases/${encodeURIComponent(chosen.case)}/decode?${place()}z=${chosen.z.join()}`, Uint8Array)).data;
      } catch (error) { say(error.message); }
    }
    waiting = false;
    show();
    updates = [...updates.slice(-19), performance.now() - started];
    const each = updates.reduce((a, b) => a + b) / updates.length;
    at("rate").textContent = `${each.toFixed(0)} ms an update${comb ? "" : ", on the server"}`;
  });
}

function latentControls() {
  const dims = known.latent?.prior.mean.length ?? 0;
  at("latent").hidden = dims === 0;
  if (dims && (chosen.across === null || chosen.across >= dims)) [chosen.across, chosen.up] = telling(known.latent);
  for (const [id, key] of [["across", "across"], ["up", "up"]]) {
    at(id).replaceChildren(...Array.from({ length: dims }, (_, d) => new Option(`z${d + 1}`, String(d))));
    at(id).value = String(chosen[key]);
  }
  sliders();
}

// The two dimensions in which the readers' posteriors differ most from the prior (KL); the first two without readers.
function telling({ prior, readers: posteriors }) {
  const nats = prior.mean.map((mean, d) => posteriors.reduce((sum, q) => {
    const [ratio, shift] = [q.sigma[d] / prior.sigma[d], (q.mean[d] - mean) / prior.sigma[d]];
    return sum + (ratio ** 2 + shift ** 2 - 1) / 2 - Math.log(ratio);
  }, 0));
  const order = nats.map((_, d) => d).sort((a, b) => nats[b] - nats[a]);
  return [order[0], order[1] ?? order[0]];
}

function sliders() {
  const latent = known?.latent, holder = at("sliders");
  if (!latent) return;
  const { mean, sigma } = latent.prior, wanted = mean.map((_, d) => d).filter((d) => d !== chosen.across && d !== chosen.up);
  if (holder.dataset.dims !== wanted.join()) {
    holder.dataset.dims = wanted.join();
    holder.replaceChildren(...wanted.map((d) => {
      const label = document.createElement("label"), input = document.createElement("input");
      Object.assign(input, { type: "range", min: -3, max: 3, step: 0.05, id: `z${d}` });
      input.addEventListener("input", () => {
        const now = known.latent.prior;
        chosen.z = chosen.z.map((v, i) => (i === d ? now.mean[d] + now.sigma[d] * Number(input.value) : v));
        decode();
      });
      label.append(`z${d + 1}`, input);
      return label;
    }));
  }
  for (const d of wanted) at(`z${d}`).value = (chosen.z[d] - mean[d]) / sigma[d];
}

function setWindow([least, most], [low, high]) {
  for (const [id, value] of [["low", low], ["high", high]]) {
    Object.assign(at(id), { min: least, max: most, step: (most - least) / 500 || 1 });
    at(id).value = value;
  }
  at("presets").replaceChildren(...(known.unit === "HU" ? Object.entries(PRESETS) : []).map(([name, range]) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => { [at("low").value, at("high").value] = range; filmstrip(); show(); });
    return button;
  }));
}

function fit() { view.fit(field()); }

async function take(file) {
  say(`reading ${file.name} ...`);
  try {
    const { case: key, name } = await upload(file);
    at("cases").add(new Option(name, key));
    await open(key);
  } catch (error) { say(error.message); }
}

function step(by) {
  const list = at("cases");
  if (list.length) open(list.options[(list.selectedIndex + by + list.length) % list.length].value);
}

function exported(all) {
  const format = at("format").value, path = `/api/cases/${encodeURIComponent(chosen.case)}/export`;
  const which = all ? "" : live ? `&z=${chosen.z.join()}` : `&pick=${hypotheses.groups[chosen.pick].representative}`;
  save(`${path}?${place()}format=${format}&n=${chosen.n}&seed=${chosen.seed}${which}`).catch((e) => say(e.message));
}

function wire() {
  at("cases").addEventListener("change", () => open(at("cases").value));
  at("previous").addEventListener("click", () => step(-1));
  at("next").addEventListener("click", () => step(1));
  at("file").addEventListener("change", () => { if (at("file").files.length) take(at("file").files[0]); });
  at("file").addEventListener("click", () => { at("file").value = ""; }); // the same file again is a change too
  for (const [id, key] of [["n", "n"], ["distance", "distance"]]) {
    at(id).value = chosen[key];
    at(id).addEventListener("change", () => {
      chosen[key] = Number(at(id).value);
      draw().catch((error) => say(error.message));
    });
  }
  for (const id of ["readers", "every"]) at(id).addEventListener("change", show);
  for (const radio of document.getElementsByName("map")) {
    radio.checked = radio.value === chosen.map;
    radio.addEventListener("change", () => { chosen.map = radio.value; show(); });
  }
  for (const id of ["low", "high"]) {
    at(id).addEventListener("input", () => view.draw());
    at(id).addEventListener("change", () => filmstrip());
  }
  at("slice").addEventListener("change", () => {
    open(chosen.case, { slice: Number(at("slice").value), row: chosen.row, column: chosen.column, stay: true });
  });
  at("fit").addEventListener("click", fit);
  at("whole").addEventListener("click", () => view.fit({ top: 0, left: 0, width: image.shape[2], height: image.shape[1] }));
  for (const id of ["across", "up"]) {
    at(id).addEventListener("change", () => { chosen[id] = Number(at(id).value); sliders(); show(); });
  }
  at("mean").addEventListener("click", () => { chosen.z = [...known.latent.prior.mean]; decode(); });
  at("save").addEventListener("click", () => exported(false));
  at("save-all").addEventListener("click", () => exported(true));
  at("link").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); say("The address is on the clipboard."); } catch { say(location.href); }
  });
  document.addEventListener("keydown", (event) => {
    if (["INPUT", "SELECT"].includes(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by && hypotheses) { event.preventDefault(); select(chosen.pick + by); }
    if (event.key === "[") step(-1);
    if (event.key === "]") step(1);
  });
  const over = (shown) => (event) => { event.preventDefault(); at("drop").hidden = !shown; };
  document.addEventListener("dragover", over(true));
  at("drop").addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  window.addEventListener("resize", () => { if (hypotheses) numbers(); });
}

start().catch((error) => say(error.message));
