// Two dimensions of the latent space: prior, hypotheses, readers, and a handle to drag.

import { fresh, HANDLE, HYPOTHESIS, look } from "./paint.js";

const SIGMAS = 3.6;
const NEAREST = 15; // pixels between two numbers

// Places for numbers, each at its point or in a ring around it, so that no two lie on each other.
export function apart(points) {
  const placed = [];
  for (const [x, y] of points) {
    const around = [15, 30, 45].flatMap((far) => Array.from({ length: 12 }, (_, k) =>
      [x + far * Math.cos((k * Math.PI) / 6), y + far * Math.sin((k * Math.PI) / 6)]));
    const free = [[x, y], ...around].find(([a, b]) => placed.every(([c, d]) => Math.hypot(a - c, b - d) >= NEAREST));
    placed.push(free ?? [x, y]);
  }
  return placed;
}

export class Plane {
  // state(): { latent, z, across, up, latents }; moved(z): the handle was dragged
  constructor(element, state, moved) {
    Object.assign(this, { element, state, moved });
    const drag = (event) => { if (event.buttons) this.drag(event); };
    element.addEventListener("pointerdown", (event) => { element.setPointerCapture(event.pointerId); this.drag(event); });
    element.addEventListener("pointermove", drag);
    element.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  drag(event) {
    const { latent, z, across, up } = this.state();
    if (!latent) return;
    const box = this.element.getBoundingClientRect(), { mean, sigma } = latent.prior, moved = [...z];
    moved[across] = mean[across] + sigma[across] * SIGMAS * (2 * (event.clientX - box.left) / box.width - 1);
    moved[up] = mean[up] - sigma[up] * SIGMAS * (2 * (event.clientY - box.top) / box.height - 1);
    this.moved(moved);
  }

  key(event) {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
    const { latent, z, across, up } = this.state();
    if (!step || !latent) return;
    event.preventDefault();
    event.stopPropagation();
    const moved = [...z];
    moved[across] += 0.1 * step[0] * latent.prior.sigma[across];
    moved[up] += 0.1 * step[1] * latent.prior.sigma[up];
    this.moved(moved);
  }

  draw() {
    const { context, width, height } = fresh(this.element), { latent, z, across, up, latents } = this.state();
    if (!latent) return;
    const { mean, sigma } = latent.prior;
    const x = (v) => (width / 2) * (1 + (v[across] - mean[across]) / (SIGMAS * sigma[across]));
    const y = (v) => (height / 2) * (1 - (v[up] - mean[up]) / (SIGMAS * sigma[up]));
    context.strokeStyle = "#596573";
    for (const k of [1, 2, 3]) {
      context.beginPath();
      context.ellipse(width / 2, height / 2, (k * width) / (2 * SIGMAS), (k * height) / (2 * SIGMAS), 0, 0, 2 * Math.PI);
      context.stroke();
    }
    context.fillStyle = HYPOTHESIS;
    for (const one of latents || []) {
      context.beginPath();
      context.arc(x(one), y(one), 2.5, 0, 2 * Math.PI);
      context.fill();
    }
    context.font = "bold 13px system-ui";
    context.textAlign = "center";
    context.textBaseline = "middle";
    const points = latent.readers.map((reader) => [x(reader.mean), y(reader.mean)]);
    apart(points).forEach(([left, top], i) => {
      context.fillStyle = context.strokeStyle = look(i).colour;
      context.beginPath();
      context.moveTo(...points[i]);
      context.lineTo(left, top);
      context.stroke();
      context.fillText(String(i + 1), left, top);
    });
    context.strokeStyle = HANDLE;
    context.lineWidth = 3;
    context.beginPath();
    context.arc(x(z), y(z), 9, 0, 2 * Math.PI);
    context.stroke();
    context.lineWidth = 1;
  }
}
