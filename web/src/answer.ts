/** The right of the page: the chosen point, the question, the answer, and what it is based on. */

import { type Accuracy, type Api, type Entity, type Neighbor, type Probe, ServerError, type Space } from "./api";
import { el, fill, short } from "./dom";
import type { Resolved } from "./points";
import { encode, fresh } from "./state";
import { ask, type Bound, type Ending } from "./stream";
import { linked, shaded } from "./text";

const NEIGHBOURS = 10;
const SLOT = /\{([A-Za-z_]\w*)\}/g;

interface Named extends Entity {
  space: string;
}

export interface Ends {
  first: Bound;
  second: Bound;
}

export class AnswerPanel {
  readonly element = el("section", { class: "answer", "aria-label": "Answer" });
  private heading = el("h1", { tabindex: -1 }, "Ask the map");
  private support = el("p", { class: "support", role: "status" });
  private worth = el("p", { class: "worth" });
  private wordings = el("select", { id: "wordings", "aria-label": "Questions that the model was trained on" });
  private input = el("textarea", { id: "question", rows: 2, maxlength: 2000, "aria-label": "Question" });
  private controls: HTMLElement;
  private text = el("div", { class: "text", id: "answer", "aria-live": "polite", "aria-busy": "false" });
  private status = el("div", { class: "status", role: "status" });
  private control = el("div", { class: "control", hidden: true });
  private probe = el("div", { class: "control", id: "probed", hidden: true });
  private below = el("div", { class: "below" });
  private compare = el("input", { type: "checkbox", id: "compare" });
  private read = el("input", { type: "checkbox", id: "probe" });
  private shade = el("input", { type: "checkbox", id: "shade" });
  private running: AbortController | null = null;
  private point: Resolved | null = null;
  private ends: Ends | null = null;
  private space: Space | null = null;
  private fixed = "";
  /** The space of the map. */
  private home = "";
  onPick: (space: string, row: number) => void = () => undefined;
  onQuestion: (question: string | null) => void = () => undefined;

  constructor(
    private api: Api,
    private model: () => string,
    private spaces: string[],
  ) {
    const form = el(
      "form",
      { class: "question" },
      this.wordings,
      this.input,
      el(
        "div",
        { class: "row" },
        el("label", { class: "check", title: "Ask the same about the vector of another entity, drawn by chance" }, this.compare, "control"),
        el("label", { class: "check", title: "Show what the nearest training entities have in common, without the model" }, this.read, "probe"),
        el("label", { class: "check", title: "Mark the words that depend on the vector; this takes longer" }, this.shade, "influence"),
        el("span", { class: "grow" }),
        el("button", { type: "submit", class: "primary", id: "ask" }, "Ask"),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.input.value.trim();
      this.onQuestion(text && text !== this.standard() ? text : null);
      void this.answer();
    });
    this.input.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.wordings.addEventListener("change", () => {
      this.input.value = this.wordings.value;
      form.requestSubmit();
    });
    this.read.addEventListener("change", () => this.point && void this.showProbe(this.point, this.running?.signal));
    this.controls = form;
    this.element.append(this.heading, this.support, this.worth, form, this.text, this.status, this.probe, this.control, this.below);
    this.setEmpty("Click a point, or anywhere between the points, or search for a title.");
  }

  /** Put the tools between the support and the question. */
  addTools(tools: HTMLElement): void {
    this.controls.before(tools);
  }

  /** Take the wordings of a space, and the question of a link. */
  setSpace(space: Space, question: string | null): void {
    if (space !== this.space) {
      this.space = space;
      const options = space.wordings.map((wording) => el("option", { value: wording }, wording));
      fill(this.wordings, ...options);
      this.wordings.hidden = space.wordings.length < 2;
    }
    const fixed = `${space.name} ${question ?? ""}`;
    if (fixed === this.fixed) return; // what is being typed stays
    this.fixed = fixed;
    this.input.value = question ?? this.standard();
    if (space.wordings.includes(this.input.value)) this.wordings.value = this.input.value;
  }

