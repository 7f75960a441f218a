// The groups of hypotheses, most frequent first, a small picture each.

import { windowed } from "./layers.js";
import { canvas, HYPOTHESIS, outline, tint } from "./paint.js";
import { at, binary, chosen, field, hypothesis, now } from "./state.js";

// selected(i): a group was chosen; hovered(i or null): the pointer lies on it.
export function filmstrip(selected, hovered) {
  const box = field(), grey = windowed();
  at("strip").replaceChildren(...now.hypotheses.groups.map((group, i) => {
    const item = document.createElement("button"), map = hypothesis(group.representative);
    const whole = now.hypotheses.volume?.hypotheses.size[group.representative], empty = !map.some((v) => v > 0);
    const text = `${Math.round(100 * group.frequency)} %${!empty ? "" : whole ? ", not here" : ", empty"}`;
    item.className = "group";
    item.setAttribute("role", "option");
    item.setAttribute("aria-label", `group ${i + 1}: ${text}`);
    item.append(small(grey, map, box), text);
    item.addEventListener("click", () => selected(i));
    item.addEventListener("mouseenter", () => hovered(i));
    item.addEventListener("mouseleave", () => hovered(null));
    return item;
  }));
}

function small(grey, map, box) {
  const made = canvas(148, 148), context = made.getContext("2d"), scale = 148 / Math.max(box.width, box.height);
  context.scale(scale, scale);
  context.drawImage(grey, box.left, box.top, box.width, box.height, 0, 0, box.width, box.height);
  if (binary()) {
    context.strokeStyle = HYPOTHESIS;
    context.lineWidth = 4 / scale;
    context.stroke(outline(map, box.width, box.height));
  } else context.drawImage(tint(map, box.width, box.height), 0, 0);
  return made;
}

export function mark() {
  for (const [i, item] of [...at("strip").children].entries()) item.setAttribute("aria-selected", String(i === chosen.pick && !now.live));
}
