// The page of ``probunet explore``: what is chosen, and everything that follows from it.

import { array, json, save, upload } from "./api.js";
import { FComb } from "./fcomb.js";
import { numbers } from "./numbers.js";
import { colours, scale, sides } from "./overlay.js";
import { CLASSES, HANDLE, heat, HYPOTHESIS, outline, picture, READERS, tint, canvas } from "./paint.js";
import { Plane } from "./plane.js";
import { Slices } from "./slices.js";
import { View } from "./view.js";

const at = (id) => document.getElementById(id);
const PRESETS = { Lung: [-1350, 150], "Soft tissue": [-160, 240] };
// What is chosen; all of it is in the address, behind #.
const chosen = { case: "0", n: 32, seed: 0, distance: 0.5, pick: 0, across: null, up: null, z: null, map: "none",
  slice: null, row: null, column: null };
let model, known, image, readers = [], hypotheses, labels, marginals, comb = null, live = null, hovered = null;
let turn = 0; // a later question makes the answers to earlier ones worthless
let updates = [];
let following = false; // whether the handle says what is shown, also in the next slice
let later; // a slice that somebody rolls past is not asked of the model
const seen = new Map(); // picture and readers of slices that were shown last

const view = new View(at("view"), layers, (row, column) => {
  const { width, height } = field(), [, rows, columns] = known.shape;
  if ((width < columns || height < rows) && row >= 0 && column >= 0 && row < rows && column < columns) {
    open(chosen.case, { slice: chosen.slice, row: Math.floor(row), column: Math.floor(column), stay: true });
  }
}, pointed, turned);
const slices = new Slices(at("bar"), () => ({ ...known, volume: hypotheses?.volume }), goTo);
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
    const picture = await pictureOf(path, found.slice);
    const features = model.combine && found.decodes_in_page ? await array(`${path}/features?${place()}`, Float32Array) : null;
    if (mine !== turn) return;
    const same = stay && key === chosen.case && known;
    known = found;
    ({ image, readers } = picture);
    comb = features ? new FComb(model.combine, features.data) : null;
    chosen.case = key;
    if (!(same && following)) {
      following = false;
      chosen.z = z && z.length === known.latent?.prior.mean.length ? z : known.latent?.prior.mean ?? null;
    }
    live = null;
    at("cases").value = key;
    at("note").textContent = known.note;
    at("dicomseg").disabled = !known.dicom;
    at("slices").hidden = at("bar").hidden = known.slices === 1;
    at("slice").max = known.slices - 1;
    number();
    hints();
    if (at("format").selectedOptions[0].disabled) at("format").value = "png";
    if (!same) setWindow(known.range, known.window);
    latentControls();
    await draw(mine);
    if (!stay) whole();
    if (z || following) decode();
    for (const by of known.slices > 1 ? [1, -1] : []) pictureOf(path, limited(known.slice + by)).catch(() => {});
  } catch (error) { if (mine === turn) say(error.message); }
  at("view").removeAttribute("aria-busy");
}

// Values and readers of a slice, of which the last are kept.
function pictureOf(path, slice) {
  const name = `${path}?slice=${slice}`, asked = seen.get(name) ?? fetched(path, slice);
  seen.delete(name);
  seen.set(name, asked);
  asked.catch(() => seen.delete(name));
  if (seen.size > 32) seen.delete(seen.keys().next().value);
  return asked;
}

async function fetched(path, slice) {
  const [values, drawn] = await Promise.all([array(`${path}/picture?slice=${slice}`, Float32Array), array(`${path}/readers?slice=${slice}`, Uint8Array)]);
  const [count, height, width] = drawn.shape;
  const maps = Array.from({ length: count }, (_, i) => drawn.data.subarray(i * height * width, (i + 1) * height * width));
  return { image: values, readers: maps.map((map) => ({
    map, path: outline(map, width, height), size: map.reduce((n, v) => n + (v > 0 && v < 255), 0),
  })) };
}

const limited = (slice) => Math.min(Math.max(slice, 0), known.slices - 1);

function number() {
  at("slice").value = known.slice;
  at("slice-number").value = `${known.slice + 1} of ${known.slices}`;
}

