// The other two planes of a volume, through a place that is chosen by a click in any of the three.

import { array } from "./api.js";
import { sides } from "./overlay.js";
import { fresh, HANDLE, HYPOTHESIS, look, outline, picture, tint } from "./paint.js";
import { at, binary, chosen, field, now, path, place } from "./state.js";

// What is the same in all of a section, and what runs along it; a row runs from the back of the patient to the front.
const PLANES = [
  { id: "coronal", cut: "row", along: "column", first: "left", ends: ["left", "right"], mm: 1 },
  { id: "sagittal", cut: "column", along: "row", first: "top", ends: ["top", "bottom"], mm: 0 },
];

// moved({ slice, row, column }): somebody wants to see that place; the section's own row or column is not in it.
export class Sections {
  constructor(moved) {
    this.loaded = "";
    this.shown = [];
    for (const [i, plane] of PLANES.entries()) {
      const element = at(plane.id), pick = (event) => {
        const shown = this.shown[i], box = element.getBoundingClientRect();
        if (!shown?.scale) return;
        const [across, up, left, bottom] = shown.scale;
        moved({ slice: Math.floor((bottom - event.clientY + box.top) / up),
          [plane.along]: Math.floor((event.clientX - box.left - left) / across) + field()[plane.first] });
      };
      element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); pick(event); });
      element.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
      new ResizeObserver(() => this.draw()).observe(element);
    }
  }

  // Ask for what is not shown already; nothing where the hypotheses are no volumes.
  async load() {
    const { known, hypotheses } = now;
    at("sections").hidden = !hypotheses?.volume;
    if (!hypotheses?.volume) { this.loaded = ""; now.cut = null; return; }
    now.cut = inside(now.cut ?? {});
    const within = place().replace(/slice=\d+&/, ""), query = `${within}n=${chosen.n}&seed=${chosen.seed}`;
    const wanted = JSON.stringify([path(), query, known.field, now.cut]);
    if (wanted === this.loaded) return this.draw();
    this.loaded = wanted;
    const shown = await Promise.all(PLANES.map(async (plane) => {
      const where = `${path()}/sections/${plane.cut}/${now.cut[plane.cut]}`;
      const [image, readers, labels] = await Promise.all([array(`${where}/picture?${within}`, Float32Array),
        array(`${where}/readers?${within}`, Uint8Array), array(`${where}/labels?${query}`, Uint8Array)]);
      return { image, readers: parts(readers), labels: parts(labels) };
    }));
    if (wanted !== this.loaded) return; // somebody went on
    this.shown = shown;
    this.draw();
  }

  draw() { if (now.cut && now.image) PLANES.forEach((plane, i) => { if (this.shown[i]) section(plane, this.shown[i]); }); }
}

// The place of the sections, moved by what is given, within the field; the middle of it where nothing is known.
export function inside({ row, column }) {
  const { top, left, height, width } = field(), within = (value, first, size) =>
    Math.min(Math.max(value ?? first + Math.floor(size / 2), first), first + size - 1);
  return { row: within(row, top, height), column: within(column, left, width) };
}

function parts({ data, shape: [count, height, width] }) {
  return Array.from({ length: count }, (_, i) => data.subarray(i * height * width, (i + 1) * height * width));
}

// One section, its last slice above, in millimetres where they are known.
function section({ id, cut, along, first, ends, mm }, shown) {
  const { context, width, height } = fresh(at(id)), [, slices, columns] = shown.image.shape, { known } = now;
  const wide = known.spacing_mm?.[mm] ?? 1, tall = known.between_mm ?? known.spacing_mm?.[1] ?? 1;
  const zoom = 0.94 * Math.min(width / (columns * wide), height / (slices * tall)), across = wide * zoom, up = tall * zoom;
  const left = (width - columns * across) / 2, bottom = (height + slices * up) / 2;
  shown.scale = [across, up, left, bottom];
  const group = now.hypotheses.groups[now.hovered ?? chosen.pick], selected = !now.live && shown.labels[group.representative];
  context.save();
  context.transform(across, 0, 0, -up, left, bottom);
  context.drawImage(picture(shown.image, Number(at("low").value), Number(at("high").value)), 0, 0);
  if (selected && !binary()) context.drawImage(tint(selected, columns, slices), 0, 0);
  context.restore();
  const stroke = (labels, { colour, dash }, line) => {
    const path = new Path2D();
    path.addPath(outline(labels, columns, slices), new DOMMatrix([across, 0, 0, -up, left, bottom]));
    Object.assign(context, { strokeStyle: colour, lineWidth: line });
    context.setLineDash(dash ?? []);
    context.stroke(path);
  };
  if (binary()) {
    const marks = (labels) => labels.map((label) => (label < 255 ? label : 0)); // 255: nobody knows
    if (at("readers").checked) shown.readers.forEach((labels, i) => stroke(marks(labels), look(i), 1.5));
    if (at("every").checked) shown.labels.forEach((labels) => stroke(labels, { colour: `${HYPOTHESIS}66` }, 1));
    if (selected) stroke(selected, { colour: HYPOTHESIS }, 2.5);
  }
  Object.assign(context, { strokeStyle: `${HANDLE}bb`, lineWidth: 1 });
  context.setLineDash([2, 4]);
  context.beginPath();
  const y = bottom - (known.slice + 0.5) * up, x = left + (now.cut[along] - known.field[first] + 0.5) * across;
  context.moveTo(0, y); context.lineTo(width, y);
  context.moveTo(x, 0); context.lineTo(x, height);
  context.stroke();
  if (known.sides) sides(context, width, height, { left: known.sides[ends[0]], right: known.sides[ends[1]], top: known.sides.last, bottom: known.sides.first });
}
