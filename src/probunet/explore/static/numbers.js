// How large hypotheses and readings are, in words and as a histogram: areas of a slice, or volumes.

import { histogram, quantile, rounded } from "./histogram.js";

const at = (id) => document.getElementById(id);
const UNITS = { mm2: "mm²", mm3: "mm³" };

function between(values) {
  const [low, median, high] = [0.05, 0.5, 0.95].map((share) => quantile(values, share));
  return `${rounded(median)} (90 %: ${rounded(low)} to ${rounded(high)})`;
}

function range(values) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return least === most ? rounded(most) : `${rounded(least)} to ${rounded(most)}`;
}

function bold(text) {
  const strong = document.createElement("strong");
  strong.textContent = text;
  return strong;
}

// Of the hypotheses of a slice, or of a volume where the server says so; readers: pixels of the slice that each marks.
export function numbers({ pixels, volume }, readers, spacing, name) {
  const flat = spacing ? spacing[0] * spacing[1] : 1;
  const unit = volume ? UNITS[volume.hypotheses.summary.unit] ?? "voxels" : spacing ? UNITS.mm2 : "pixels";
  const ours = volume ? volume.hypotheses.size : pixels.map((counts) => flat * counts.slice(1).reduce((a, b) => a + b, 0));
  const theirs = volume ? volume.readers.size : readers.map((count) => count * flat);
  at("area-title").textContent = `${volume ? "Volume" : "Area"} over hypotheses (ticks: readers), ${unit}`;
  histogram(at("histogram"), ours, theirs, unit);
  const parts = ["Median ", bold(`${between(ours)} ${unit}`)];
  if (theirs.length) parts.push(`, readers ${range(theirs)}`);
  if (volume) {
    const length = unit === "mm³" ? "mm" : "pixels";
    parts.push(". Longest diameter in a slice ", bold(`${between(volume.hypotheses.diameter)} ${length}`));
    if (theirs.length) parts.push(`, readers ${range(volume.readers.diameter)}`);
  }
  at("sizes").replaceChildren(...parts, ".");
  const none = ours.filter((size) => size === 0).length;
  const seen = theirs.length ? ` Of ${theirs.length} readers who looked, ${theirs.filter((size) => !size).length} saw none.` : "";
  at("absent").replaceChildren("That a reader sees no ", name, ": ", bold(`${Math.round((100 * none) / ours.length)} %`),
    ` (${none} of ${ours.length} hypotheses).`, seen);
}
