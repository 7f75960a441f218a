// Buttons, sliders, keys and the pointer, in terms of what the page can do.

import { sliders } from "./latent.js";
import { at, chosen, now, say } from "./state.js";
import { windowNumbers } from "./window.js";

// Give every control its verb of the page: what it does and the parts that draw.
export function wire(page) {
  at("cases").addEventListener("change", () => page.open(at("cases").value));
  at("previous").addEventListener("click", () => page.step(-1));
  at("next").addEventListener("click", () => page.step(1));
  at("file").addEventListener("change", () => { if (at("file").files.length) page.take(at("file").files[0]); });
  at("file").addEventListener("click", () => { at("file").value = ""; }); // the same file again is a change too
  for (const [id, key] of [["n", "n"], ["distance", "distance"]]) {
    at(id).value = chosen[key];
    at(id).addEventListener("change", () => {
      chosen[key] = Number(at(id).value);
      page.draw().catch((error) => say(error.message));
    });
  }
  for (const id of ["readers", "every"]) at(id).addEventListener("change", page.show);
  for (const radio of document.getElementsByName("map")) {
    radio.checked = radio.value === chosen.map;
    radio.addEventListener("change", () => { chosen.map = radio.value; page.show(); });
  }
  for (const id of ["low", "high"]) {
    at(id).addEventListener("input", () => { windowNumbers(); page.view.draw(); page.sections.draw(); });
    at(id).addEventListener("change", page.film);
  }
  at("reader").addEventListener("change", () => {
    chosen.reader = at("reader").value || null;
    page.open(chosen.case, { slice: chosen.slice, row: chosen.row, column: chosen.column, stay: true });
  });
  at("slice").addEventListener("input", () => page.goTo(Number(at("slice").value)));
  at("fit").addEventListener("click", page.fit);
  at("whole").addEventListener("click", page.whole);
  for (const id of ["across", "up"]) {
    at(id).addEventListener("change", () => { chosen[id] = Number(at(id).value); sliders(page.decode); page.show(); });
  }
  at("mean").addEventListener("click", () => { chosen.z = [...now.known.latent.prior.mean]; page.decode(); });
  at("save").addEventListener("click", () => page.exported(false));
  at("save-all").addEventListener("click", () => page.exported(true));
  at("link").addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(location.href); say("The address is on the clipboard."); } catch { say(location.href); }
  });
  let down = [0, 0];
  at("view").addEventListener("pointerdown", (event) => { down = [event.clientX, event.clientY]; });
  at("view").addEventListener("click", (event) => {
    const [row, column] = page.view.place(event).map(Math.floor);
    if (!page.ruler.on && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 3) page.through({ row, column });
  });
  at("ruler").addEventListener("change", () => page.measure(at("ruler").checked));
  document.addEventListener("keydown", (event) => pressed(page, event));
  const over = (shown) => (event) => { event.preventDefault(); at("drop").hidden = !shown; };
  document.addEventListener("dragover", over(true));
  at("drop").addEventListener("dragleave", over(false));
  document.addEventListener("drop", (event) => {
    over(false)(event);
    if (event.dataTransfer.files.length) page.take(event.dataTransfer.files[0]);
  });
  window.addEventListener("resize", () => { if (now.hypotheses) page.sizes(); });
}

// Keys, where nobody types: arrows for groups and slices, and a letter for what the mouse does.
function pressed(page, event) {
  const typing = ["INPUT", "SELECT"].includes(event.target.tagName) && event.target.type !== "checkbox";
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 5, PageDown: -5 }[event.key];
  const other = { "[": () => page.step(-1), "]": () => page.step(1), "?": () => at("help").showModal(), m: () => page.measure(!page.ruler.on),
    Escape: () => page.measure(false) }[event.key];
  const zooms = { "+": () => page.view.zoomBy(1.25), "-": () => page.view.zoomBy(0.8), 0: page.whole,
    f: () => page.move(page.view.centre[1], page.view.centre[0]) }[event.key];
  if (by && now.hypotheses && now.labels) { event.preventDefault(); page.select(chosen.pick + by); }
  if (steps && now.known?.slices > 1) { event.preventDefault(); page.goTo(now.known.slice + steps); }
  other?.();
  if (now.image) zooms?.();
}