  setEmpty(message: string): void {
    this.running?.abort();
    this.point = null;
    fill(this.heading, "Ask the map");
    fill(this.support);
    fill(this.worth);
    fill(this.text, el("p", { class: "quiet" }, message));
    fill(this.status);
    fill(this.below);
    this.control.hidden = this.probe.hidden = true;
    this.controls.hidden = true;
  }

  /** Show a failure to resolve a point. */
  setError(error: unknown, again: () => void): void {
    this.setEmpty("");
    fill(this.text);
    this.fail(this.status, error, again);
  }

  /** Show a point without asking about it yet. */
  setPoint(point: Resolved, ends: Ends | null, home: string): void {
    this.running?.abort();
    [this.point, this.ends, this.home] = [point, ends, home];
    this.controls.hidden = false;
    fill(this.heading, point.title);
    this.element.dataset.kind = point.kind;
    const verdict = point.support.verdict;
    const words = point.support.text.split("; a blend of ", 1)[0]!; // the sources are listed below
    fill(this.support, el("span", { class: `dot ${verdict}` }), words.charAt(0).toUpperCase() + words.slice(1) + ".");
    fill(this.worth, point.kind === "place" && point.accuracy ? worthWords(point.accuracy) : null);
  }

  /** Ask the question in the box about the point, and show everything that belongs to the answer. */
  async answer(): Promise<void> {
    const { point, space } = this;
    if (!point || !space) return;
    this.running?.abort();
    const running = new AbortController();
    this.running = running;
    this.control.hidden = true;
    fill(this.text);
    fill(this.status);
    void this.ground(point, running.signal);
    void this.showProbe(point, running.signal);
    const question = this.bound(this.input.value.trim() || this.standard(), point);
    if (typeof question === "string") {
      fill(this.status, el("p", { class: "quiet" }, question));
      return;
    }
    const text = await this.stream(question, this.text, this.status, running.signal);
    if (text === null || running.signal.aborted) return;
    if (!this.shade.checked) await this.link(text, running.signal);
    if (this.compare.checked && !running.signal.aborted) await this.askControl(question, running.signal);
  }

  private standard(): string {
    const wordings = this.space?.wordings ?? [];
    const one = wordings.find((wording) => new Set(wording.match(SLOT)).size === 1);
    return one ?? wordings[0] ?? `Describe {${this.space?.name ?? "item"}}.`;
  }

  /** Return a question with its vectors; a text where a vector is missing. */
  private bound(text: string, point: Resolved): { text: string; bindings: Record<string, Bound> } | string {
    const slots = [...new Set([...text.matchAll(SLOT)].map((match) => match[1]!))];
    const own = { space: point.space, base64: point.base64 };
    if (!slots.length) return { text: `${text} {${point.space}}`, bindings: { [point.space]: own } };
    if (slots.length === 1) return { text, bindings: { [slots[0]!]: own } };
    if (slots.length > 2) return "A question can be about one or two points: write one or two names in braces.";
    if (!this.ends) return "This question is about two points: choose “Path”, then the second point.";
    return { text, bindings: { [slots[0]!]: this.ends.first, [slots[1]!]: this.ends.second } };
  }

  /** Stream an answer into an element; returns the text, or null where it failed. */
  private async stream(
    question: { text: string; bindings: Record<string, Bound> },
    into: HTMLElement,
    status: HTMLElement,
    signal: AbortSignal,
  ): Promise<string | null> {
    let text = "";
    into.setAttribute("aria-busy", "true");
    fill(status, el("p", { class: "quiet" }, "…"));
    const influence = this.shade.checked && into === this.text;
    try {
      const ending = await ask(
        this.api,
        { model: this.model(), ...question, influence },
        (piece) => {
          text += piece;
          into.textContent = text;
        },
        signal,
      );
      if (signal.aborted) return null;
      fill(status, ...this.remarks(ending, text, question.text));
      if (ending.influence) fill(into, ...shaded(ending.influence));
      return text;
    } catch (error) {
      if (!signal.aborted) this.fail(status, error, () => void this.answer());
      return null;
    } finally {
      if (!signal.aborted) into.setAttribute("aria-busy", "false");
    }
  }

