/** The points, drawn with WebGL. Coordinates lie between -1 and 1; rows are those of the space. */

import createScatterplot, { createRenderer } from "regl-scatterplot";

import { candidates } from "./labels";

/** Colours of the points: a code for each row, and a colour for each code; code 0 is drawn below the others. */
export interface Painting {
  codes: Uint8Array;
  colours: string[];
}

const EXTENSIONS = ["ANGLE_instanced_arrays", "OES_texture_float", "OES_element_index_uint"]; // what the library needs

export type Place = [number, number];

/** A linear scale, as the library updates it when the view moves. */
class Scale {
  private from: Place = [-1, 1];
  private to: Place = [0, 1];

  domain(values?: Place): Place {
    if (values) this.from = [values[0], values[1]];
    return this.from;
  }

  range(values?: Place): Place {
    if (values) this.to = [values[0], values[1]];
    return this.to;
  }

  apply(value: number): number {
    return this.to[0] + ((value - this.from[0]) / (this.from[1] - this.from[0])) * (this.to[1] - this.to[0]);
  }

  invert(pixel: number): number {
    return this.from[0] + ((pixel - this.to[0]) / (this.to[1] - this.to[0])) * (this.from[1] - this.from[0]);
  }
}

/** Return whether this browser can draw the points. */
export function canDraw(): boolean {
  const context = document.createElement("canvas").getContext("webgl");
  return context !== null && EXTENSIONS.every((name) => context.getExtension(name) !== null);
}

export class Plot {
  private x = new Scale();
  private y = new Scale();
  private scatter: ReturnType<typeof createScatterplot>;
  // The library's own renderer is never larger than the screen, which cuts points off where the page is zoomed out.
  private renderer = createRenderer({ canvas: document.createElement("canvas") });
  private coordinates: Float32Array = new Float32Array();
  private lassoed: number[] = [];
  private latest: number[] = [];
  private active = "";
  onView: () => void = () => undefined;
  onHover: (row: number | null) => void = () => undefined;
  onLasso: (rows: number[]) => void = () => undefined;

  constructor(private canvas: HTMLCanvasElement) {
    const { width, height } = canvas.parentElement!.getBoundingClientRect();
    this.renderer.resize(width, height);
    this.scatter = createScatterplot({
      renderer: this.renderer,
      canvas,
      width,
      height,
      xScale: this.x as never,
      yScale: this.y as never,
      syncEvents: true,
      lassoOnLongPress: false,
      lassoMinDist: 4,
      deselectOnDblClick: false,
      deselectOnEscape: false,
      cameraDistance: 1.15,
      pointSizeSelected: 1,
      pointOutlineWidth: 0,
      opacityInactiveScale: 0.55,
    });
    this.scatter.set({ actionKeyMap: { lasso: "shift" } } as never); // the types of the library lack it
    this.scatter.subscribe("view", () => this.onView());
    this.scatter.subscribe("draw", () => this.onView());
    this.scatter.subscribe("pointOver", (row) => this.onHover(row));
    this.scatter.subscribe("pointOut", () => this.onHover(null));
    this.scatter.subscribe("select", ({ points }) => {
      this.latest = [...points];
      // A click selects one point in the library; the page marks clicked points in its own way.
      queueMicrotask(() => this.mark(this.lassoed));
    });
    this.scatter.subscribe("lassoEnd", () => {
      this.mark(this.latest);
      this.onLasso(this.lassoed);
      this.latest = [];
    });
  }

  /** Draw these points. */
  async draw(coordinates: Float32Array, painting: Painting): Promise<void> {
    const same = this.coordinates === coordinates;
    this.coordinates = coordinates;
    const total = coordinates.length / 2;
    const [xs, ys, below, above] = [new Float32Array(total), new Float32Array(total), [] as number[], [] as number[]];
    for (let row = 0; row < total; row++) {
      xs[row] = coordinates[2 * row]!;
      ys[row] = coordinates[2 * row + 1]!;
      (painting.codes[row] ? above : below).push(row);
    }
    this.scatter.set({
      colorBy: "valueA",
      pointColor: painting.colours,
      // Lassoed points keep the colour of their attribute; uncoloured ones take the accent.
      pointColorActive: [this.active, ...painting.colours.slice(1)] as never,
      pointSize: total < 5_000 ? 5 : total < 50_000 ? 3.5 : total < 300_000 ? 2.5 : 1.5,
      opacity: total < 5_000 ? 0.85 : total < 50_000 ? 0.7 : 0.5,
    });
    const points = { x: xs, y: ys, valueA: Float32Array.from(painting.codes) };
    const spatialIndex = same ? this.scatter.get("spatialIndex") : undefined;
    await this.scatter.draw(points as never, { zDataType: "categorical", spatialIndex } as never);
    if (above.length && below.length) this.scatter.set({ pointOrder: below.concat(above) } as never);
    else this.scatter.set({ pointOrder: null } as never);
    this.mark(this.lassoed);
    this.onView();
  }

