/** The page: puts its parts together. */

import { AnswerPanel, type Ends } from "./answer";
import { Api, ServerError, type Space } from "./api";
import { Colours, styleColour } from "./colours";
import { debounced, el, fill } from "./dom";
import { ListView } from "./list";
import { MapView } from "./map";
import type { Marks } from "./overlay";
import { canDraw } from "./plot";
import { type Resolved, Resolver } from "./points";
import { Search } from "./search";
import { Selection } from "./selection";
import { type Choice, decode, fresh, isRow, type Spot, Store } from "./state";
import { Tools } from "./tools";
import { TopBar } from "./topbar";

const NARROW = "(max-width: 760px)"; // on a phone there is no room for points

const api = new Api();

class Page {
  private model = "";
  private store!: Store;
  private search = new Search(api);
  private colours = new Colours(api);
  private selection = new Selection(api);
  private map = new MapView(api);
  private list = new ListView(api);
  private answer: AnswerPanel;
  private resolver = new Resolver(api);
  private tools!: Tools;
  private top!: TopBar;
  private layouts = new Map<string, Float32Array>();
  private drawing: string | null = null;
  private turn = 0;
  private middle = el("main", { class: "middle" });

  constructor(
    private root: HTMLElement,
    private spaces: Space[],
  ) {
    this.answer = new AnswerPanel(api, () => this.model, spaces.map((space) => space.name));
  }

  async start(): Promise<void> {
    this.model = await api.models();
    const plain = location.hash.length < 2; // not a link that keeps a choice
    const { choice, stale } = decode(location.hash, this.spaces);
    this.store = new Store(choice, (name) => this.spaceNamed(name).fingerprint);
    this.tools = new Tools(this.store, () => this.space, async (row) => (await this.resolver.spot(this.space.name, { row })).title);
    this.answer.addTools(this.tools.element);
    this.top = new TopBar(this.spaces, this.model, (name) => this.store.set(fresh(name)), () => this.paint());
    const left = el("nav", { class: "left", "aria-label": "Search and colours" }, this.search.element, this.colours.element, this.selection.element);
    const right = el("aside", { class: "right", "aria-label": "Answer" }, this.answer.element);
    fill(this.root, this.top.element, left, this.middle, right);
    this.connect();
    await this.openSpace();
    this.store.set(plain ? { colour: this.colours.first() } : {});
    if (stale) this.top.say("This link was made for other vectors of this space, so its points were left out.");
    await this.openPoint(false);
  }

  private get space(): Space {
    return this.spaceNamed(this.store.choice.space);
  }

  private spaceNamed(name: string): Space {
    return this.spaces.find((space) => space.name === name)!;
  }

