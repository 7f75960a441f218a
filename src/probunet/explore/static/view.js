// The image, moved and zoomed, with what is drawn over it.

import { words } from "./overlay.js";
import { fresh } from "./paint.js";

export class View {
  // layers(): { image, over: [{ image, box }], paths: [{ path, box, colour, width, dash }] }, all in pixels of the image
  // and a function of (context, width, height, zoom, onScreen) that draws beside it, or none
  // placed(row, column): somebody clicked twice there; pointed(row, column): somebody points there, or nowhere
  // turned(by): the wheel was turned while slices lie behind the shown one; true where it was of use
  // ruler: takes what is dragged while it is on
  constructor(element, layers, placed, pointed, turned, ruler) {
    Object.assign(this, { element, layers, turned, ruler });
    this.zoom = 1;
    this.centre = [0, 0];
    this.pointers = new Map();
    element.addEventListener("pointerdown", (event) => this.press(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) {
      element.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    }
    element.addEventListener("dblclick", (event) => { if (!ruler.on) placed(...this.place(event)); });
    element.addEventListener("pointermove", (event) => pointed(...this.place(event)));
    element.addEventListener("pointerleave", () => pointed(null, null));
    element.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    new ResizeObserver(() => (this.whole ? this.fit(this.whole) : this.draw())).observe(element);
  }

  // Row and column of the image under the pointer.
  place(event) {
    const box = this.element.getBoundingClientRect();
    return [this.centre[1] + (event.clientY - box.top - box.height / 2) / this.zoom,
      this.centre[0] + (event.clientX - box.left - box.width / 2) / this.zoom];
  }

  // Show all of a box, also when the canvas changes its size, until somebody moves or zooms.
  fit(box) {
    this.whole = box;
    const { top, left, width, height } = box, shown = this.element.getBoundingClientRect();
    this.zoom = 0.94 * Math.min(shown.width / width, shown.height / height);
    this.centre = [left + width / 2, top + height / 2];
    this.draw();
  }

  press(event) {
    this.element.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
    if (this.ruler.on) {
      this.ruler.begin(this.place(event));
      this.draw();
    }
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    if (this.ruler.on && this.pointers.size === 1) {
      this.ruler.drag(this.place(event));
      this.draw();
      return;
    }
    this.whole = null;
    const now = [event.clientX, event.clientY], others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    if (others.length) { // two fingers: zoom
      const far = ([x, y]) => Math.hypot(x - others[0][1][0], y - others[0][1][1]);
      this.zoom *= far(now) / Math.max(far(before), 1);
    } else {
      this.centre = this.centre.map((c, i) => c - (now[i] - before[i]) / this.zoom);
    }
    this.pointers.set(event.pointerId, now);
    this.draw();
  }

  wheel(event) {
    event.preventDefault();
    if (!event.ctrlKey && !event.metaKey && this.turned(event.deltaY)) return;
    const box = this.element.getBoundingClientRect();
    const from = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    this.zoomBy(Math.exp(-event.deltaY / 400), from);
  }

  // Zoom around a point that stays where it is, in CSS pixels from the middle.
  zoomBy(factor, from = [0, 0]) {
    const zoom = Math.min(Math.max(this.zoom * factor, 0.1), 80);
    this.whole = null;
    this.centre = this.centre.map((c, i) => c + from[i] / this.zoom - from[i] / zoom);
    this.zoom = zoom;
    this.draw();
  }

  draw() {
    const { context, width, height } = fresh(this.element), { image, over, paths, beside } = this.layers();
    if (!image) {
      words(context, "Open a picture, or drop one here.", width / 2, height / 2, "center");
      return;
    }
    context.translate(width / 2, height / 2);
    context.scale(this.zoom, this.zoom);
    context.translate(-this.centre[0], -this.centre[1]);
    context.imageSmoothingEnabled = this.zoom < 3;
    context.drawImage(image, 0, 0);
    for (const { image: map, box, alpha } of over) {
      context.globalAlpha = alpha ?? 1;
      context.drawImage(map, box.left, box.top);
    }
    context.globalAlpha = 1;
    for (const { path, box, colour, width: line, dash } of paths) {
      context.save();
      context.translate(box.left, box.top);
      context.strokeStyle = colour;
      context.lineWidth = line / this.zoom;
      context.setLineDash((dash || []).map((d) => d / this.zoom));
      context.stroke(path);
      context.restore();
    }
    const ratio = window.devicePixelRatio || 1;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    beside?.(context, width, height, this.zoom, (row, column) => [
      width / 2 + (column - this.centre[0]) * this.zoom, height / 2 + (row - this.centre[1]) * this.zoom,
    ]);
  }
}
