// f_comb in the browser: 1x1 convolutions on W_f f + b, which the server sends once, and W_z z.
// The first layer's share of z is the same at every pixel, so a new z costs the small layers alone.

export class FComb {
  // combine: {from_latent: [channels][D], layers: [{weight: [out][in], bias: [out]}]}
  // features: Float32Array, pixel after pixel, `channels` numbers each
  constructor(combine, features) {
    this.fromLatent = combine.from_latent;
    this.features = features;
    this.channels = combine.from_latent.length;
    // Doubles: JavaScript computes in them, and converting every weight at every pixel would cost more than room.
    this.layers = combine.layers.map(({ weight, bias }) => ({
      weight: Float64Array.from(weight.flat()),
      bias: Float64Array.from(bias),
      inputs: weight[0].length,
      outputs: bias.length,
      result: new Float64Array(bias.length),
    }));
  }

  // The most probable class of every pixel for one latent. The probabilities of the classes are added to `shares`, if
  // given: class after class, `pixels` numbers each.
  labels(z, shares = null) {
    const { features, channels, layers } = this;
    const shift = Float64Array.from(this.fromLatent, (row) => row.reduce((sum, w, d) => sum + w * z[d], 0));
    const labels = new Uint8Array(features.length / channels);
    const first = new Float64Array(channels);
    const logits = layers[layers.length - 1].result;
    for (let pixel = 0, at = 0; pixel < labels.length; pixel++) {
      for (let c = 0; c < channels; c++, at++) first[c] = Math.max(features[at] + shift[c], 0);
      let x = first;
      for (let l = 0; l < layers.length; l++) {
        multiply(layers[l], x, l + 1 < layers.length);
        x = layers[l].result;
      }
      let best = 0;
      for (let k = 1; k < logits.length; k++) if (logits[k] > logits[best]) best = k;
      labels[pixel] = best;
      if (shares) {
        const sum = logits.reduce((total, logit) => total + Math.exp(logit - logits[best]), 0);
        for (let k = 0; k < logits.length; k++) shares[k * labels.length + pixel] += Math.exp(logits[k] - logits[best]) / sum;
      }
    }
    return labels;
  }
}

// result = weight x + bias, with ReLU if asked. Four sums at once keep the processor's units busy.
function multiply({ weight, bias, inputs, outputs, result }, x, relu) {
  let o = 0;
  for (; o + 4 <= outputs; o += 4) {
    let a = bias[o], b = bias[o + 1], c = bias[o + 2], d = bias[o + 3];
    let p = o * inputs, q = p + inputs, r = q + inputs, s = r + inputs;
    for (let i = 0; i < inputs; i++) {
      const value = x[i];
      a += weight[p++] * value;
      b += weight[q++] * value;
      c += weight[r++] * value;
      d += weight[s++] * value;
    }
    result[o] = relu ? Math.max(a, 0) : a;
    result[o + 1] = relu ? Math.max(b, 0) : b;
    result[o + 2] = relu ? Math.max(c, 0) : c;
    result[o + 3] = relu ? Math.max(d, 0) : d;
  }
  for (; o < outputs; o++) {
    let a = bias[o];
    for (let i = 0, p = o * inputs; i < inputs; i++) a += weight[p++] * x[i];
    result[o] = relu ? Math.max(a, 0) : a;
  }
}