  private remarks(ending: Ending, text: string, question: string): HTMLElement[] {
    const quiet = (words: string) => el("p", { class: "quiet" }, words);
    const remarks = ending.notes.map(quiet);
    if (ending.refusal) remarks.push(quiet(ending.refusal));
    else if (!text.trim()) remarks.push(quiet("The model ended without a word. Another question may get an answer."));
    if (ending.reason === "length") remarks.push(quiet("The answer was cut at the longest length."));
    if (question !== this.input.value.trim()) remarks.push(quiet(`Asked: ${question}`));
    return remarks;
  }

  private fail(into: HTMLElement, error: unknown, again: () => void): void {
    if (!(error instanceof ServerError)) {
      fill(into, el("p", { class: "error" }, String(error)));
      return;
    }
    const words =
      error.code === "cut" && this.text.textContent
        ? `${error.message} Above is what arrived.`
        : error.message;
    const button = el("button", { type: "button", onclick: again }, "Try again");
    fill(into, el("p", { class: "error" }, words), error.status === 400 || error.status === 401 ? null : button);
    if (error.wait > 0) countDown(button, Math.ceil(error.wait));
  }

  /** Ask the same about a random entity: an answer that stays the same does not depend on the vector. */
  private async askControl(question: { text: string; bindings: Record<string, Bound> }, signal: AbortSignal): Promise<void> {
    const space = this.space!;
    try {
      const bindings: Record<string, Bound> = {};
      const titles: string[] = [];
      for (const [slot, bound] of Object.entries(question.bindings)) {
        const rows = bound.space === space.name ? space.rows : 1;
        const other = await this.api.entity(bound.space, Math.floor(Math.random() * rows));
        bindings[slot] = { space: bound.space, base64: other.point.base64 };
        titles.push(other.title);
      }
      const into = el("div", { class: "text" });
      const status = el("div", { class: "status" });
      this.control.hidden = false;
      fill(this.control, el("h2", {}, `Control: the same about ${titles.join(" and ")}, drawn by chance`), into, status);
      await this.stream({ text: question.text, bindings }, into, status, signal);
    } catch (error) {
      if (!signal.aborted) this.fail(this.control, error, () => void this.answer());
    }
  }

  /** Show what the nearest training entities have in common: what anybody can read from the vector without the model. */
  private async showProbe(point: Resolved, signal?: AbortSignal): Promise<void> {
    this.probe.hidden = !this.read.checked;
    if (!this.read.checked) return;
    try {
      const probe = await this.api.probe(point.space, point.base64, point.entity?.row ?? null);
      if (signal?.aborted || point !== this.point) return;
      const heading = el("h2", {}, `Probe: facts of the ${probe.count} nearest training entities, without the model`);
      fill(this.probe, heading, probeTable(probe));
    } catch (error) {
      if (!signal?.aborted) this.fail(this.probe, error, () => void this.showProbe(point, signal));
    }
  }

  /** Show neighbours, sources and facts of a point. */
  private async ground(point: Resolved, signal: AbortSignal): Promise<void> {
    const facts = point.facts ? this.facts(point.facts) : null;
    const next = this.entities("Would want next", this.home, point.next);
    const made = this.entities("Made from", point.space, point.kind === "place" ? point.nearest : []);
    const near = el("div", {}, el("p", { class: "quiet" }, "…"));
    const mentions = el("div", { class: "mentions" });
    fill(this.below, mentions, next, near, made, facts);
    try {
      const own = point.entity ? 1 : 0;
      const neighbors = await this.api.neighbors(point.space, point.base64, NEIGHBOURS + own);
      if (signal.aborted) return;
      const others = neighbors.filter((one) => one.row !== point.entity?.row).slice(0, NEIGHBOURS);
      fill(near, this.entities(`Nearest, by ${this.measure()}`, point.space, others));
    } catch (error) {
      if (!signal.aborted) fill(near, el("p", { class: "error" }, error instanceof ServerError ? error.message : String(error)));
    }
  }