  private connect(): void {
    const pick = (spot: Spot) => this.pick(spot);
    this.search.onPick = (row) => pick({ row });
    this.list.onPick = (row) => pick({ row });
    this.selection.onPick = (row) => pick({ row });
    this.map.onPick = pick;
    this.map.onSelection = (rows) => void this.selection.show(this.space.name, rows, false);
    this.selection.onClear = () => {
      this.map.mark([]);
      void this.selection.show(this.space.name, []);
    };
    this.colours.onChange = (colour) => this.store.set({ colour });
    this.answer.onPick = (space, row) => {
      if (space === this.space.name) pick({ row });
      else this.store.set({ ...fresh(space), spot: { row } });
    };
    this.answer.onQuestion = (question) => this.store.set({ question });
    this.store.on((now, before) => this.changed(now, before));
    addEventListener("hashchange", () => this.store.set(decode(location.hash, this.spaces).choice));
    addEventListener("keydown", (event) => {
      const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLTextAreaElement;
      if (event.key !== "/" || typing) return;
      event.preventDefault();
      this.search.focus();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    matchMedia(NARROW).addEventListener("change", () => void this.openSpace());
  }

  private pick(spot: Spot): void {
    const choice = this.store.choice;
    if (choice.tool === "path" && choice.spot && this.tools.picking) {
      this.tools.picking = false;
      this.store.set({ other: spot });
    } else if (choice.tool === "path" && !choice.spot) {
      this.tools.picking = true;
      this.store.set({ spot });
    } else this.store.set({ spot });
  }

  private changed(now: Choice, before: Choice): void {
    if (now.space !== before.space) void this.openSpace();
    else if (now.colour !== before.colour) this.paint();
    this.tools.show(now);
    const keys = ["space", "spot", "other", "tool", "share", "concept", "steps", "likes"] as const;
    const moved = keys.filter((key) => JSON.stringify(now[key]) !== JSON.stringify(before[key]));
    if (!moved.length) return;
    const sliding = moved.every((key) => key === "share" || key === "steps");
    void this.openPoint(sliding);
  }

  // ---- the space

  private async openSpace(): Promise<void> {
    const { space } = this;
    this.top.show(space);
    this.search.setSpace(space.name);
    this.answer.setSpace(space, this.store.choice.question);
    this.tools.show(this.store.choice);
    void this.selection.show(space.name, []);
    if (matchMedia(NARROW).matches) return fill(this.middle);
    await this.colours.setSpace(space.name).catch((error) => this.top.say(words(error)));
    if (!canDraw()) return this.openList(space, "This browser draws no WebGL graphics, so the map is a list here. Everything else works.");
    if (!space.layout) {
      return this.openList(space, "This space has no layout yet, so the map is a list here. `vectalk space layout DIR` makes one.");
    }
    if (!this.map.element.isConnected) {
      fill(this.middle, this.map.element);
      if (this.drawing === null) this.map.start();
      this.drawing = "";
    }
    this.paint();
  }

  private openList(space: Space, reason: string): void {
    fill(this.middle, this.list.element);
    void this.list.start(space.name, space.rows, reason);
  }

  private paint(): void {
    void this.painted().catch((error) => this.map.say(words(error)));
  }

  private async painted(): Promise<void> {
    if (!this.map.element.isConnected) {
      await this.colours.paint(this.store.choice.colour, this.space.rows);
      return;
    }
    const { space } = this;
    this.map.say(this.layouts.has(space.name) ? null : "Loading the points …");
    const coordinates = this.layouts.get(space.name) ?? (await api.layout(space.name));
    this.layouts.set(space.name, coordinates);
    const painting = await this.colours.paint(this.store.choice.colour, space.rows);
    if (space !== this.space) return;
    this.map.setTheme(styleColour("--accent"), styleColour("--ground"));
    await this.map.draw(space.name, coordinates, painting);
    this.map.say(null);
    this.map.setNames(space.columns.includes("title") ? await this.colours.popularity().catch(() => null) : undefined);
    this.showMarks();
  }

  // ---- the point

  private point: Resolved | null = null;
  private askLater = debounced(350, () => void this.answer.answer());

  /** Resolve what is chosen, show it, and ask about it; while a slider moves, ask only once it rests. */
  private async openPoint(sliding: boolean): Promise<void> {
    const turn = ++this.turn;
    const { choice } = this.store;
    try {
      const point = await this.resolver.chosen(choice);
      const ends = choice.tool === "path" && choice.spot && choice.other ? await this.endsOf(choice) : null;
      if (turn !== this.turn) return;
      this.point = point;
      await this.loadMarks(choice, point);
      if (turn !== this.turn) return;
      if (!point) return this.answer.setEmpty(emptyWords(choice, this.space));
      const asked = point.space === this.space.name ? this.space : this.spaceNamed(point.space);
      this.answer.setSpace(asked, choice.question);
      this.answer.setPoint(point, ends, choice.space);
      if (sliding) this.askLater();
      else void this.answer.answer();
    } catch (error) {
      if (turn === this.turn) this.answer.setError(error, () => void this.openPoint(false));
    }
  }

  private async endsOf(choice: Choice): Promise<Ends> {
    const [first, second] = await Promise.all([
      this.resolver.spot(choice.space, choice.spot!),
      this.resolver.spot(choice.space, choice.other!),
    ]);
    return { first: { space: first.space, base64: first.base64 }, second: { space: second.space, base64: second.base64 } };
  }

  private spotsShown: { start: Resolved | null; other: Resolved | null } = { start: null, other: null };

  private async loadMarks(choice: Choice, point: Resolved | null): Promise<void> {
    const [start, other] = await Promise.all([
      choice.spot ? this.resolver.spot(choice.space, choice.spot) : null,
      choice.tool === "path" && choice.other ? this.resolver.spot(choice.space, choice.other) : null,
    ]);
    this.spotsShown = { start, other };
    if (point === this.point) this.showMarks();
  }

  private showMarks(): void {
    const { point, map } = this;
    const { choice } = this.store;
    const { start, other } = this.spotsShown;
    const here = point && point.space === choice.space ? point : null;
    const places = (rows: number[]) => rows.map((row) => map.placeOf(row)).filter((place) => place !== null);
    const moved = here && (here.kind === "path" || here.kind === "shift");
    const marks: Marks = {
      point: here?.at ? { at: here.at, title: moved ? "" : here.title } : null,
      other: other?.at ? { at: other.at, title: other.title } : null,
      start: moved && start?.at ? start.at : null,
      trail: here?.trail ?? [],
      liked: choice.tool === "likes" ? places(choice.likes) : [],
      visitor: choice.tool === "likes" && point?.atItems ? { at: point.atItems, title: "the visitor" } : null,
      listed: point?.kind === "visitor" ? places(point.next.map((entity) => entity.row)) : [],
    };
    if (choice.tool === "likes" && isRow(choice.spot) && start?.at) marks.point = { at: start.at, title: start.title };
    map.show(marks);
  }
}

function emptyWords(choice: Choice, space: Space): string {
  if (choice.tool === "likes") return "Add what somebody likes; then the map says who that is.";
  const vectors = `Each ${space.name} is a vector of ${space.dim} numbers`;
  const answers = "the model then answers from the vector alone.";
  if (matchMedia(NARROW).matches) return `${vectors}. Search for a title: ${answers} A wider window shows the map.`;
  if (!space.layout) return `${vectors}. Choose a title, or search for one: ${answers}`;
  return `${vectors}; near points of the map have similar vectors. Click a point, or an empty place, or search for a title: ${answers}`;
}

function words(error: unknown): string {
  return error instanceof ServerError ? error.message : String(error);
}

/** Ask for the API key of the server. */
function askKey(root: HTMLElement): void {
  const input = el("input", { type: "password", id: "key", autocomplete: "off", required: true });
  const form = el(
    "form",
    { class: "key" },
    el("label", { for: "key" }, "This server needs its API key. It is kept in this tab alone."),
    input,
    el("button", { type: "submit", class: "primary" }, "Open"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    api.setKey(input.value.trim());
    void open(root);
  });
  fill(root, form);
  input.focus();
}

async function open(root: HTMLElement): Promise<void> {
  try {
    const spaces = await api.spaces();
    await new Page(root, spaces).start();
  } catch (error) {
    if (error instanceof ServerError && error.status === 401) return askKey(root);
    const again = el("button", { type: "button", onclick: () => void open(root) }, "Try again");
    fill(root, el("div", { class: "key" }, el("p", { class: "error", role: "alert" }, words(error)), again));
  }
}

void open(document.getElementById("app")!);
