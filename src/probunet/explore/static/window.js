// Between which values the image is shown.

import { at, now } from "./state.js";

const PRESETS = { Lung: [-1350, 150], "Soft tissue": [-160, 240] };

// changed(): another window was chosen.
export function setWindow([least, most], [low, high], changed) {
  for (const [id, value] of [["low", low], ["high", high]]) {
    Object.assign(at(id), { min: least, max: most, step: (most - least) / 500 || 1 });
    at(id).value = value;
  }
  windowNumbers();
  at("presets").replaceChildren(...(now.known.unit === "HU" ? Object.entries(PRESETS) : []).map(([name, range]) => {
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => { [at("low").value, at("high").value] = range; windowNumbers(); changed(); });
    return button;
  }));
}

export function windowNumbers() {
  for (const id of ["low", "high"]) at(`${id}-number`).value = String(Number(Number(at(id).value).toPrecision(3)));
  at("window").textContent = `Window, ${now.known.unit}`;
}
