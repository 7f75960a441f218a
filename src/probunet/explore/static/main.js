// The page of ``probunet explore``: what is asked of the server when, and what follows from what a person does.

import { about } from "./about.js";
import { array, json, save, upload } from "./api.js";
import { offered, stated, tell } from "./calibrated.js";
import { wire } from "./controls.js";
import { FComb } from "./fcomb.js";
import { filmstrip, mark } from "./film.js";
import { latentControls, sliders } from "./latent.js";
import { layers, legend } from "./layers.js";
import { numbers } from "./numbers.js";
import { pictureOf } from "./pictures.js";
import { Plane } from "./plane.js";
import { hints, pointed } from "./pointer.js";
import { Ruler } from "./ruler.js";
import { inside, Sections } from "./sections.js";
import { Slices } from "./slices.js";
import { at, chosen, field, foreground, now, path, place, readAddress, say, writeAddress } from "./state.js";
import { View } from "./view.js";
import { setWindow } from "./window.js";

const FORMATS = { png: "PNG", npz: ".npz", npy: ".npy", nifti: "NIfTI", dicomseg: "DICOM segmentation" };
let turn = 0; // a later question makes the answers to earlier ones worthless
let updates = [];
let following = false; // whether the handle says what is shown, also in the next slice
let later; // a slice that somebody rolls past is not asked of the model

const ruler = new Ruler((text) => { if (at("measured").value !== text) at("measured").value = text; });
const view = new View(at("view"), () => layers(ruler), move, pointed, turned, ruler);
const slices = new Slices(at("bar"), () => ({ ...now.known, volume: now.hypotheses?.volume }), goTo);
const sections = new Sections(through);
const plane = new Plane(at("plane"), () => ({
  latent: now.known?.latent, z: chosen.z, across: chosen.across, up: chosen.up, latents: now.hypotheses?.latents,
}), (z) => { chosen.z = z; decode(); });

async function start() {
  readAddress();
  now.model = await json("/api/model");
  at("model").textContent = `${now.model.name} (${now.model.kind})`;
  at("file").accept = now.model.upload.suffixes.join(",");
  at("n").max = now.model.maximum_samples;
  about(now.model.about);
  at("drawn-by").hidden = !now.model.reader_names.length;
  at("reader").replaceChildren(new Option("any reader", ""), ...now.model.reader_names.map((name) => new Option(name, name)));
  if (!now.model.reader_names.includes(chosen.reader)) chosen.reader = null;
  at("reader").value = chosen.reader ?? "";
  at("format").replaceChildren(...now.model.formats.map((format) => Object.assign(new Option(FORMATS[format], format), { id: format })));
  const names = await json("/api/cases");
  names.forEach((name, i) => at("cases").add(new Option(name, String(i))));
  offered(() => draw().catch((error) => say(error.message)));
  wire({ ruler, view, sections, open, draw, show, film, sizes, select, decode, goTo, move, through, fit, whole, take, step, exported, measure });
  view.draw();
  if (names.length || chosen.case.startsWith("upload")) await open(chosen.case, chosen);
  else say("Open an image, or drop one on the page.");
}

// The field that the model looks at, around a place of the image.
function move(row, column) {
  const { width, height } = field(), [, rows, columns] = now.known.shape;
  if ((width < columns || height < rows) && row >= 0 && column >= 0 && row < rows && column < columns) {
    open(chosen.case, { slice: chosen.slice, row: Math.floor(row), column: Math.floor(column), stay: true });
  }
}

// A case, and which field of it; `stay` leaves the view as it is.
async function open(key, { z = null, slice = null, row = null, column = null, stay = false } = {}) {
  const mine = ++turn, here = path(key);
  Object.assign(chosen, { slice, row, column });
  at("view").setAttribute("aria-busy", "true");
  say(""); // at once: what is said later may be of something newer
  try {
    const known = await json(`${here}?${place()}`);
    const picture = await pictureOf(here, known.slice);
    const decodes = now.model.combine && known.decodes_in_page;
    const features = decodes ? await array(`${here}/features?${place()}`, Float32Array) : null;
    if (mine !== turn) return;
    const same = stay && key === chosen.case && now.known;
    Object.assign(now, { known, ...picture, comb: features ? new FComb(now.model.combine, features.data) : null, live: null, stated: null });
    if (key !== chosen.case) now.cut = null; // the middle of the new one
    chosen.case = key;
    if (!(same && following)) {
      following = false;
      chosen.z = z && z.length === known.latent?.prior.mean.length ? z : known.latent?.prior.mean ?? null;
    }
    if (!same) {
      ruler.clear();
      setWindow(known.range, known.window, () => { film(); show(); });
    }
    controls(key);
    await draw(mine);
    if (!stay) whole();
    if (z || following) decode();
    for (const by of known.slices > 1 ? [1, -1] : []) pictureOf(here, limited(known.slice + by)).catch(() => {});
  } catch (error) { if (mine === turn) say(error.message); }
  at("view").removeAttribute("aria-busy");
}

