// What is chosen and what is shown: every part of the page reads it, main.js changes it.

export const at = (id) => document.getElementById(id);

// All of it is in the address, behind #.
export const chosen = { case: "0", n: 32, seed: 0, distance: 0.5, pick: 0, across: null, up: null, z: null, map: "none",
  slice: null, row: null, column: null, reader: null, calibrated: null };

// The model, the shown case and its image, what readers and hypotheses say of it; `live` is what the handle says,
// `cut` the row and column through which the other two planes of a volume go, `stated` what is calibrated.
export const now = { model: null, known: null, image: null, readers: [], hypotheses: null, labels: null, marginals: null,
  comb: null, live: null, hovered: null, cut: null, stated: null };

export const field = () => now.known.field;
export const binary = () => now.model.classes.length === 2;
export const foreground = () => (binary() ? now.model.classes[1] : "foreground");
export const path = (key = chosen.case) => `/api/cases/${encodeURIComponent(key)}`;

// Who draws, slice and field, for a query.
export const place = () => (chosen.reader ? `reader=${encodeURIComponent(chosen.reader)}&` : "") + (chosen.slice === null ? "" : `slice=${chosen.slice}&`)
  + (chosen.row === null ? "" : `row=${chosen.row}&column=${chosen.column}&`);

// The i-th hypothesis on the shown slice.
export function hypothesis(i) {
  const [, height, width] = now.labels.shape;
  return now.labels.data.subarray(i * height * width, (i + 1) * height * width);
}

export function say(text) { at("message").textContent = text; }

// What the address says.
export function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const key of Object.keys(chosen)) {
    if (!asked.has(key)) continue;
    const text = asked.get(key);
    const number = typeof chosen[key] === "number" || ["across", "up", "slice", "row", "column"].includes(key);
    chosen[key] = key === "z" ? text.split(",").map(Number) : number ? Number(text) : text;
  }
}

export function writeAddress() {
  const state = new URLSearchParams(Object.entries(chosen).filter(([key, value]) => value !== null && (key !== "z" || now.live))
    .map(([key, value]) => [key, Array.isArray(value) ? value.map((v) => v.toFixed(3)).join() : value]));
  history.replaceState(null, "", `#${state}`);
}
