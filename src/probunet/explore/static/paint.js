// Pictures of intensities, maps and label maps. Colours of Okabe and Ito, which the colour-blind can tell apart.

export const HYPOTHESIS = "#56b4e9", HANDLE = "#e69f00", STATED = "#ff5fd2";
const READERS = ["#009e73", "#f0e442", "#cc79a7", "#d55e00", "#ffffff", "#0072b2", "#b2df8a", "#aa4499", "#ff9da7",
  "#a87c5f", "#a8a8a8", "#00c8c8"];
const DASHES = [[4, 3], [1, 3], [8, 3, 2, 3]];
// Colour and dashes of the i-th reader's outline: no two of the first 36 are alike.
export const look = (i) => ({ colour: READERS[i % READERS.length], dash: DASHES[Math.floor(i / READERS.length) % DASHES.length] });
export const CLASSES = ["#000000", "#56b4e9", "#e69f00", "#009e73", "#f0e442", "#cc79a7", "#d55e00", "#0072b2", "#999999",
  "#a6d8f5", "#ffd27f", "#7fd6b8", "#f8f3a6", "#e6b8d0", "#f0a070"];
// Ten steps of viridis (Smith and van der Walt 2015, CC0).
export const VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b", "fde725"]
  .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));

export function canvas(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

// Grey levels (or RGB for three channels) of raw values between low and high.
export function picture({ data, shape: [channels, height, width] }, low, high) {
  const made = canvas(width, height), context = made.getContext("2d"), pixels = context.createImageData(width, height);
  const scale = 255 / Math.max(high - low, 1e-9), size = width * height;
  for (let i = 0; i < size; i++) {
    for (let c = 0; c < 3; c++) pixels.data[4 * i + c] = (data[(channels === 3 ? c : 0) * size + i] - low) * scale;
    pixels.data[4 * i + 3] = 255;
  }
  context.putImageData(pixels, 0, 0);
  return made;
}

// A map of numbers from 0 to 1, in the colours of viridis.
export function heat(values, width, height) {
  const made = canvas(width, height), context = made.getContext("2d"), pixels = context.createImageData(width, height);
  values.forEach((value, i) => {
    const at = Math.min(Math.max(value, 0), 1) * (VIRIDIS.length - 1), low = Math.min(Math.floor(at), VIRIDIS.length - 2);
    for (let c = 0; c < 3; c++) {
      pixels.data[4 * i + c] = VIRIDIS[low][c] + (at - low) * (VIRIDIS[low + 1][c] - VIRIDIS[low][c]);
    }
    pixels.data[4 * i + 3] = 255;
  });
  context.putImageData(pixels, 0, 0);
  return made;
}

// Class ids as half-transparent colours, for more than two classes.
export function tint(labels, width, height) {
  const made = canvas(width, height), context = made.getContext("2d"), pixels = context.createImageData(width, height);
  const colours = CLASSES.map((hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  labels.forEach((label, i) => {
    if (!label) return;
    pixels.data.set(colours[1 + ((label - 1) % (colours.length - 1))], 4 * i);
    pixels.data[4 * i + 3] = 130;
  });
  context.putImageData(pixels, 0, 0);
  return made;
}

// The path around all pixels that are not background, on the corners of pixels: closed lines, so that dashes run along.
export function outline(labels, width, height) {
  const path = new Path2D(), wide = width + 1, next = new Map();
  const inside = (x, y) => x >= 0 && y >= 0 && x < width && y < height && labels[y * width + x] > 0;
  const edge = (x, y, dx, dy) => {
    const from = y * wide + x, to = from + dy * wide + dx;
    if (next.has(from)) next.get(from).push(to);
    else next.set(from, [to]);
  };
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (!inside(x, y)) continue;
      if (!inside(x, y - 1)) edge(x, y, 1, 0); // what is marked lies to the right of every edge
      if (!inside(x + 1, y)) edge(x + 1, y, 0, 1);
      if (!inside(x, y + 1)) edge(x + 1, y + 1, -1, 0);
      if (!inside(x - 1, y)) edge(x, y + 1, 0, -1);
    }
  }
  const draw = (how, corner) => path[how](corner % wide, Math.floor(corner / wide));
  for (const [start, ends] of next) {
    while (ends.length) { // into every corner go as many edges as out of it, so that each walk ends where it began
      draw("moveTo", start);
      for (let at = ends.pop(); at !== start; at = next.get(at).pop()) draw("lineTo", at);
      path.closePath();
    }
  }
  return path;
}

// A canvas of the size at which it is shown; gives its context in CSS pixels.
export function fresh(element) {
  const { width, height } = element.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
  if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
  }
  const context = element.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
