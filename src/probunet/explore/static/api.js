// What the server is asked: see /api and /openapi.json.

async function answer(path, options) {
  const response = await fetch(path, options);
  if (!response.ok) {
    const text = await response.text();
    let detail = text;
    try { detail = JSON.parse(text).detail; } catch { /* plain text */ }
    throw new Error(typeof detail === "string" ? detail : `the server refused (${response.status})`);
  }
  return response;
}

export const json = async (path, options) => (await answer(path, options)).json();

// Numbers of an array with its shape.
export async function array(path, Type) {
  const response = await answer(path);
  const shape = response.headers.get("X-Shape").split(",").map(Number);
  return { shape, data: new Type(await response.arrayBuffer()) };
}

export const upload = (file) =>
  json(`/api/images?name=${encodeURIComponent(file.name)}`, { method: "POST", body: file });

export async function save(path, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await (await answer(path)).blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
