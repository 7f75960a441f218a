// What lies over the image now, and the legend of it.

import { dashed, named } from "./calibrated.js";
import { colours, scale, sides } from "./overlay.js";
import { CLASSES, HANDLE, heat, HYPOTHESIS, look, outline, picture, tint } from "./paint.js";
import { at, binary, chosen, field, foreground, hypothesis, now } from "./state.js";

export const windowed = () => picture(now.image, Number(at("low").value), Number(at("high").value));

// Everything that View draws; ruler: what is measured.
export function layers(ruler) {
  const { image, labels, live, readers } = now;
  if (!image) return { image: null, over: [], paths: [] };
  const box = field(), over = [], paths = [], [, height, width] = labels?.shape ?? [0, 0, 0];
  if (now.marginals && chosen.map !== "none") over.push({ image: heat(mapped(width * height), width, height), box, alpha: 0.6 });
  if (box.width < image.shape[2] || box.height < image.shape[1]) {
    const frame = new Path2D();
    frame.rect(0, 0, box.width, box.height);
    paths.push({ path: frame, box, colour: "#a9b4bf", width: 1 });
  }
  const current = labels && (live ?? hypothesis(now.hypotheses.groups[now.hovered ?? chosen.pick].representative));
  if (at("readers").checked && binary()) {
    readers.forEach(({ path }, i) => paths.push({ path, box: { left: 0, top: 0 }, width: 1.5, ...look(i) }));
  }
  if (labels && at("every").checked && binary()) {
    for (let i = 0; i < labels.shape[0]; i++) {
      paths.push({ path: outline(hypothesis(i), width, height), box, colour: `${HYPOTHESIS}66`, width: 1 });
    }
  }
  if (current && binary()) {
    paths.push({ path: outline(current, width, height), box, colour: live ? HANDLE : HYPOTHESIS, width: 3 });
  } else if (current) over.push({ image: tint(current, width, height), box });
  paths.push(...dashed());
  if (now.cut) {
    const lines = new Path2D();
    lines.moveTo(box.left, now.cut.row + 0.5); lines.lineTo(box.left + box.width, now.cut.row + 0.5);
    lines.moveTo(now.cut.column + 0.5, box.top); lines.lineTo(now.cut.column + 0.5, box.top + box.height);
    paths.push({ path: lines, box: { left: 0, top: 0 }, colour: `${HANDLE}88`, width: 1, dash: [2, 4] });
  }
  return { image: windowed(), over, paths, beside: (...canvas) => beside(ruler, ...canvas) };
}

// The probability of any class but background, or the entropy, of every pixel.
function mapped(size) {
  const { data, shape: [classes] } = now.marginals, values = new Float32Array(size);
  for (let i = 0; i < size; i++) {
    const shares = Array.from({ length: classes }, (_, k) => data[k * size + i]);
    values[i] = chosen.map === "probability" ? 1 - shares[0]
      : shares.reduce((sum, p) => sum - (p > 0 ? p * Math.log(p) : 0), 0) / Math.log(classes);
  }
  return values;
}

// What is drawn on the view, not on the image.
function beside(ruler, context, width, height, zoom, onScreen) {
  const { spacing_mm: spacing, sides: letters } = now.known;
  if (spacing) scale(context, height, zoom, spacing[1]);
  if (letters) sides(context, width, height, letters);
  const name = { probability: `probability of ${foreground()}`, entropy: "entropy (1: undecided)" }[chosen.map];
  if (name) colours(context, width, name);
  ruler.draw(context, onScreen, spacing);
}

export function legend() {
  const { live, readers, known, model } = now;
  const wanted = [[live ? "what the handle says" : "selected group", live ? HANDLE : HYPOTHESIS]];
  if (binary() && at("readers").checked) readers.forEach((_, i) => wanted.push([known.reader_names[i] ?? `reader ${i + 1}`, look(i).colour]));
  if (!binary()) wanted.splice(0, 1, ...model.classes.slice(1).map((name, k) => [name, CLASSES[1 + (k % (CLASSES.length - 1))]]));
  at("legend").replaceChildren(...[...wanted, ...named()].map(([text, colour, kind = ""]) => {
    const item = document.createElement("span");
    item.textContent = text;
    item.className = kind;
    item.style.color = colour;
    return item;
  }));
}
