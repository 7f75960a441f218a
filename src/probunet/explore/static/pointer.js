// What the page says of the place under the pointer, and of what can be done there.

import { at, field, now } from "./state.js";

// What is under the pointer: the value, and how probable it is that it is marked.
export function pointed(row, column) {
  const { image, marginals } = now, [, height, width] = image?.shape ?? [0, 0, 0];
  const y = Math.floor(row ?? -1), x = Math.floor(column ?? -1);
  if (row === null || y < 0 || x < 0 || y >= height || x >= width) {
    at("value").textContent = "\u00a0";
    return;
  }
  const { top, left, width: wide, height: tall } = field(), inside = y >= top && x >= left && y < top + tall && x < left + wide;
  const p = marginals && inside ? `; probability ${(1 - marginals.data[(y - top) * wide + x - left]).toFixed(2)}` : "";
  at("value").textContent = `row ${y}, column ${x}: ${Number(image.data[y * width + x].toPrecision(5))} ${now.known.unit}${p}`;
}

// What can be done here, where it cannot be seen.
export function hints() {
  const [, height, width] = now.known.shape, box = field();
  const moves = box.width < width || box.height < height ? "The frame is what the model looks at: click twice to move it. " : "";
  at("how").textContent = moves + (now.known.slices > 1 ? "Wheel, up and down: next slice. Ctrl and wheel: zoom." : "");
}
