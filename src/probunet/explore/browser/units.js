// Raw values as the model sees them; refuses values in other units, as probunet.inference.units does.

const AIR = -1024;

// picture: { data, kind }, model: { unit, intensity: { offset, scale } }; gives values and what one should know of them.
export function normalised({ data, kind }, { unit, intensity: { offset, scale } }) {
  let note = "", raw = data;
  if (unit === "HU") {
    if (kind === "|u1" || kind === "|b1") throw new Error("the model was trained on Hounsfield units, these are 8-bit grey levels; give .npy of HU");
    if (kind.includes("f") && data.some((v) => v !== Math.round(v)) && data.every((v) => Math.abs(v) <= 8)) {
      throw new Error("the model was trained on Hounsfield units, these look normalised; give raw HU");
    }
    note = "unit not known; taken to be Hounsfield units, as in the model's training";
    raw = data.map((v) => Math.max(v, AIR));
  } else if (unit === "grey level" && kind !== "|u1") {
    throw new Error("the model was trained on grey levels from 0 to 255; give an 8-bit picture");
  }
  const [, least, most] = /(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)$/.exec(unit)?.map(Number) ?? [];
  if (least !== undefined && data.some((v) => v < least || v > most)) throw new Error(`the model was trained on ${unit}; convert the values first`);
  return { values: raw.map((v) => Math.fround((v - offset) / scale)), note };
}
