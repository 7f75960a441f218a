// Answers what the page asks as the server does, in the browser: nothing that is opened here goes anywhere.

import * as ort from "./ort.wasm.bundle.min.mjs";
import { groups } from "./clusters.js";
import { FComb } from "./fcomb.js";
import { npy, read } from "./files.js";
import { normals } from "./noise.js";
import { seedOf, stated } from "./statements.js";
import { normalised } from "./units.js";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort-wasm-simd-threaded.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send

const SMALLEST = 16;
const pictures = new Map(), encodings = new Map(), drawings = new Map();
let model, session;

// The model's description and its graph, which the page waits for.
async function loaded() {
  model ??= await (await fetch(new URL("./model.json", import.meta.url))).json();
  session ??= ort.InferenceSession.create(new URL("./encode.onnx", import.meta.url).href, { executionProviders: ["wasm"] });
  return session;
}

export async function upload(file) {
  await loaded();
  if (file.size > model.upload.bytes) throw new Error(`the file is larger than ${model.upload.bytes / 2 ** 20} MiB`);
  const key = `upload-${pictures.size}`, picture = await read(file, model.channels);
  const [, height, width] = picture.shape;
  if (Math.min(height, width) < SMALLEST) throw new Error(`${height}x${width} px are too few; the model needs ${SMALLEST} along either side`);
  normalised(picture, model); // refuses what is in other units
  pictures.set(key, { ...picture, name: file.name });
  return { case: key, name: file.name };
}

function asked(path) {
  const { pathname, searchParams } = new URL(path, "http://page"), [, , , key, what] = pathname.split("/");
  const picture = pictures.get(key);
  if (!picture) throw new Error("that picture is not open (any more); open it again");
  const number = (name, otherwise) => (searchParams.has(name) ? Number(searchParams.get(name)) : otherwise);
  return { key, what, picture, number, z: searchParams.get("z")?.split(",").map(Number), field: fieldOf(picture, number) };
}

// As probunet.inference.view does it.
function fieldOf({ shape: [, height, width] }, number) {
  const [rows, columns] = [Math.min(model.crop[0], height), Math.min(model.crop[1], width)];
  const row = Math.min(number("row", Math.floor(height / 2)), height - 1);
  const column = Math.min(number("column", Math.floor(width / 2)), width - 1);
  const first = (at, size, all) => Math.min(Math.max(at - Math.floor(size / 2), 0), all - size);
  return { top: first(row, rows, height), left: first(column, columns, width), height: rows, width: columns };
}

function cut({ data, shape: [channels, height, width] }, { top, left, height: rows, width: columns }) {
  const part = new Float32Array(channels * rows * columns);
  for (let c = 0, to = 0; c < channels; c++) {
    for (let y = 0; y < rows; y++, to += columns) {
      const from = c * height * width + (top + y) * width + left;
      part.set(data.subarray(from, from + columns), to);
    }
  }
  return part;
}

const remembered = (store, name, make) => {
  if (!store.has(name)) {
    if (store.size >= 8) store.delete(store.keys().next().value);
    store.set(name, make());
  }
  return store.get(name);
};

// What the networks say of a field, once: features pixel after pixel, and the prior.
function encoded({ key, picture, field }) {
  return remembered(encodings, `${key}:${field.top}:${field.left}`, async () => {
    const { values } = normalised({ ...picture, data: cut(picture, field) }, model), { height, width } = field;
    const image = new ort.Tensor("float32", values, [1, picture.shape[0], height, width]);
    const begun = performance.now(), answer = await (await loaded()).run({ image });
    const seconds = (performance.now() - begun) / 1000, channels = answer.features.dims[1], size = height * width;
    const features = new Float32Array(size * channels);
    for (let c = 0; c < channels; c++) {
      for (let i = 0; i < size; i++) features[i * channels + c] = answer.features.data[c * size + i];
    }
    const mean = [...answer.prior_mean.data], sigma = [...answer.prior_log_sigma.data].map(Math.exp);
    return { features, channels, prior: { mean, sigma }, seconds };
  });
}

