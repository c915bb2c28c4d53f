// The frame: which part is open, and what is served.

import { get } from "/web/api.js";
import { h, number } from "/web/dom.js";
import { open as openCatalogue } from "/web/catalogue.js";
import { open as openCompare } from "/web/compare.js";
import { open as openLive } from "/web/live.js";
import { open as openReport } from "/web/report.js";
import { open as openTry } from "/web/try.js";

const PARTS = {
  try: ["Try it", openTry, "recommend"],
  compare: ["Compare", openCompare, "recommend"],
  catalogue: ["Catalogue", openCatalogue, "recommend"],
  live: ["Live", openLive, "metrics"],
  report: ["Report", openReport, "metrics"],
};

const main = document.getElementById("main");
let close = () => {};

function show(info) {
  const name = location.hash.slice(1) in PARTS ? location.hash.slice(1) : "try";
  const [title, open, scope] = PARTS[name];
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${title} – GLoSS`;
  close();
  close = () => {};
  if (info.scopes.includes(scope)) close = open(main, info);
  else main.replaceChildren(h("h1", {}, title), h("p", { class: "lead" }, `This key does not have the scope “${scope}”.`));
}

async function start() {
  let info;
  try {
    info = await get("/v1/info");
  } catch (error) {
    main.replaceChildren(h("h1", {}, "The service does not answer"), h("p", { class: "lead" }, error.message));
    return;
  }
  document.getElementById("served").textContent = `${info.name} · ${number(info.items)} items`;
  addEventListener("hashchange", () => {
    show(info);
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  });
  addEventListener("keydown", (event) => {
    const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
    const field = main.querySelector("input[type=search], input[role=combobox]");
    if (event.key === "/" && !typing && field) {
      event.preventDefault();
      field.focus();
    }
  });
  show(info);
}

start();
