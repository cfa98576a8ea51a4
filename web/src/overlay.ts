/** What lies above the points: the chosen point with its trail, the other end of a path, liked and listed entities. */

import { svg } from "./dom";
import type { Place } from "./plot";

export interface Marks {
  point: { at: Place; title: string } | null;
  other: { at: Place; title: string } | null;
  start: Place | null;
  trail: Place[];
  liked: Place[];
  listed: Place[];
}

export const NO_MARKS: Marks = { point: null, other: null, start: null, trail: [], liked: [], listed: [] };
const LONGEST = 34;

export class Overlay {
  readonly element = svg("svg", { class: "overlay", "aria-hidden": "true" });
  private marks = NO_MARKS;
  private cross: Place | null = null;

  constructor(private toPixel: (place: Place) => Place) {}

  show(marks: Marks): void {
    this.marks = marks;
    this.draw();
  }

  /** Show the cross that the keyboard moves, at a pixel. */
  showCross(pixel: Place | null): void {
    this.cross = pixel;
    this.draw();
  }

  /** Draw again, after the view moved. */
  draw(): void {
    const { point, other, start, trail, liked, listed } = this.marks;
    const nodes: Node[] = [];
    if (trail.length > 1) {
      const pixels = trail.map(this.toPixel);
      nodes.push(svg("polyline", { class: "trail", points: pixels.map((pixel) => pixel.join(",")).join(" ") }));
      for (const [cx, cy] of pixels) nodes.push(svg("circle", { class: "step", cx, cy, r: 2.5 }));
    }
    for (const place of listed) nodes.push(this.ring(place, "listed", 5));
    for (const place of liked) nodes.push(this.ring(place, "liked", 6));
    if (start) nodes.push(this.ring(start, "start", 6));
    if (other) nodes.push(this.ring(other.at, "other", 7), this.label(other.at, other.title));
    if (point) nodes.push(this.ring(point.at, "point", 8), this.label(point.at, point.title));
    if (this.cross) {
      const [x, y] = this.cross;
      nodes.push(svg("path", { class: "cross", d: `M${x - 12},${y}h24M${x},${y - 12}v24` }));
    }
    this.element.replaceChildren(...nodes);
  }

  private ring(place: Place, name: string, r: number): SVGElement {
    const [cx, cy] = this.toPixel(place);
    return svg("circle", { class: name, cx, cy, r });
  }

  private label(place: Place, title: string): SVGElement {
    const [x, y] = this.toPixel(place);
    const text = title.length > LONGEST ? `${title.slice(0, LONGEST - 1)}…` : title;
    const left = x > this.element.clientWidth - 220;
    return svg("text", { x: left ? x - 13 : x + 13, y: y + 4, "text-anchor": left ? "end" : "start" }, text);
  }
}
