// The slices of a volume: a bar across the plane that shows which of them readers and hypotheses mark.

import { fresh, HANDLE, HYPOTHESIS, look } from "./paint.js";

export class Slices {
  // state(): { slice, slices, volume, sides } of the shown case; chosen(slice): somebody wants to see that one
  constructor(element, state, chosen) {
    Object.assign(this, { element, state, chosen });
    const pick = (event) => {
      const box = element.getBoundingClientRect(), { slices } = state();
      chosen(slices - 1 - Math.floor(((event.clientY - box.top) / box.height) * slices));
    };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); pick(event); });
    element.addEventListener("pointermove", (event) => { if (event.buttons) pick(event); });
    new ResizeObserver(() => this.draw()).observe(element);
  }

  // The last slice is above, as the head is; hypotheses by how many mark a slice, readers by a line each.
  draw() {
    const { slice, slices, volume, sides } = this.state();
    if (!slices || slices === 1) return;
    const { context, width, height } = fresh(this.element), tall = height / slices, top = (s) => (slices - 1 - s) * tall;
    if (volume) {
      const { hypotheses, readers } = volume, shares = Array.from({ length: slices }, (_, s) =>
        hypotheses.pixels.reduce((sum, pixels) => sum + (pixels[s] > 0), 0) / hypotheses.pixels.length);
      context.fillStyle = HYPOTHESIS;
      shares.forEach((share, s) => context.fillRect(0, top(s), share * (width / 2 - 2), Math.max(tall - 1, 0.5)));
      const wide = (width / 2) / Math.max(readers.pixels.length, 1);
      readers.pixels.forEach((pixels, r) => {
        context.fillStyle = look(r).colour;
        pixels.forEach((count, s) => {
          if (count) context.fillRect(width / 2 + r * wide + 1, top(s), Math.max(Math.min(wide - 2, 6), 1), tall + 0.5);
        });
      });
    }
    context.strokeStyle = HANDLE;
    context.lineWidth = 2;
    context.strokeRect(1, Math.min(top(slice), height - 3), width - 2, Math.max(tall, 3));
    if (sides) {
      context.fillStyle = "#e9edf1";
      context.font = "bold 12px system-ui";
      context.textAlign = "right";
      context.fillText(sides.last, width - 3, 13);
      context.fillText(sides.first, width - 3, height - 4);
    }
  }
}
