// What a list is asked for: a wish, and rules that it must keep.

import { h, paused } from "/web/dom.js";

let count = 0;

/** The controls. changed: called when the list has to be asked for again. */
export function settingsPanel(info, changed, { wishLabel = "A wish" } = {}) {
  const id = ++count;
  const later = paused(changed, 250);
  const wish = h("input", { type: "text", maxlength: "1000", placeholder: "In words: for a rainy Sunday …", oninput: later });
  const seen = box("Show what was bought, too", changed);
  const variant = box("One item of a title", changed);
  const diverse = h("input", { type: "range", min: "0", max: "0.9", step: "0.1", value: "0", id: `diverse-${id}`,
                               oninput: () => { shown.textContent = diverse.value; later(); } });
  const shown = h("output", { for: `diverse-${id}` }, "0");
  const element = h("div", { class: "stack" },
    h("label", {}, h("span", { class: "label" }, wishLabel), wish),
    h("fieldset", {}, h("legend", { class: "visually-hidden" }, "Rules"), seen.element, variant.element),
    info.diversity
      ? h("label", {}, h("span", { class: "label spread" }, h("span", {}, "Diversity"), shown), diverse) : null);

  /** The part of a request that these say. */
  const asked = () => ({
    ...(wish.value.trim() ? { wish: wish.value.trim() } : {}),
    rules: {
      ...(seen.field.checked ? { exclude_seen: false } : {}),
      ...(variant.field.checked ? { one_variant: true } : {}),
      ...(Number(diverse.value) ? { diversity: Number(diverse.value) } : {}),
    },
  });
  return { element, asked };
}

function box(text, changed) {
  const field = h("input", { type: "checkbox", onchange: changed });
  return { field, element: h("label", { class: "check" }, field, text) };
}
