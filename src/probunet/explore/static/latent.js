// The controls beside the latent plane: which two dimensions it shows, and a slider for each of the others.

import { at, chosen, now } from "./state.js";

// moved(): the latent was changed.
export function latentControls(moved) {
  const latent = now.known.latent, dims = latent?.prior.mean.length ?? 0;
  at("latent").hidden = dims === 0;
  if (dims && (chosen.across === null || chosen.across >= dims)) [chosen.across, chosen.up] = telling(latent);
  for (const key of ["across", "up"]) {
    at(key).replaceChildren(...Array.from({ length: dims }, (_, d) => new Option(`z${d + 1}`, String(d))));
    at(key).value = String(chosen[key]);
  }
  sliders(moved);
}

// The two dimensions in which the readers' posteriors differ most from the prior (KL); the first two without readers.
function telling({ prior, readers: posteriors }) {
  const nats = prior.mean.map((mean, d) => posteriors.reduce((sum, q) => {
    const [ratio, shift] = [q.sigma[d] / prior.sigma[d], (q.mean[d] - mean) / prior.sigma[d]];
    return sum + (ratio ** 2 + shift ** 2 - 1) / 2 - Math.log(ratio);
  }, 0));
  const order = nats.map((_, d) => d).sort((a, b) => nats[b] - nats[a]);
  return [order[0], order[1] ?? order[0]];
}

export function sliders(moved) {
  const latent = now.known?.latent, holder = at("sliders");
  if (!latent) return;
  const { mean, sigma } = latent.prior, wanted = mean.map((_, d) => d).filter((d) => d !== chosen.across && d !== chosen.up);
  if (holder.dataset.dims !== wanted.join()) {
    holder.dataset.dims = wanted.join();
    holder.replaceChildren(...wanted.map((d) => slider(d, moved)));
  }
  for (const d of wanted) at(`z${d}`).value = (chosen.z[d] - mean[d]) / sigma[d];
}

function slider(d, moved) {
  const label = document.createElement("label"), input = document.createElement("input");
  Object.assign(input, { type: "range", min: -3, max: 3, step: 0.05, id: `z${d}` });
  input.addEventListener("input", () => {
    const { mean, sigma } = now.known.latent.prior;
    chosen.z = chosen.z.map((v, i) => (i === d ? mean[d] + sigma[d] * Number(input.value) : v));
    moved();
  });
  label.append(`z${d + 1}`, input);
  return label;
}
