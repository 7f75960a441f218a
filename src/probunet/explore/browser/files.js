// Pictures that can be opened without a server: 8-bit PNG and .npy; what would be read wrongly is refused.

const TYPES = { "|b1": Uint8Array, "|u1": Uint8Array, "|i1": Int8Array, "<u2": Uint16Array, "<i2": Int16Array,
  "<u4": Uint32Array, "<i4": Int32Array, "<f4": Float32Array, "<f8": Float64Array };

// { data: Float32Array, shape: [C, H, W], kind: type of the values as NumPy writes it }
export async function read(file, channels) {
  const bytes = await file.arrayBuffer();
  const picture = /\.npy$/i.test(file.name) ? ofNpy(bytes) : await ofPng(bytes);
  const { shape } = picture, [found, height, width] = shape.length === 2 ? [1, ...shape] : shape.slice(-3);
  if (shape.length > 4 || (shape.length === 4 && shape[0] !== 1)) throw new Error(`${file.name} is no single picture: ${shape.join(" x ")}`);
  if (found !== channels) throw new Error(`${file.name} has ${found} channel(s), the model takes ${channels}`);
  if (picture.data.some((v) => !Number.isFinite(v))) throw new Error(`${file.name} has values that are no numbers`);
  return { data: picture.data, shape: [found, height, width], kind: picture.kind };
}

function ofNpy(bytes) {
  const start = new Uint8Array(bytes, 0, Math.min(12, bytes.byteLength));
  if (String.fromCharCode(...start.slice(1, 6)) !== "NUMPY" || start[0] !== 0x93) throw new Error("this does not begin like .npy");
  const view = new DataView(bytes), [length, begin] = start[6] === 1 ? [view.getUint16(8, true), 10] : [view.getUint32(8, true), 12];
  const head = new TextDecoder("latin1").decode(new Uint8Array(bytes, begin, length));
  const kind = /'descr': '([^']*)'/.exec(head)?.[1], Type = TYPES[kind], shape = /'shape': \(([^)]*)\)/.exec(head)?.[1].split(",").filter((s) => s.trim()).map(Number);
  if (!Type || !shape || shape.length < 2 || !/'fortran_order': False/.test(head)) throw new Error("an array of plain numbers (H, W) or (C, H, W) in C order is needed");
  const count = shape.reduce((a, b) => a * b, 1), body = bytes.slice(begin + length);
  if (body.byteLength !== count * Type.BYTES_PER_ELEMENT) throw new Error("the file is cut short");
  return { data: Float32Array.from(new Type(body)), shape, kind };
}

async function ofPng(bytes) {
  const head = new Uint8Array(bytes, 0, Math.min(26, bytes.byteLength));
  if (head.length < 26 || String.fromCharCode(...head.slice(1, 4)) !== "PNG") throw new Error("this does not begin like a PNG; without a server PNG and .npy are read");
  const channels = { 0: 1, 2: 3 }[head[25]];
  if (head[24] !== 8 || !channels) throw new Error("a PNG of 8 bits in grey or colour is needed, without palette and transparency; give .npy instead");
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap, canvas = new OffscreenCanvas(width, height), context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const { data: rgba } = context.getImageData(0, 0, width, height), size = width * height, data = new Float32Array(channels * size);
  for (let i = 0; i < size; i++) {
    if (rgba[4 * i + 3] !== 255) throw new Error("a PNG without transparency is needed");
    for (let c = 0; c < channels; c++) data[c * size + i] = rgba[4 * i + c];
  }
  return { data, shape: [channels, height, width], kind: "|u1" };
}

// The bytes of an array of class ids.
export function npy(data, shape) {
  const text = `{'descr': '|u1', 'fortran_order': False, 'shape': (${shape.join(", ")}), }`, length = Math.ceil((text.length + 11) / 64) * 64 - 10;
  const bytes = new Uint8Array(10 + length + data.length);
  bytes.set([0x93, ..."NUMPY".split("").map((c) => c.charCodeAt(0)), 1, 0, length & 255, length >> 8]);
  bytes.set(new TextEncoder().encode(text.padEnd(length - 1) + "\n"), 10);
  bytes.set(data, 10 + length);
  return bytes;
}
