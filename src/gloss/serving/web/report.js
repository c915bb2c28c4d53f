// Report: the page of the run that the bundle was made of, inside this one.

import { text } from "/web/api.js";
import { h } from "/web/dom.js";

export function open(main, info) {
  if (!info.report) {
    main.replaceChildren(
      h("h1", {}, "Report"),
      h("p", { class: "lead" }, "Start the service with --report and the report of the run that the bundle was made of, and it is shown here."));
    return () => {};
  }
  const place = h("div");
  main.replaceChildren(h("h1", { class: "visually-hidden" }, "Report"), place);
  let isOpen = true;
  text("/v1/report").then((html) => isOpen && show(place, html));
  return () => { isOpen = false; };
}

const identity = { createHTML: (html) => html };
const policy = window.trustedTypes?.createPolicy("gloss-report", identity) ?? identity;

/** The report in a shadow tree: its styles stay in it, and no script of it would run.
 *
 * Our policy follows no style in HTML, not even while it is parsed: styles get other names first,
 * and are then set by this script, which may.
 */
function show(place, html) {
  const inert = html.replaceAll(" style=\"", " data-style=\"").replace(/(<\/?)style\b/g, "$1data-style");
  const page = new DOMParser().parseFromString(policy.createHTML(inert), "text/html");
  const root = place.attachShadow({ mode: "open" });
  root.adoptedStyleSheets = [...page.querySelectorAll("data-style")].map((style) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(style.textContent.replaceAll(":root", ":host")
      .replace(/^(html|body) \{/gm, ":host {").replace(/^( *)main \{/gm, "$1.report {"));
    style.remove();
    return sheet;
  });
  for (const element of page.querySelectorAll("[data-style]")) {
    element.style.cssText = element.getAttribute("data-style");
    element.removeAttribute("data-style");
  }
  root.append(h("div", { class: "report" }, ...page.querySelector("main").childNodes)); // one main is enough
}
