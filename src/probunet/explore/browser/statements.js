// What may be said of a reader, from hypotheses that were drawn for it alone, as probunet.metrics.risk_control has it.

import { quantile } from "./histogram.js";

// Of the hypotheses of the statements, which are other ones than those that are shown.
export const seedOf = (seed) => (seed ^ 0x5eed5eed) >>> 0;

// Ends of a reader's area in pixels, from the areas of the hypotheses.
function interval(areas, risk, widening) {
  const logs = areas.map(Math.log1p), [low, middle, high] = [risk / 2, 0.5, 1 - risk / 2].map((share) => quantile(logs, share));
  return [Math.max(Math.expm1(Math.min(low - widening, middle)), 0), Math.expm1(Math.max(high + widening, middle))];
}

// Facts as the server gives them, and masks (inner and outer, class after class without background) one after the other.
// drawn: labels of n hypotheses and probabilities, class after class; calibration: see static_site.py.
export function stated({ labels, probabilities, n, size }, { risk, words, hypotheses, notes, sizes, classes }, field) {
  const masks = new Uint8Array(2 * classes.length * size), facts = {};
  classes.forEach(({ name, inner, outer, widening, empty }, k) => {
    const counts = [inner ?? Infinity, outer ?? Infinity].map((threshold, which) => {
      const mask = masks.subarray((which * classes.length + k) * size, (which * classes.length + k + 1) * size);
      for (let i = 0; i < size; i++) mask[i] = Number(probabilities[(k + 1) * size + i] >= threshold);
      return { pixels: mask.reduce((sum, v) => sum + v, 0) };
    });
    const areas = Array.from({ length: n }, (_, h) =>
      labels.subarray(h * size, (h + 1) * size).reduce((sum, label) => sum + (label === k + 1), 0));
    const [from, to] = interval(areas, risk, widening).map((end) => Math.min(end, size)), [low, high] = empty[areas.filter((area) => !area).length];
    facts[name] = { inner: counts[0], outer: counts[1], area: { coverage: 1 - risk, low: { pixels: from }, high: { pixels: to } },
      nothing: { probability: high / (1 - low + high), low, high } };
  });
  const [least, most] = sizes, seen = [field.height, field.width], by = (sides) => sides.join("x");
  const other = seen.some((side, i) => side < least[i] || side > most[i]);
  const were = by(least) === by(most) ? by(least) : `${by(least)} to ${by(most)}`;
  return { masks, facts: { field, words, risk, hypotheses, classes: facts,
    notes: [...notes, ...(other ? [`calibrated on fields of ${were} px; the model sees ${by(seen)} px here`] : [])] } };
}
