// A distance between two points of the image: in mm where the size of a pixel is known, in pixels elsewhere.

import { words } from "./overlay.js";
import { HANDLE } from "./paint.js";

export class Ruler {
  // told(text): what was measured, or nothing
  constructor(told) {
    Object.assign(this, { told, on: false, from: null, to: null });
  }

  begin(place) { this.from = this.to = place; }

  drag(place) { this.to = place; }

  clear() {
    this.from = this.to = null;
    this.told("");
  }

  // Points are row and column, in pixels of the image; spacing: mm of a row and of a column.
  text(spacing) {
    const [rows, columns] = this.to.map((end, axis) => (end - this.from[axis]) * (spacing?.[axis] ?? 1));
    return `${Math.hypot(rows, columns).toFixed(1)} ${spacing ? "mm" : "pixels"}`;
  }

  draw(context, onScreen, spacing) {
    if (!this.from) return;
    const [start, end] = [onScreen(...this.from), onScreen(...this.to)], text = this.text(spacing);
    context.strokeStyle = HANDLE;
    context.lineWidth = 2;
    context.setLineDash([]);
    context.beginPath();
    context.moveTo(...start);
    context.lineTo(...end);
    for (const [x, y] of [start, end]) { context.moveTo(x + 3, y); context.arc(x, y, 3, 0, 2 * Math.PI); }
    context.stroke();
    words(context, text, end[0] + 8, end[1] - 12, "left");
    this.told(`distance ${text}`);
  }
}