  setTheme(active: string, background: string): void {
    this.active = active;
    this.scatter.set({ pointColorHover: active, lassoColor: active, backgroundColor: background });
  }

  /** Highlight the points that were lassoed. */
  mark(rows: number[]): void {
    this.lassoed = rows;
    if (rows.length) this.scatter.select(rows, { preventEvent: true });
    else this.scatter.deselect({ preventEvent: true });
  }

  setLasso(on: boolean): void {
    this.scatter.set({ mouseMode: on ? "lasso" : "panZoom" });
  }

  resize(): void {
    const { width, height } = this.canvas.parentElement!.getBoundingClientRect();
    if (width <= 0 || height <= 0) return;
    this.renderer.resize(width, height);
    this.scatter.set({ width, height });
  }

  /** Return the pixel of a place. */
  toPixel([x, y]: Place): Place {
    return [this.x.apply(x), this.y.apply(y)];
  }

  /** Return the place at a pixel. */
  toPlace([px, py]: Place): Place {
    return [this.x.invert(px), this.y.invert(py)];
  }

  /** Return the row whose point is nearest to a pixel, within some pixels; null where there is none. */
  nearest(pixel: Place, within: number): number | null {
    const [x, y] = this.toPlace(pixel);
    const [right] = this.toPlace([pixel[0] + within, pixel[1]]);
    let best = (right - x) ** 2;
    let nearest: number | null = null;
    for (let row = 0; row < this.coordinates.length / 2; row++) {
      const distance = (this.coordinates[2 * row]! - x) ** 2 + (this.coordinates[2 * row + 1]! - y) ** 2;
      if (distance < best) [best, nearest] = [distance, row];
    }
    return nearest;
  }

  /** Return the rows of the points nearest to a pixel. */
  around(pixel: Place, most: number): number[] {
    const [x, y] = this.toPlace(pixel);
    const total = this.coordinates.length / 2;
    const distances = new Float32Array(total);
    for (let row = 0; row < total; row++) {
      distances[row] = (this.coordinates[2 * row]! - x) ** 2 + (this.coordinates[2 * row + 1]! - y) ** 2;
    }
    const limit = distances.slice().sort()[Math.min(most, total) - 1]!;
    const rows: number[] = [];
    for (let row = 0; row < total && rows.length < most; row++) if (distances[row]! <= limit) rows.push(row);
    return rows.sort((a, b) => distances[a]! - distances[b]!);
  }

  /** Return the rows whose titles are worth a label in the present view, the most important ones first. */
  named(popularity: Float32Array | null): number[] {
    const { width, height } = this.canvas.getBoundingClientRect();
    return candidates(this.coordinates, popularity, this.toPlace([0, 0]), this.toPlace([width, height]), width);
  }

  /** Return the coordinates of a row. */
  placeOf(row: number): Place | null {
    return 2 * row + 1 < this.coordinates.length ? [this.coordinates[2 * row]!, this.coordinates[2 * row + 1]!] : null;
  }

  /** Zoom by a factor around the middle of the view. */
  zoom(factor: number): void {
    const [left, right] = this.x.domain();
    const [low, high] = this.y.domain();
    const [width, height] = [(right - left) * factor, (high - low) * factor];
    const [x, y] = [(left + right - width) / 2, (low + high - height) / 2];
    void this.scatter.zoomToArea({ x, y, width, height }, { transition: true, transitionDuration: 200 });
  }

  reset(): void {
    this.scatter.reset();
  }
}
