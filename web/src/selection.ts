/** The points inside a lasso: their facts against all others, and their list. */

import { type Api, type Entity, type Facts, ServerError } from "./api";
import { count, el, fill, short } from "./dom";

const LISTED = 200;
const MOST_ROWS = 100_000; // what one request of the server takes

export class Selection {
  readonly element = el("section", { class: "selection", "aria-label": "Selection", hidden: true });
  private rows: number[] = [];
  onPick: (row: number) => void = () => undefined;
  onClear: () => void = () => undefined;

  constructor(private api: Api) {}

  /** Show these rows of a space; an empty list closes the panel. */
  async show(space: string, rows: number[], closed = rows.length === 0): Promise<void> {
    this.rows = rows;
    this.element.hidden = closed;
    if (closed) return;
    const heading = el("h2", { tabindex: -1 }, rows.length === 1 ? "1 point" : `${count(rows.length)} points`);
    const head = el(
      "div",
      { class: "row" },
      heading,
      el("button", { type: "button", onclick: () => this.onClear() }, "Clear"),
    );
    if (!rows.length) return fill(this.element, head, el("p", { class: "quiet" }, "No point lies inside the lasso."));
    fill(this.element, head, el("p", { class: "quiet" }, "…"));
    try {
      const sample = rows.length > MOST_ROWS ? spread(rows, MOST_ROWS) : rows;
      const [facts, entities] = await Promise.all([
        this.api.facts(space, sample),
        this.api.titles(space, rows.slice(0, LISTED)),
      ]);
      if (this.rows !== rows) return;
      fill(this.element, head, ...this.facts(facts, sample.length < rows.length), this.list(entities));
    } catch (error) {
      if (this.rows !== rows) return;
      fill(this.element, head, el("p", { class: "error" }, error instanceof ServerError ? error.message : String(error)));
    }
  }

  private facts(facts: Facts, sampled: boolean): HTMLElement[] {
    const rows = facts.shares.map((share) =>
      el(
        "tr",
        { title: share.attribute.replaceAll("_", " ") },
        el("th", { scope: "row" }, share.value),
        el("td", {}, percent(share.inside)),
        el("td", {}, percent(share.outside)),
      ),
    );
    const numbers = facts.numbers.map((number) =>
      el(
        "tr",
        {},
        el("th", { scope: "row" }, number.attribute.replaceAll("_", " ")),
        el("td", {}, short(number.inside)),
        el("td", {}, short(number.outside)),
      ),
    );
    const head = (title: string) =>
      el("tr", {}, el("th", { scope: "col" }, title), el("th", { scope: "col" }, "here"), el("th", { scope: "col" }, "others"));
    const parts: HTMLElement[] = [];
    if (rows.length) parts.push(el("table", {}, el("thead", {}, head("more frequent here")), el("tbody", {}, ...rows)));
    else parts.push(el("p", { class: "quiet" }, "No attribute is more frequent here than elsewhere."));
    if (numbers.length) parts.push(el("table", {}, el("thead", {}, head("median")), el("tbody", {}, ...numbers)));
    if (sampled) parts.push(el("p", { class: "quiet" }, `Facts of a sample of ${count(facts.count)} points.`));
    return parts;
  }

  private list(entities: Entity[]): HTMLElement {
    const items = entities.map((entity) =>
      el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.onPick(entity.row) }, entity.title)),
    );
    const more = this.rows.length - entities.length;
    if (more > 0) items.push(el("li", { class: "quiet" }, `and ${count(more)} more`));
    return el("ul", { class: "titles" }, ...items);
  }
}

/** Return some of the rows, spread evenly. */
function spread(rows: number[], most: number): number[] {
  return Array.from({ length: most }, (_, i) => rows[Math.floor((i * rows.length) / most)]!);
}

function percent(share: number): string {
  return share > 0 && share < 0.005 ? "<1 %" : `${Math.round(100 * share)} %`;
}
