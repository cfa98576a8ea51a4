/** What lies above the points: the chosen point with its trail, the other end of a path, liked and listed entities. */

import { svg } from "./dom";
import { type Box, boxOf, cut, overlap, SIGN } from "./labels";
import type { Place } from "./plot";

export interface Marks {
  point: { at: Place; title: string } | null;
  other: { at: Place; title: string } | null;
  start: Place | null;
  trail: Place[];
  liked: Place[];
  listed: Place[];
  visitor: { at: Place; title: string } | null;
}

/** The title of a point, for a label. */
export interface Name {
  at: Place;
  title: string;
}

export const NO_MARKS: Marks = { point: null, other: null, start: null, trail: [], liked: [], listed: [], visitor: null };
const LONGEST = 34;
const BUTTONS = { width: 200, height: 50 }; // pixels of the lower left corner, where the buttons of the map lie

export class Overlay {
  readonly element = svg("svg", { class: "overlay", "aria-hidden": "true" });
  private marks = NO_MARKS;
  private names: Name[] = [];
  private cross: Place | null = null;

  constructor(private toPixel: (place: Place) => Place) {}

  show(marks: Marks): void {
    this.marks = marks;
    this.draw();
  }

  /** Write these titles beside their points, the first ones first; one that would lie over another is left out. */
  showNames(names: Name[]): void {
    this.names = names;
    this.draw();
  }

  /** Show the cross that the keyboard moves, at a pixel. */
  showCross(pixel: Place | null): void {
    this.cross = pixel;
    this.draw();
  }

  /** Draw again, after the view moved. */
  draw(): void {
    const { point, other, start, trail, liked, listed, visitor } = this.marks;
    const nodes: Node[] = this.nameLabels();
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
    if (visitor) nodes.push(this.diamond(visitor.at), this.above(visitor.at, visitor.title, ""));
    if (this.cross) {
      const [x, y] = this.cross;
      nodes.push(svg("path", { class: "cross", d: `M${x - 12},${y}h24M${x},${y - 12}v24` }));
    }
    this.element.replaceChildren(...nodes);
  }

  private nameLabels(): Node[] {
    const { point, other, visitor } = this.marks;
    const { clientHeight } = this.element;
    const taken: Box[] = [{ left: 0, right: BUTTONS.width, top: clientHeight - BUTTONS.height, bottom: clientHeight }];
    if (visitor) taken.push(boxOf(this.toPixel(visitor.at), visitor.title));
    for (const mark of [point, other]) {
      if (!mark) continue;
      const [x, y] = this.toPixel(mark.at);
      const width = Math.min(mark.title.length, LONGEST) * SIGN + 22;
      const left = x > this.element.clientWidth - 220 ? x - width : x - 10;
      taken.push({ left, right: left + width + 10, top: y - 11, bottom: y + 11 });
    }
    const nodes: Node[] = [];
    for (const { at, title } of this.names) {
      const pixel = this.toPixel(at);
      const box = boxOf(pixel, title);
      const outside = box.left < 2 || box.right > this.element.clientWidth - 2 || box.top < 2 || pixel[1] > this.element.clientHeight;
      if (outside || taken.some((one) => overlap(one, box))) continue;
      taken.push(box);
      nodes.push(this.above(at, title, "name"));
    }
    return nodes;
  }

  private above(place: Place, title: string, name: string): SVGElement {
    const [x, y] = this.toPixel(place);
    return svg("text", { class: name, x, y: y - (name ? 7 : 13), "text-anchor": "middle" }, cut(title));
  }

  private diamond(place: Place): SVGElement {
    const [x, y] = this.toPixel(place);
    return svg("path", { class: "visitor", d: `M${x},${y - 9}l9,9l-9,9l-9,-9z` });
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
