// What may be said of a reader, where the model was calibrated: dashed outlines, and what goes with them in words.

import { array, json } from "./api.js";
import { rounded } from "./histogram.js";
import { CLASSES, outline, STATED } from "./paint.js";
import { at, binary, chosen, now, path, place } from "./state.js";

const UNITS = { mm2: "mm²", mm3: "mm³", pixels: "pixels" };
const DASHES = [[3, 3], [9, 5]]; // inner, outer
const percent = (share) => `${Number((100 * share).toPrecision(3))} %`;

// The switch, or the sentence that says why there is none; changed(): somebody turned it.
export function offered(changed) {
  const { calibration, no_calibration: none } = now.model;
  at("calibrated-choice").hidden = !calibration;
  at("uncalibrated").hidden = Boolean(calibration);
  at("uncalibrated").textContent = none ?? "";
  if (!calibration) chosen.calibrated = null;
  label(calibration?.risk);
  at("calibrated").checked = chosen.calibrated === "1";
  at("calibrated").addEventListener("change", () => {
    chosen.calibrated = at("calibrated").checked ? "1" : null;
    changed();
  });
}

const label = (risk) => { at("risk").textContent = `calibrated outline (risk ${risk})`; };

// The statements about what is shown: facts, a line a class and outline, and whether there is an inner and an outer one;
// or why there are none; null if nobody asks.
export async function stated() {
  if (!chosen.calibrated) return null;
  const query = `${place()}seed=${chosen.seed}`;
  try {
    const facts = await json(`${path()}/calibrated?${query}`); // one after the other: the server computes once
    label(facts.risk); // of now: the model may have been calibrated anew
    const { data, shape: [, classes, height, width] } = await array(`${path()}/outlines?${query}`, Uint8Array);
    const mask = (i) => data.subarray(i * height * width, (i + 1) * height * width);
    const lines = DASHES.flatMap((dash, which) => Array.from({ length: classes }, (_, k) => (
      { path: outline(mask(which * classes + k), width, height), dash, colour: colour(k) })));
    const some = DASHES.map((_, which) => data.subarray(which * data.length / 2, (which + 1) * data.length / 2).includes(1));
    return { facts, lines, some };
  } catch (error) { return { refused: error.message, lines: [] }; }
}

const colour = (k) => (binary() ? STATED : CLASSES[1 + (k % (CLASSES.length - 1))]);

// For View: every dashed line on a dark one, so that it is seen on any image.
export const dashed = () => (now.stated?.lines ?? []).flatMap((line) => {
  const { field: box } = now.stated.facts;
  return [{ ...line, dash: [], colour: "#000000aa", box, width: 3.5 }, { ...line, box, width: 2 }];
});

// For the legend: name, colour and class of each line, then the risk and the data that both are from.
export function named() {
  if (!now.stated?.facts) return [];
  const of = binary() ? STATED : "#e9edf1", { facts, some } = now.stated;
  const names = ["inner", "outer"].map((name, i) => `calibrated ${name} outline${some[i] ? "" : " (nothing here)"}`);
  return [[names[0], of, "dotted"], [names[1], of, "dashed"], [facts.words, "", "words"]];
}

function interval({ low, high, coverage }, what) {
  const unit = Object.keys(low).find((name) => name !== "pixels") ?? "pixels";
  const name = unit === "pixels" && what === "volume" ? "voxels" : UNITS[unit];
  const here = what === "area" && now.known.slices > 1 ? " in this slice" : "";
  return `a reader's ${what}${here} lies between ${rounded(low[unit])} and ${rounded(high[unit])} ${name} (coverage ${percent(coverage)})`;
}

// The numbers, always with the risk and the data that they were calibrated on.
export function tell() {
  const { stated: said } = now, lines = [];
  if (said?.refused) lines.push(said.refused);
  if (said?.facts) {
    for (const [name, part] of Object.entries(said.facts.classes)) {
      const what = "volume" in part ? "volume" : "area", none = part.nothing;
      lines.push(`Calibrated, ${name}: ${interval(part[what], what)}; that a reader marks nothing here: ${percent(none.probability)}`
        + ` (bounds ${percent(none.low)} and ${percent(none.high)}).`);
    }
    lines.push(`${said.facts.words[0].toUpperCase()}${said.facts.words.slice(1)}.`, ...said.facts.notes);
  }
  at("stated").hidden = !lines.length;
  at("stated").replaceChildren(...lines.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
}
