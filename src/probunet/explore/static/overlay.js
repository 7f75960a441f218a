// What helps to read the image: a scale, the sides of the patient, and a bar of colours with its numbers.

import { VIRIDIS } from "./paint.js";

const BARS = [1, 2, 5, 10, 20, 50, 100, 200];
const SOFT = "#e9edf1";

export function words(context, text, x, y, align) {
  context.font = "bold 13px system-ui";
  context.textAlign = align;
  context.textBaseline = "middle";
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.strokeText(text, x, y);
  context.fillStyle = SOFT;
  context.fillText(text, x, y);
}

// A bar of so many mm; zoom is CSS pixels a pixel of the image, `spacing` its mm across.
export function scale(context, height, zoom, spacing) {
  const fits = BARS.filter((mm) => (mm / spacing) * zoom <= 140);
  if (!fits.length) return;
  const mm = fits[fits.length - 1], long = (mm / spacing) * zoom;
  context.fillStyle = "#000";
  context.fillRect(11, height - 15, long + 2, 5);
  context.fillStyle = SOFT;
  context.fillRect(12, height - 14, long, 3);
  words(context, `${mm} mm`, 12, height - 25, "left");
}

export function sides(context, width, height, { left, right, top, bottom }) {
  words(context, left, 12, height / 2, "center");
  words(context, right, width - 12, height / 2, "center");
  words(context, top, width / 2, 12, "center");
  words(context, bottom, width / 2, height - 12, "center");
}

// From 0 to 1, with the name of what is shown.
export function colours(context, width, name) {
  const long = 120, left = width - long - 34;
  const ramp = context.createLinearGradient(left, 0, left + long, 0);
  VIRIDIS.forEach((colour, i) => ramp.addColorStop(i / (VIRIDIS.length - 1), `rgb(${colour.join()})`));
  context.fillStyle = ramp;
  context.fillRect(left, 12, long, 8);
  words(context, "0", left - 9, 16, "center");
  words(context, "1", left + long + 9, 16, "center");
  words(context, name, left + long / 2, 31, "center");
}
