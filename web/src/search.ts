/** The search for titles: a text field with a list, usable by keyboard. */

import { type Api, type Entity, ServerError } from "./api";
import { debounced, el, fill } from "./dom";

const MOST = 30;

export class Search {
  readonly element: HTMLElement;
  private input = el("input", {
    type: "search", id: "search", role: "combobox", "aria-expanded": "false", "aria-controls": "hits", "aria-autocomplete": "list",
    autocomplete: "off", spellcheck: "false", maxlength: 200,
  });
  private list = el("ul", { id: "hits", role: "listbox", "aria-label": "Matches" });
  private message = el("p", { class: "quiet", role: "status" });
  private entities: Entity[] = [];
  private active = -1;
  private space = "";
  private running: AbortController | null = null;
  onPick: (row: number) => void = () => undefined;

  constructor(private api: Api) {
    const label = el("label", { for: "search" }, "Search");
    this.element = el("section", { class: "search" }, label, this.input, this.message, this.list);
    this.input.addEventListener("input", () => this.look());
    this.input.addEventListener("keydown", (event) => this.onKey(event));
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  setSpace(space: string): void {
    this.space = space;
    this.input.placeholder = `Title or id (${space})`;
    this.input.value = "";
    this.show([], "");
  }

  private look = debounced(120, async () => {
    const text = this.input.value.trim();
    this.running?.abort();
    if (!text) return this.show([], "");
    const running = new AbortController();
    this.running = running;
    try {
      const entities = await this.api.search(this.space, text, MOST, running.signal);
      const more = entities.length === MOST ? `The best ${MOST} matches; type more to narrow them down.` : "";
      this.show(entities, entities.length ? more : `No title contains “${text}”.`);
    } catch (error) {
      if (running.signal.aborted) return;
      this.show([], error instanceof ServerError ? error.message : String(error));
    }
  });

  private show(entities: Entity[], message: string): void {
    [this.entities, this.active] = [entities, -1];
    fill(this.message, message);
    fill(
      this.list,
      ...entities.map((entity, place) =>
        el(
          "li",
          { role: "option", id: `hit-${place}`, "aria-selected": "false", onclick: () => this.onPick(entity.row) },
          entity.title,
        ),
      ),
    );
    this.input.setAttribute("aria-expanded", String(entities.length > 0));
    this.input.removeAttribute("aria-activedescendant");
  }

  private move(to: number): void {
    const items = [...this.list.children];
    items[this.active]?.setAttribute("aria-selected", "false");
    this.active = Math.max(0, Math.min(items.length - 1, to));
    const item = items[this.active];
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.input.setAttribute("aria-activedescendant", item.id);
  }

  private onKey(event: KeyboardEvent): void {
    if (event.key === "ArrowDown") this.move(this.active + 1);
    else if (event.key === "ArrowUp") this.move(this.active - 1);
    else if (event.key === "Enter") {
      const entity = this.entities[Math.max(0, this.active)];
      if (entity) this.onPick(entity.row);
    } else if (event.key === "Escape") {
      this.input.value = "";
      this.show([], "");
    } else return;
    event.preventDefault();
  }
}