function drawn(question, n = question.number("n", 16), seed = question.number("seed", 0)) {
  const { key, field } = question;
  return remembered(drawings, `${key}:${field.top}:${field.left}:${n}:${seed}`, async () => {
    const { features, prior } = await encoded(question), comb = new FComb(model.combine, features);
    const classes = model.classes.length, size = field.height * field.width;
    const labels = new Uint8Array(n * size), shares = new Float32Array(classes * size), normal = normals(seed);
    const latents = Array.from({ length: n }, () => prior.mean.map((mean, d) => mean + prior.sigma[d] * normal()));
    latents.forEach((z, i) => labels.set(comb.labels(z, shares), i * size));
    return { labels, latents, n, size, probabilities: shares.map((sum) => sum / n) };
  });
}

async function described({ key, picture, field, number }) {
  const values = cut(picture, field).sort(), quantile = (share) => values[Math.round(share * (values.length - 1))];
  const [low, high] = [quantile(0.005), quantile(0.995)], range = picture.data.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const { prior, seconds } = await encoded({ key, picture, field, number });
  const notes = [normalised({ ...picture, data: values }, model).note, `one encoding took ${Math.round(1000 * seconds)} ms in this browser`];
  if (model.spacing_mm) notes.push(`pixel size not known; taken to be the model's ${model.spacing_mm.join(" x ")} mm`);
  return { case: key, name: picture.name, slice: 0, slices: 1, shape: picture.shape, unit: model.unit, range,
    window: [low, high > low ? high : low + 1], spacing_mm: null, between_mm: null, sides: null, readers: 0, reader_names: [],
    dicom: false, field, decodes_in_page: true, note: notes.filter(Boolean).join("; "), latent: { prior, readers: [] } };
}

async function hypotheses(question) {
  const { labels, latents, n, size } = await drawn(question), classes = model.classes.length;
  const pixels = Array.from({ length: n }, (_, i) => {
    const counts = new Array(classes).fill(0);
    for (let p = i * size; p < (i + 1) * size; p++) counts[labels[p]]++;
    return counts;
  });
  return { field: question.field, latents, pixels, groups: groups(labels, n, classes, question.number("distance", 0.5)), volume: null };
}

async function calibrated(question) {
  const { statements } = model;
  if (!statements) throw new Error(model.no_calibration);
  return stated(await drawn(question, statements.hypotheses, seedOf(question.number("seed", 0))), statements, question.field);
}

export async function json(path) {
  await loaded();
  if (path === "/api/model") return model;
  if (path === "/api/cases") return [];
  const question = asked(path);
  if (question.what === "calibrated") return (await calibrated(question)).facts;
  return question.what === "hypotheses" ? hypotheses(question) : described(question);
}

// Numbers of an array with its shape.
export async function array(path) {
  await loaded();
  const question = asked(path), { picture, field: { height, width } } = question;
  if (question.what === "picture") return { shape: picture.shape, data: picture.data };
  if (question.what === "readers") return { shape: [0, ...picture.shape.slice(1)], data: new Uint8Array(0) };
  if (question.what === "features" || question.what === "decode") {
    const { features, channels } = await encoded(question);
    if (question.what === "features") return { shape: [height, width, channels], data: features };
    return { shape: [height, width], data: new FComb(model.combine, features).labels(question.z) };
  }
  if (question.what === "outlines") {
    return { shape: [2, model.classes.length - 1, height, width], data: (await calibrated(question)).masks };
  }
  const { labels, probabilities, n } = await drawn(question);
  if (question.what === "labels") return { shape: [n, height, width], data: labels };
  return { shape: [model.classes.length, height, width], data: probabilities };
}

// Hypotheses as .npy on the pixels of the whole picture, class 0 outside of the field.
export async function save(path) {
  const question = asked(path), { picture, field, number, z } = question, [, height, width] = picture.shape;
  const { features } = await encoded(question), { labels, n, size } = await drawn(question), pick = number("pick", null);
  const maps = z ? [new FComb(model.combine, features).labels(z)]
    : Array.from({ length: n }, (_, i) => labels.subarray(i * size, (i + 1) * size)).filter((_, i) => pick === null || i === pick);
  const whole = new Uint8Array(maps.length * height * width);
  maps.forEach((map, i) => {
    for (let y = 0; y < field.height; y++) {
      whole.set(map.subarray(y * field.width, (y + 1) * field.width), (i * height + field.top + y) * width + field.left);
    }
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([npy(whole, [maps.length, height, width])]));
  link.download = `${picture.name.replace(/\.[^.]*$/, "").replace(/[<>:"/\\|?*\p{Cc}]/gu, "_")}-hypotheses.npy`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
