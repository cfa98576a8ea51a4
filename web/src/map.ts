/** The middle of the page: points, marks, hover titles, clicks anywhere, lasso and keyboard. */

import type { Api } from "./api";
import { debounced, el, fill } from "./dom";
import { type Marks, NO_MARKS, Overlay } from "./overlay";
import { type Painting, type Place, Plot } from "./plot";
import type { Spot } from "./state";

const REACH = 8; // pixels around a point in which a click means it
const STEP = 16; // pixels that an arrow key moves the cross
const LISTED = 30; // points that the key L lists

const HELP =
  "Map of the entities. Arrow keys move a cross, Enter asks about the point under it, L lists the nearest points, " +
  "plus and minus zoom, 0 shows everything.";

export class MapView {
  readonly element: HTMLElement;
  private canvas = el("canvas", { "aria-hidden": "true" });
  private tip = el("div", { class: "tip", hidden: true });
  private notice = el("div", { class: "notice", role: "status", hidden: true });
  private lassoButton: HTMLButtonElement;
  private plot: Plot | null = null;
  private overlay: Overlay | null = null;
  private cross: Place | null = null;
  private lasso = false;
  private pressed: Place = [0, 0];
  private encircling = false;
  private titles = new Map<string, string>();
  private space = "";
  private popularity: Float32Array | null | undefined; // undefined where titles are not written
  onPick: (spot: Spot) => void = () => undefined;
  onSelection: (rows: number[]) => void = () => undefined;

  constructor(private api: Api) {
    this.lassoButton = el(
      "button",
      { type: "button", "aria-pressed": "false", title: "Draw around points (or hold Shift)", onclick: () => this.toggleLasso() },
      "Lasso",
    );
    const tools = el(
      "div",
      { class: "maptools" },
      this.lassoButton,
      el("button", { type: "button", title: "Nearer (+)", "aria-label": "Nearer", onclick: () => this.plot?.zoom(0.6) }, "+"),
      el("button", { type: "button", title: "Farther (−)", "aria-label": "Farther", onclick: () => this.plot?.zoom(1.6) }, "−"),
      el("button", { type: "button", title: "Show everything (0)", onclick: () => this.plot?.reset() }, "All"),
    );
    this.element = el(
      "div",
      { class: "map", id: "map", tabindex: 0, role: "application", "aria-label": HELP },
      this.canvas,
      this.tip,
      tools,
      this.notice,
    );
    this.element.addEventListener("keydown", (event) => this.onKey(event));
    this.element.addEventListener("blur", () => this.setCross(null));
  }

  /** Begin to draw; the element must be in the page. */
  start(): void {
    const plot = new Plot(this.canvas);
    const overlay = new Overlay((place) => plot.toPixel(place));
    this.canvas.after(overlay.element);
    plot.onView = () => {
      overlay.draw();
      this.nameLater();
    };
    plot.onHover = (row) => this.hover(row);
    plot.onLasso = (rows) => {
      this.toggleLasso(false);
      this.onSelection(rows);
    };
    [this.plot, this.overlay] = [plot, overlay];
    this.canvas.addEventListener("pointerdown", (event) => {
      this.pressed = [event.clientX, event.clientY];
      this.encircling = this.lasso || event.shiftKey;
    });
    this.canvas.addEventListener("click", (event) => {
      const still = Math.hypot(event.clientX - this.pressed[0], event.clientY - this.pressed[1]) < 4;
      // A lasso may end where it began; it has switched itself off by then.
      if (still && !this.encircling) this.pick([event.offsetX, event.offsetY]);
    });
    this.canvas.addEventListener("webglcontextlost", () => this.say("The graphics were lost; load the page again."));
    new ResizeObserver(() => {
      plot.resize();
      overlay.draw();
    }).observe(this.element);
  }

  /** Draw the points of a space. */
  async draw(space: string, coordinates: Float32Array, painting: Painting): Promise<void> {
    if (space !== this.space) {
      this.plot?.mark([]);
      this.plot?.reset();
      this.hover(null);
    }
    this.space = space;
    this.overlay?.showNames([]);
    await this.plot?.draw(coordinates, painting);
    this.element.dataset.drawn = `${space}:${coordinates.length / 2}`;
  }

  setTheme(active: string, background: string): void {
    this.plot?.setTheme(active, background);
  }

  /** Write titles beside points, those of the most popular ones first; `undefined` writes none. */
  setNames(popularity: Float32Array | null | undefined): void {
    this.popularity = popularity;
    this.nameLater();
  }

