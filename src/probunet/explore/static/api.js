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

// The file that a path answers with, under the name that the answer gives it.
export async function save(path) {
  const response = await answer(path), link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = decodeURIComponent(/UTF-8''(\S+)/.exec(response.headers.get("Content-Disposition"))[1]);
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
