// How large the hypotheses are: bars over hypotheses, ticks for the readers.

import { fresh, HYPOTHESIS, READERS } from "./paint.js";

export function histogram(element, areas, readers, unit) {
  const { context, width, height } = fresh(element), bins = 16, base = height - 16;
  const most = Math.max(...areas, ...readers, 1), counts = new Array(bins).fill(0);
  for (const area of areas) counts[Math.min(Math.floor((area / most) * bins), bins - 1)]++;
  const highest = Math.max(...counts);
  context.fillStyle = HYPOTHESIS;
  counts.forEach((count, i) => {
    const tall = ((base - 8) * count) / highest;
    context.fillRect((i * width) / bins + 1, base - tall, width / bins - 2, tall);
  });
  readers.forEach((area, i) => {
    context.fillStyle = READERS[i % READERS.length];
    context.fillRect((area / most) * (width - 3), 0, 3, base);
  });
  context.fillStyle = "#a9b4bf";
  context.font = "12px system-ui";
  context.fillText("0", 0, height - 3);
  const end = `${most >= 100 ? Math.round(most) : most.toFixed(1)} ${unit}`;
  context.fillText(end, width - context.measureText(end).width, height - 3);
}
