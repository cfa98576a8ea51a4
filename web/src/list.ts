/** A list of the entities, for browsers that cannot draw the points. */

import { type Api, ServerError } from "./api";
import { count, el, fill } from "./dom";

const PAGE = 100;

export class ListView {
  readonly element = el("div", { class: "browse", id: "list" });
  private message = el("p", { role: "status", class: "nogl" });
  private list = el("ol", { class: "titles" });
  private range = el("span", { class: "quiet" });
  private before = el("button", { type: "button", onclick: () => void this.turn(-PAGE) }, "Previous");
  private after = el("button", { type: "button", onclick: () => void this.turn(PAGE) }, "Next");
  private space = "";
  private rows = 0;
  private first = 0;
  onPick: (row: number) => void = () => undefined;

  constructor(private api: Api) {
    this.element.append(this.message, el("div", { class: "row" }, this.before, this.after, this.range), this.list);
  }

  /** List the entities of a space from the first one on. */
  async start(space: string, rows: number, reason: string): Promise<void> {
    fill(this.message, reason);
    [this.space, this.rows, this.first] = [space, rows, 0];
    await this.turn(0);
  }

  private async turn(by: number): Promise<void> {
    this.first = Math.max(0, Math.min(this.first + by, this.rows - 1));
    const last = Math.min(this.first + PAGE, this.rows);
    this.before.disabled = this.first === 0;
    this.after.disabled = last >= this.rows;
    fill(this.range, `${count(this.first + 1)} to ${count(last)} of ${count(this.rows)}`);
    try {
      const rows = Array.from({ length: last - this.first }, (_, i) => this.first + i);
      const entities = await this.api.titles(this.space, rows);
      const items = entities.map((entity) =>
        el("li", {}, el("button", { type: "button", class: "link", onclick: () => this.onPick(entity.row) }, entity.title)),
      );
      this.list.setAttribute("start", String(this.first + 1));
      fill(this.list, ...items);
    } catch (error) {
      fill(this.list, el("li", { class: "error" }, error instanceof ServerError ? error.message : String(error)));
    }
  }
}
