/** What can be done with a point: walk to another one, shift it along a concept, or begin with what somebody likes. */

import type { Space } from "./api";
import { el, fill } from "./dom";
import { type Choice, isRow, type Store, type Tool } from "./state";

const NAMES: Record<Tool, string> = { point: "Point", path: "Path", concept: "Concept", likes: "Likes" };

export class Tools {
  readonly element = el("section", { class: "tools", "aria-label": "Tools" });
  private tabs = el("div", { class: "tabs", role: "group", "aria-label": "What to do" });
  private body = el("div", { class: "toolbody" });
  private key = "";
  /** Whether the next point that is picked becomes the end of the path. */
  picking = false;

  constructor(
    private store: Store,
    private space: () => Space,
    private title: (row: number) => Promise<string>,
  ) {
    this.element.append(this.tabs, this.body);
  }

  show(choice: Choice): void {
    const space = this.space();
    const tools: Tool[] = ["point", "path"];
    if (space.concepts.length) tools.push("concept");
    if (space.likes) tools.push("likes");
    const key = JSON.stringify([choice.space, tools, choice.tool, choice.spot, choice.other, choice.concept, choice.likes, this.picking]);
    if (key === this.key) return; // a slider that is being moved stays as it is
    this.key = key;
    fill(
      this.tabs,
      ...tools.map((tool) =>
        el(
          "button",
          { type: "button", "data-tool": tool, "aria-pressed": String(tool === choice.tool), onclick: () => this.choose(tool) },
          NAMES[tool],
        ),
      ),
    );
    if (choice.tool === "path") this.showPath(choice);
    else if (choice.tool === "concept") this.showConcept(choice);
    else if (choice.tool === "likes") void this.showLikes(choice);
    else fill(this.body);
  }

  private choose(tool: Tool): void {
    const choice = this.store.choice;
    this.picking = tool === "path" && choice.spot !== null && choice.other === null;
    const concept = tool === "concept" ? (choice.concept ?? this.space().concepts[0] ?? null) : choice.concept;
    const likes = tool === "likes" && !choice.likes.length && isRow(choice.spot) ? [choice.spot.row] : choice.likes;
    this.store.set({ tool, concept, likes });
  }

  private hint(text: string): HTMLElement {
    return el("p", { class: "quiet" }, text);
  }

  private showPath(choice: Choice): void {
    if (!choice.spot) return fill(this.body, this.hint("Choose where the path begins: click a point, or search."));
    if (!choice.other || this.picking) {
      return fill(this.body, this.hint("Now choose where it ends: click a point or an empty place, or search."));
    }
    const slider = this.slider("share", "Place on the path", 0, 1, 0.05, choice.share, (share) => this.store.set({ share }));
    const again = () => {
      this.picking = true;
      this.show(this.store.choice);
    };
    const swap = () => this.store.set({ spot: choice.other, other: choice.spot, share: 1 - this.store.choice.share });
    fill(
      this.body,
      slider,
      el(
        "div",
        { class: "row" },
        el("button", { type: "button", onclick: again }, "Other end"),
        el("button", { type: "button", onclick: swap }, "Swap"),
      ),
    );
  }

  private showConcept(choice: Choice): void {
    if (!choice.spot) return fill(this.body, this.hint("Choose a point first: click one, or search."));
    const options = this.space().concepts.map((name) => el("option", { value: name, selected: name === choice.concept }, name));
    const select = el("select", { id: "concept", "aria-label": "Concept" }, ...options);
    select.addEventListener("change", () => this.store.set({ concept: select.value }));
    const slider = this.slider("steps", "Standard deviations", -4, 4, 0.5, choice.steps, (steps) => this.store.set({ steps }));
    fill(this.body, select, slider);
  }

  private slider(
    id: string,
    label: string,
    min: number,
    max: number,
    step: number,
    value: number,
    change: (value: number) => void,
  ): HTMLElement {
    const words = (number: number) => (id === "share" ? `${Math.round(100 * number)} %` : `${number > 0 ? "+" : ""}${number} sd`);
    const output = el("output", { for: id }, words(value));
    const input = el("input", { type: "range", id, min, max, step, value, "aria-label": label });
    input.addEventListener("input", () => {
      output.textContent = words(Number(input.value));
      change(Number(input.value));
    });
    return el("div", { class: "slider" }, input, output);
  }

  private async showLikes(choice: Choice): Promise<void> {
    const { likes } = choice;
    const row = isRow(choice.spot) ? choice.spot.row : null;
    const add = () => row !== null && this.store.set({ likes: [...likes, row] });
    const adding =
      row !== null && !likes.includes(row)
        ? el("button", { type: "button", onclick: add }, `Like ${await this.title(row)}`)
        : this.hint("Click or search what somebody likes, then add it here.");
    const titles = await Promise.all(likes.map((liked) => this.title(liked)));
    if (this.store.choice.likes !== likes || this.store.choice.tool !== "likes") return;
    const items = likes.map((liked, place) =>
      el(
        "li",
        {},
        el("span", { class: "grow" }, titles[place]),
        el(
          "button",
          {
            type: "button", class: "small", "aria-label": `Remove ${titles[place]}`,
            onclick: () => this.store.set({ likes: likes.filter((other) => other !== liked) }),
          },
          "×",
        ),
      ),
    );
    const legend = likes.length && this.space().layout ? this.hint("On the map: dark rings are liked, blue rings would be next, the diamond is the visitor.") : null;
    fill(this.body, el("ul", { class: "likes" }, ...items), adding, legend);
  }
}