// Another slice: its picture at once, what the model says of it as soon as nobody scrolls on.
function goTo(wanted) {
  if (!known || limited(wanted) === known.slice) return;
  const slice = limited(wanted), mine = ++turn;
  chosen.slice = slice;
  known = { ...known, slice };
  [labels, marginals, live] = [null, null, null];
  at("view").setAttribute("aria-busy", "true");
  number();
  slices.draw();
  pictureOf(`/api/cases/${encodeURIComponent(chosen.case)}`, slice).then((picture) => {
    if (mine !== turn) return;
    ({ image, readers } = picture);
    show();
  }).catch((error) => { if (mine === turn) say(error.message); });
  clearTimeout(later);
  later = setTimeout(() => {
    if (mine === turn) open(chosen.case, { slice, row: chosen.row, column: chosen.column, stay: true });
  }, 120);
}

let rolled = 0;
function turned(by) {
  if (!known || known.slices === 1) return false;
  rolled += by;
  if (Math.abs(rolled) >= 40) {
    goTo(known.slice - Math.sign(rolled));
    rolled = 0;
  }
  return true;
}

// What is under the pointer: the value, and how probable it is that it is marked.
function pointed(row, column) {
  const [, height, width] = image?.shape ?? [0, 0, 0], y = Math.floor(row ?? -1), x = Math.floor(column ?? -1);
  if (row === null || y < 0 || x < 0 || y >= height || x >= width) {
    at("value").textContent = "\u00a0";
    return;
  }
  const { top, left, width: wide, height: tall } = field(), inside = y >= top && x >= left && y < top + tall && x < left + wide;
  const p = marginals && inside ? `; probability ${(1 - marginals.data[(y - top) * wide + x - left]).toFixed(2)}` : "";
  at("value").textContent = `row ${y}, column ${x}: ${Number(image.data[y * width + x].toPrecision(5))} ${known.unit}${p}`;
}

// What can be done here, where it cannot be seen.
function hints() {
  const [, height, width] = known.shape, box = field();
  const moves = box.width < width || box.height < height ? "The frame is what the model looks at: click twice to move it. " : "";
  at("how").textContent = moves + (known.slices > 1 ? "Wheel, up and down: next slice. Ctrl and wheel: zoom." : "");
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
  sizes();
  show();
}

const sizes = () => numbers(hypotheses, readers.map((reader) => reader.size), known.spacing_mm, binary() ? model.classes[1] : "foreground");

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
    over.push({ image: heat(values, width, height), box, alpha: 0.6 });
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
  return { image: shown, over, paths, beside };
}

// What is drawn on the view, not on the image.
function beside(context, width, height, zoom) {
  if (known.spacing_mm) scale(context, height, zoom, known.spacing_mm[1]);
  if (known.sides) sides(context, width, height, known.sides);
  const name = { probability: `probability of ${binary() ? model.classes[1] : "foreground"}`, entropy: "entropy (1: undecided)" }[chosen.map];
  if (name) colours(context, width, name);
}

function show() {
  view.draw();
  plane.draw();
  slices.draw();
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
    const whole = hypotheses.volume?.hypotheses.size[group.representative], empty = !map.some((v) => v > 0);
    const text = `${Math.round(100 * group.frequency)} %${!empty ? "" : whole ? ", not here" : ", empty"}`;
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
  following = false;
  const latents = hypotheses.latents;
  if (latents) chosen.z = [...latents[hypotheses.groups[chosen.pick].representative]];
  sliders();
  show();
  at("strip").children[chosen.pick].scrollIntoView({ block: "nearest", inline: "nearest" });
}

// The handle moved: f_comb runs here, or on the server for models without one.
let waiting = false;
function decode() {
  following = true;
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
  windowNumbers();
  at("presets").replaceChildren(...(known.unit === "HU" ? Object.entries(PRESETS) : []).map(([name, range]) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => { [at("low").value, at("high").value] = range; windowNumbers(); filmstrip(); show(); });
    return button;
  }));
}

function windowNumbers() {
  for (const id of ["low", "high"]) at(`${id}-number`).value = String(Number(Number(at(id).value).toPrecision(3)));
  at("window").textContent = `Window, ${known.unit}`;
}

function fit() { view.fit(field()); }
function whole() { view.fit({ top: 0, left: 0, width: image.shape[2], height: image.shape[1] }); }

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
    at(id).addEventListener("input", () => { windowNumbers(); view.draw(); });
    at(id).addEventListener("change", () => filmstrip());
  }
  at("slice").addEventListener("input", () => goTo(Number(at("slice").value)));
  at("fit").addEventListener("click", fit);
  at("whole").addEventListener("click", whole);
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
    if (by && hypotheses && labels) { event.preventDefault(); select(chosen.pick + by); }
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
    if (steps && known?.slices > 1) { event.preventDefault(); goTo(known.slice + steps); }
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
  window.addEventListener("resize", () => { if (hypotheses) sizes(); });
}

start().catch((error) => say(error.message));
