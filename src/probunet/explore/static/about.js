// What a person should know of the model, and what words and keys mean: two windows over the page.

import { at } from "./state.js";

function element(kind, text) {
  const made = document.createElement(kind);
  made.textContent = text;
  return made;
}

// facts: titles with lines, of the server.
export function about(facts) {
  at("about-facts").replaceChildren(...facts.flatMap(({ title, lines }) => [element("h3", title), ...lines.map((line) => element("p", line))]));
  for (const id of ["about", "help"]) {
    at(`open-${id}`).addEventListener("click", () => at(id).showModal());
    at(`close-${id}`).addEventListener("click", () => at(id).close());
  }
}