  /** Turn the titles that an answer names into links. */
  private async link(text: string, signal: AbortSignal): Promise<void> {
    let named: Named[] = [];
    try {
      const lists = await Promise.all(this.spaces.map((space) => this.api.mentions(space, text)));
      named = lists.flatMap((list, place) => list.map((entity) => ({ ...entity, space: this.spaces[place]! })));
    } catch {
      return; // the answer is complete without its links
    }
    if (signal.aborted || !named.length) return;
    const { nodes, rest } = linked(text, named, (entity, words) => this.anchor(entity.space, entity, words));
    fill(this.text, ...nodes);
    const place = this.below.querySelector(".mentions");
    const lists = this.spaces.map((space) =>
      this.entities("Names in the answer", space, rest.filter((entity) => entity.space === space)),
    );
    if (place) fill(place, ...lists);
  }

  private measure(): string {
    return { cosine: "cosine", dot: "dot product", euclidean: "distance" }[this.space?.metric ?? "cosine"];
  }

  private anchor(space: string, entity: Entity, words = entity.title): HTMLElement {
    const href = `#${encode({ ...fresh(space), spot: { row: entity.row } }, "")}`;
    const pick = (event: MouseEvent) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a tab or window of its own
      event.preventDefault();
      this.onPick(space, entity.row);
    };
    return el("a", { class: "link", href, onclick: pick }, words);
  }

  private entities(title: string, space: string, entities: (Entity | Neighbor)[]): HTMLElement | null {
    if (!entities.length) return null;
    const items = entities.map((entity) =>
      el(
        "li",
        {},
        this.anchor(space, entity),
        // The server's similarity is the negative distance where the metric is Euclidean.
        "similarity" in entity ? el("span", { class: "quiet" }, (this.space?.metric === "euclidean" ? -entity.similarity : entity.similarity).toFixed(2)) : null,
      ),
    );
    return el("div", {}, el("h2", {}, title), el("ol", { class: "entities" }, ...items));
  }

  private facts(facts: Record<string, unknown>): HTMLElement {
    const rows = Object.entries(facts)
      .filter(([name, value]) => name !== "title" && value !== null && value !== "")
      .map(([name, value]) => {
        const words = Array.isArray(value) ? value.join(", ") : typeof value === "number" ? short(value) : String(value);
        return el("tr", {}, el("th", { scope: "row" }, name.replaceAll("_", " ")), el("td", {}, words));
      });
    return el("div", {}, el("h2", {}, "Stored facts"), el("table", { class: "facts" }, el("tbody", {}, ...rows)));
  }
}

/** Return a row for each attribute: values with the share of the neighbours that have them, medians with their range. */
function probeTable(probe: Probe): HTMLElement {
  const words = new Map<string, string[]>();
  for (const { attribute, value, share } of probe.values) {
    words.set(attribute, [...(words.get(attribute) ?? []), `${value} (${Math.round(100 * share)}\u00a0%)`]);
  }
  const rows = [...words].map(([name, values]) => [name, values.join(", ")]);
  for (const { attribute, median, low, high } of probe.numbers) {
    rows.push([attribute, `${short(median)} (${short(low)} to ${short(high)})`]);
  }
  if (!rows.length) return el("p", { class: "quiet" }, "They have no fact in common.");
  const lines = rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name!.replaceAll("_", " ")), el("td", {}, value)));
  return el("table", { class: "facts" }, el("tbody", {}, ...lines));
}

/** Return what the vector of an empty place is worth. */
function worthWords(accuracy: Accuracy): string {
  const [place, random] = [accuracy.place, accuracy.random].map((value) => value.toFixed(2).replace("-", "−"));
  return (
    `The vector of an empty place is a guess from its nearest points: for ${accuracy.count} held-out entities of this ` +
    `map, the guess has a mean cosine of ${place} with the true vector (1 is exact; a random entity has ${random}).`
  );
}

/** Let a button wait for some seconds, and then work by itself. */
function countDown(button: HTMLButtonElement, seconds: number): void {
  if (!button.isConnected) return;
  if (seconds <= 0) return button.click();
  button.textContent = `Try again (in ${seconds} s)`;
  setTimeout(() => countDown(button, seconds - 1), 1000);
}
