// How large the hypotheses are: bars over hypotheses, ticks for the readers, 90 % of the hypotheses and their median.

import { fresh, HYPOTHESIS, look } from "./paint.js";

// The value below which a share of the values lies; between two of them it is interpolated.
export function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b), place = share * (sorted.length - 1), low = Math.floor(place);
  return sorted[low] + (place - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
}

export const rounded = (value) => (value >= 100 ? Math.round(value).toLocaleString("en") : value.toFixed(1));

export function histogram(element, areas, readers, unit) {
  const { context, width, height } = fresh(element), bins = 16, base = height - 16;
  const most = Math.max(...areas, ...readers, 1), counts = new Array(bins).fill(0), x = (value) => (value / most) * (width - 3);
  for (const area of areas) counts[Math.min(Math.floor((area / most) * bins), bins - 1)]++;
  const highest = Math.max(...counts), [low, median, high] = [0.05, 0.5, 0.95].map((share) => quantile(areas, share));
  context.fillStyle = "#2f3a45";
  context.fillRect(x(low), 0, x(high) - x(low) + 3, base);
  context.fillStyle = HYPOTHESIS;
  counts.forEach((count, i) => {
    const tall = ((base - 8) * count) / highest;
    context.fillRect((i * width) / bins + 1, base - tall, width / bins - 2, tall);
  });
  context.fillStyle = "#e9edf1";
  context.fillRect(x(median) + 1, 0, 1, base);
  readers.forEach((area, i) => {
    context.fillStyle = look(i).colour;
    context.fillRect(x(area), 0, 3, base);
  });
  context.fillStyle = "#a9b4bf";
  context.font = "12px system-ui";
  context.fillText("0", 0, height - 3);
  const end = `${rounded(most)} ${unit}`;
  context.fillText(end, width - context.measureText(end).width, height - 3);
}