// What can be chosen depends on the case.
function controls(key) {
  const { known } = now;
  at("cases").value = key;
  at("note").textContent = known.note;
  if (at("dicomseg")) at("dicomseg").disabled = !known.dicom;
  at("slices").hidden = at("bar").hidden = known.slices === 1;
  at("slice").max = known.slices - 1;
  number();
  hints();
  if (at("format").selectedOptions[0].disabled) at("format").value = now.model.formats[0];
  latentControls(decode);
}

const limited = (slice) => Math.min(Math.max(slice, 0), now.known.slices - 1);

function number() {
  at("slice").value = now.known.slice;
  at("slice-number").value = `${now.known.slice + 1} of ${now.known.slices}`;
}

// Another slice: its picture at once, what the model says of it as soon as nobody scrolls on.
function goTo(wanted) {
  if (!now.known || limited(wanted) === now.known.slice) return;
  const slice = limited(wanted), mine = ++turn;
  chosen.slice = slice;
  Object.assign(now, { known: { ...now.known, slice }, labels: null, marginals: null, live: null, stated: null });
  ruler.clear();
  at("view").setAttribute("aria-busy", "true");
  number();
  slices.draw();
  sections.draw();
  pictureOf(path(), slice).then((picture) => {
    if (mine !== turn) return;
    Object.assign(now, picture);
    show();
  }).catch((error) => { if (mine === turn) say(error.message); });
  clearTimeout(later);
  later = setTimeout(() => {
    if (mine === turn) open(chosen.case, { slice, row: chosen.row, column: chosen.column, stay: true });
  }, 120);
}

let rolled = 0;
function turned(by) {
  if (!now.known || now.known.slices === 1) return false;
  rolled += by;
  if (Math.abs(rolled) >= 40) {
    goTo(now.known.slice - Math.sign(rolled));
    rolled = 0;
  }
  return true;
}

async function draw(mine = ++turn) {
  const query = `${place()}n=${chosen.n}&seed=${chosen.seed}`;
  const hypotheses = await json(`${path()}/hypotheses?${query}&distance=${chosen.distance}`);
  const labels = await array(`${path()}/labels?${query}`, Uint8Array);
  const marginals = await array(`${path()}/probabilities?${query}`, Float32Array), said = await stated();
  if (mine !== turn) return;
  Object.assign(now, { hypotheses, labels, marginals, stated: said });
  chosen.pick = Math.min(chosen.pick, hypotheses.groups.length - 1);
  at("shown").value = chosen.n;
  at("within").value = chosen.distance;
  at("count").textContent = `${hypotheses.groups.length} of ${chosen.n} hypotheses`;
  film();
  sizes();
  tell();
  cut();
  show();
}

const cut = () => sections.load().catch((error) => say(error.message));

// The planes of a volume go through another place.
function through({ slice, row, column }) {
  if (!now.cut) return;
  now.cut = inside({ row: row ?? now.cut.row, column: column ?? now.cut.column });
  cut();
  view.draw();
  if (slice !== undefined) goTo(slice);
}

const sizes = () => numbers(now.hypotheses, now.readers.map((reader) => reader.size), now.known.spacing_mm, foreground());
const film = () => { if (now.labels) filmstrip(select, (i) => { now.hovered = i; view.draw(); sections.draw(); }); };

function show() {
  view.draw();
  plane.draw();
  slices.draw();
  sections.draw();
  mark();
  legend();
  writeAddress();
}

function select(i) {
  const { groups, latents } = now.hypotheses, count = groups.length;
  chosen.pick = ((i % count) + count) % count;
  now.live = null;
  following = false;
  if (latents) chosen.z = [...latents[groups[chosen.pick].representative]];
  sliders(decode);
  show();
  at("strip").children[chosen.pick].scrollIntoView({ block: "nearest", inline: "nearest" });
}

// The handle moved: f_comb runs here, or on the server for models without one.
let waiting = false;
function decode() {
  following = true;
  sliders(decode);
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(async () => {
    const started = performance.now();
    if (now.comb) now.live = now.comb.labels(chosen.z);
    else {
      try {
        now.live = (await array(`${path()}/decode?${place()}z=${chosen.z.join()}`, Uint8Array)).data;
      } catch (error) { say(error.message); }
    }
    waiting = false;
    show();
    updates = [...updates.slice(-19), performance.now() - started];
    const each = updates.reduce((a, b) => a + b) / updates.length;
    at("rate").textContent = `${each.toFixed(0)} ms an update${now.comb ? "" : ", on the server"}`;
  });
}

function fit() { view.fit(field()); }
function whole() { view.fit({ top: 0, left: 0, width: now.image.shape[2], height: now.image.shape[1] }); }

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
  const format = at("format").value, { live, hypotheses } = now;
  const which = all ? "" : live ? `&z=${chosen.z.join()}` : `&pick=${hypotheses.groups[chosen.pick].representative}`;
  save(`${path()}/export?${place()}format=${format}&n=${chosen.n}&seed=${chosen.seed}${which}`).catch((e) => say(e.message));
}

function measure(on) {
  ruler.on = at("ruler").checked = on;
  ruler.clear();
  at("view").classList.toggle("measuring", on);
  view.draw();
}

start().catch((error) => say(error.message));