  show(marks: Marks): void {
    this.overlay?.show(marks);
  }

  clear(): void {
    this.overlay?.show(NO_MARKS);
  }

  mark(rows: number[]): void {
    this.plot?.mark(rows);
  }

  placeOf(row: number): Place | null {
    return this.plot?.placeOf(row) ?? null;
  }

  /** Show a message over the points; null removes it. */
  say(message: string | null): void {
    fill(this.notice, message);
    this.notice.hidden = message === null;
  }

  private toggleLasso(on = !this.lasso): void {
    this.lasso = on;
    this.lassoButton.setAttribute("aria-pressed", String(on));
    this.element.classList.toggle("lassoing", on);
    this.plot?.setLasso(on);
  }

  private pick(pixel: Place): void {
    const row = this.plot!.nearest(pixel, REACH);
    if (row !== null) return this.onPick({ row });
    const [x, y] = this.plot!.toPlace(pixel);
    this.onPick({ x: Number(x.toPrecision(6)), y: Number(y.toPrecision(6)) });
  }

  // ---- titles of points

  private nameLater = debounced(150, () => void this.writeNames());

  private async writeNames(): Promise<void> {
    const { space, plot, overlay } = this;
    if (!plot || !overlay) return;
    if (this.popularity === undefined) return overlay.showNames([]);
    const rows = plot.named(this.popularity);
    const missing = rows.filter((row) => !this.titles.has(`${space} ${row}`));
    try {
      for (const entity of await this.api.titles(space, missing)) this.keep(space, entity.row, entity.title);
    } catch {
      return; // the points are there without their titles
    }
    if (space !== this.space) return;
    const names = rows.flatMap((row) => {
      const [at, title] = [plot.placeOf(row), this.titles.get(`${space} ${row}`)];
      return at && title ? [{ at, title }] : [];
    });
    overlay.showNames(names);
  }

  private keep(space: string, row: number, title: string): void {
    if (this.titles.size > 5_000) this.titles.clear();
    this.titles.set(`${space} ${row}`, title);
  }

  // ---- hover

  private askTitle = debounced(60, async (row: number) => {
    const { space } = this;
    try {
      const [entity] = await this.api.titles(space, [row]);
      if (entity) this.keep(space, row, entity.title);
      if (this.tip.dataset.row === String(row) && entity) fill(this.tip, entity.title);
    } catch {
      this.hover(null);
    }
  });

  private hover(row: number | null): void {
    this.tip.hidden = row === null;
    if (row === null || !this.plot) return;
    this.tip.dataset.row = String(row);
    const known = this.titles.get(`${this.space} ${row}`);
    fill(this.tip, known ?? "…");
    if (known === undefined) this.askTitle(row);
    const place = this.plot.placeOf(row);
    if (!place) return;
    const [x, y] = this.plot.toPixel(place);
    this.tip.style.transform = `translate(${Math.min(x + 12, this.element.clientWidth - 240)}px, ${y + 12}px)`;
  }

  // ---- keyboard

  private setCross(pixel: Place | null): void {
    this.cross = pixel;
    this.overlay?.showCross(pixel);
    this.hover(pixel && this.plot ? this.plot.nearest(pixel, REACH) : null);
  }

  private onKey(event: KeyboardEvent): void {
    if (!this.plot || event.target !== this.element || event.ctrlKey || event.metaKey || event.altKey) return;
    const { clientWidth, clientHeight } = this.element;
    const middle: Place = this.cross ?? [clientWidth / 2, clientHeight / 2];
    const size = event.shiftKey ? 4 * STEP : STEP;
    const arrows: Record<string, Place> = {
      ArrowLeft: [-size, 0], ArrowRight: [size, 0], ArrowUp: [0, -size], ArrowDown: [0, size],
    };
    const arrow = arrows[event.key];
    if (arrow) {
      const [x, y] = [middle[0] + arrow[0], middle[1] + arrow[1]];
      this.setCross([Math.min(Math.max(x, 0), clientWidth), Math.min(Math.max(y, 0), clientHeight)]);
    } else if (event.key === "Enter" || event.key === " ") this.pick(middle);
    else if (event.key === "l" || event.key === "L") {
      const rows = this.plot.around(middle, LISTED);
      this.plot.mark(rows);
      this.onSelection(rows);
    } else if (event.key === "+" || event.key === "=") this.plot.zoom(0.6);
    else if (event.key === "-") this.plot.zoom(1.6);
    else if (event.key === "0") this.plot.reset();
    else if (event.key === "Escape") this.setCross(null);
    else return;
    event.preventDefault();
  }
}
