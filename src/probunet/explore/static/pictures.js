// Values and readers of slices, of which those shown last are kept.

import { array } from "./api.js";
import { outline } from "./paint.js";

const seen = new Map();

export function pictureOf(path, slice) {
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
