/** Colouring by an attribute: the codes of the points, and the legend. */

import { type Api, type Attribute, ServerError } from "./api";
import { count, el, fill, short } from "./dom";
import type { Painting } from "./plot";
import type { Choice } from "./state";

const SHOWN = 10; // values with a colour of their own
const BINS = 10; // ranks of a number
const LISTED = 24; // values in the legend

/** Return the value of a colour of the style sheet. */
export function styleColour(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function palette(prefix: string, size: number): string[] {
  return Array.from({ length: size }, (_, i) => styleColour(`--${prefix}-${i}`));
}

/** Return the codes of numbers by their rank, 1 to 10, and 0 where they are missing; and the limits of the ranks. */
export function ranks(numbers: Float32Array): { codes: Uint8Array; limits: number[] } {
  const sorted = numbers.filter(Number.isFinite).sort();
  const codes = new Uint8Array(numbers.length);
  if (!sorted.length) return { codes, limits: [] };
  const limits = Array.from({ length: BINS - 1 }, (_, i) => sorted[Math.floor(((i + 1) * sorted.length) / BINS)]!);
  numbers.forEach((value, row) => {
    if (!Number.isFinite(value)) return;
    let bin = 0;
    while (bin < limits.length && value >= limits[bin]!) bin++;
    codes[row] = bin + 1;
  });
  return { codes, limits: [sorted[0]!, sorted[Math.floor(sorted.length / 2)]!, sorted[sorted.length - 1]!] };
}

const POPULAR = /^(n|num|number_of)_(ratings|votes|views|plays|sales|reviews)$|^(vote|rating|view|play)_?count$|popularity/i;

export class Colours {
  readonly element: HTMLElement;
  private select = el("select", { id: "colour" });
  private legend = el("div", { class: "legend" });
  private attributes: Attribute[] = [];
  private known = new Map<string, Float32Array | Uint16Array | Uint8Array>();
  private space = "";
  onChange: (colour: Choice["colour"]) => void = () => undefined;

  constructor(private api: Api) {
    this.element = el(
      "section",
      { class: "colours" },
      el("label", { for: "colour" }, "Colour by"),
      this.select,
      this.legend,
    );
    this.select.addEventListener("change", () => {
      this.onChange(this.select.value ? { attribute: this.select.value, value: null } : null);
    });
  }

  async setSpace(space: string): Promise<void> {
    this.space = space;
    this.attributes = [];
    const attributes = await this.api.attributes(space);
    if (space !== this.space) return;
    this.attributes = attributes.filter((one) => one.kind !== "text");
    const options = this.attributes.map((one) => el("option", { value: one.name }, one.name.replaceAll("_", " ")));
    fill(this.select, el("option", { value: "" }, "nothing"), ...options);
    this.element.hidden = this.attributes.length === 0;
  }

  /** Return the colouring of a page that has no choice yet: by the first attribute with repeated values, such as genres. */
  first(): Choice["colour"] {
    const attribute = this.attributes.find((one) => one.name !== "split" && (one.kind === "list" || one.kind === "category"));
    return attribute ? { attribute: attribute.name, value: null } : null;
  }

  /** Return how popular each entity is; null where no attribute says it. */
  async popularity(): Promise<Float32Array | null> {
    const attribute = this.attributes.find((one) => one.kind === "number" && POPULAR.test(one.name));
    if (!attribute) return null;
    return ((await this.values(attribute.name, null)) as Float32Array).map((value) => (Number.isFinite(value) ? value : -1));
  }

  /** Return the painting of a choice, and show its legend. */
  async paint(colour: Choice["colour"], rows: number): Promise<Painting> {
    const plain = { codes: new Uint8Array(rows), colours: [styleColour("--point")] };
    const attribute = this.attributes.find((one) => one.name === colour?.attribute);
    this.select.value = attribute?.name ?? "";
    if (!colour || !attribute) {
      fill(this.legend);
      return plain;
    }
    try {
      return await this.painted(colour, attribute, plain);
    } catch (error) {
      fill(this.legend, error instanceof ServerError ? error.message : String(error));
      return plain;
    }
  }

  private async painted(
    colour: { attribute: string; value: string | null },
    attribute: Attribute,
    plain: Painting,
  ): Promise<Painting> {
    const grey = styleColour("--point");
    if (attribute.kind === "number") {
      const { codes, limits } = ranks((await this.values(attribute.name, null)) as Float32Array);
      const ramp = palette("ramp", BINS);
      this.showRamp(ramp, limits);
      return { codes, colours: [grey, ...ramp] };
    }
    const values = attribute.values ?? [];
    const colours = palette("hue", SHOWN);
    if (colour.value !== null && values.includes(colour.value)) {
      const mask = (await this.values(attribute.name, colour.value)) as Uint8Array;
      this.showValues(attribute, colour.value, () => styleColour("--accent"));
      return { codes: mask, colours: [grey, styleColour("--accent")] };
    }
    const codes = (await this.values(attribute.name, null)) as Uint16Array;
    this.showValues(attribute, null, (place) => colours[place] ?? grey);
    const few = Uint8Array.from(codes, (code) => (code < SHOWN ? code + 1 : 0));
    return codes.length === plain.codes.length ? { codes: few, colours: [grey, ...colours] } : plain;
  }

  private async values(name: string, value: string | null): Promise<Float32Array | Uint16Array | Uint8Array> {
    const key = JSON.stringify([this.space, name, value]);
    if (this.known.size > 20) this.known.clear();
    if (!this.known.has(key)) this.known.set(key, await this.api.colours(this.space, name, value));
    return this.known.get(key)!;
  }

  private showRamp(ramp: string[], limits: number[]): void {
    const bar = el("div", { class: "ramp" }, ...ramp.map((colour) => swatch(colour)));
    const [low, middle, high] = limits.map(short);
    const words = el("div", { class: "rampwords" }, el("span", {}, low), el("span", {}, `median ${middle}`), el("span", {}, high));
    fill(this.legend, limits.length ? bar : "All values are missing.", limits.length ? words : null);
  }

  private showValues(attribute: Attribute, chosen: string | null, colour: (place: number) => string): void {
    const counts = attribute.counts ?? [];
    const items = (attribute.values ?? []).slice(0, LISTED).map((value, place) => {
      const on = value === chosen;
      const pick = () => this.onChange({ attribute: attribute.name, value: on ? null : value });
      const paint = chosen === null ? colour(place) : on ? colour(place) : styleColour("--point");
      return el(
        "li",
        {},
        el(
          "button",
          { type: "button", class: "value", "aria-pressed": String(on), onclick: pick },
          swatch(paint),
          el("span", { class: "grow" }, value),
          el("span", { class: "quiet" }, count(counts[place] ?? 0)),
        ),
      );
    });
    const more = (attribute.values?.length ?? 0) - LISTED;
    const note = attribute.kind === "list" && chosen === null ? "Coloured by the first value; choose one to see all its points." : null;
    fill(
      this.legend,
      el("ul", {}, ...items),
      more > 0 && el("p", { class: "quiet" }, `and ${count(more)} rarer values`),
      note && el("p", { class: "quiet" }, note),
    );
  }
}

function swatch(colour: string): HTMLElement {
  const element = el("span", { class: "swatch" });
  element.style.background = colour;
  return element;
}
