/** From what people chose to a vector: entities, places, paths, shifts along a concept, and fold-in. */

import type { Accuracy, Api, Entity, PointReport, Support } from "./api";
import { type Choice, isRow, type Spot } from "./state";

/** A vector that the model can be asked about. */
export interface Resolved {
  space: string;
  kind: "entity" | "place" | "path" | "shift" | "visitor";
  title: string;
  entity: Entity | null;
  at: [number, number] | null;
  support: Support;
  base64: string;
  facts: Record<string, unknown> | null;
  /** Entities that a place was made from. */
  nearest: Entity[];
  /** How near the vectors of places are to true ones on this map. */
  accuracy: Accuracy | null;
  /** What the factor model puts next for a visitor. */
  next: Entity[];
  /** Where a visitor lies among the items, on the map of the items. */
  atItems: [number, number] | null;
  /** The places that a path or a shift runs through. */
  trail: [number, number][];
}

const TRAIL_STEPS = 8;

export function unpack(base64: string): Float32Array {
  const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

export function pack(vector: Float32Array): string {
  const view = new DataView(new ArrayBuffer(4 * vector.length));
  vector.forEach((value, i) => view.setFloat32(4 * i, value, true));
  let text = "";
  for (let i = 0; i < view.byteLength; i++) text += String.fromCharCode(view.getUint8(i));
  return btoa(text);
}

/** Return a + share * b for vectors of one length. */
export function moved(a: Float32Array, share: number, b: Float32Array): Float32Array {
  return a.map((value, i) => value + share * b[i]!);
}

function between(a: Float32Array, b: Float32Array, share: number): Float32Array {
  return a.map((value, i) => (1 - share) * value + share * b[i]!);
}

/** Return a name in quotes, as the parser of expressions reads it. */
export function quoted(name: string): string {
  const quote = name.includes("'") ? '"' : "'";
  return quote + name.replaceAll("\\", "\\\\").replaceAll(quote, `\\${quote}`) + quote;
}

export class Resolver {
  private spots = new Map<string, Promise<Resolved>>();
  private steps = new Map<string, Promise<Float32Array>>();
  private trails = new Map<string, Promise<[number, number][]>>();

  constructor(private api: Api) {}

  /** Return the point of an entity or a place. */
  spot(space: string, spot: Spot): Promise<Resolved> {
    return remembered(this.spots, `${space} ${JSON.stringify(spot)}`, async () => {
      if (isRow(spot)) {
        const entity = await this.api.entity(space, spot.row);
        return { ...basis(entity.point), kind: "entity", title: entity.title, entity, facts: entity.facts };
      }
      const place = await this.api.place(space, spot.x, spot.y);
      const entity = place.entity;
      const title = entity ? entity.title : `A place near ${place.nearest[0]?.title ?? "nothing"}`;
      return { ...basis(place), kind: entity ? "entity" : "place", title, entity, nearest: place.nearest, accuracy: place.accuracy };
    });
  }

  /** Return the point that is chosen; null where the choice is not complete. */
  async chosen(choice: Choice): Promise<Resolved | null> {
    if (choice.tool === "likes") return choice.likes.length ? this.visitor(choice) : null;
    if (!choice.spot) return null;
    const first = await this.spot(choice.space, choice.spot);
    if (choice.tool === "path" && choice.other) return this.path(choice, first);
    if (choice.tool === "concept" && choice.concept) return this.shift(choice, first);
    return first;
  }

  /** Return the vector of one standard deviation along a concept. */
  step(space: string, concept: string): Promise<Float32Array> {
    return remembered(this.steps, `${space} ${concept}`, async () => {
      const point = await this.api.resolve(space, { expression: `concept(${quoted(concept)})` });
      return unpack(point.base64);
    });
  }

  private async path(choice: Choice, first: Resolved): Promise<Resolved> {
    const second = await this.spot(choice.space, choice.other!);
    const [a, b] = [unpack(first.base64), unpack(second.base64)];
    const report = await this.api.resolve(choice.space, { base64: pack(between(a, b, choice.share)) });
    const key = `${choice.space} path ${JSON.stringify([choice.spot, choice.other])}`;
    const trail = await this.trail(key, choice.space, (share) => between(a, b, share));
    const title = `${Math.round(100 * choice.share)} % of the way from ${inner(first)} to ${inner(second)}`;
    return { ...basis(report), kind: "path", title, trail: ends(trail, first.at, second.at) };
  }

  private async shift(choice: Choice, first: Resolved): Promise<Resolved> {
    const start = unpack(first.base64);
    const step = await this.step(choice.space, choice.concept!);
    const key = `${choice.space} shift ${JSON.stringify([choice.spot, choice.concept])}`;
    const trail = await this.trail(key, choice.space, (share) => moved(start, 8 * share - 4, step));
    if (choice.steps === 0) return { ...first, kind: "shift", trail };
    const report = await this.api.resolve(choice.space, { base64: pack(moved(start, choice.steps, step)) });
    const sign = choice.steps > 0 ? "+" : "−";
    const title = `${first.title} ${sign} ${Math.abs(choice.steps)} sd of ${choice.concept}`;
    return { ...basis(report), kind: "shift", title, trail };
  }

  private async visitor(choice: Choice): Promise<Resolved> {
    const ids = (await this.api.titles(choice.space, choice.likes)).map((entity) => entity.id);
    const report = await this.api.likes(choice.space, ids);
    const number = report.liked.length;
    const title = `Somebody who likes ${number === 1 ? report.liked[0] : `these ${number}`}`;
    return { ...basis(report), kind: "visitor", title, next: report.next, atItems: report.at_items };
  }

  /** Return the places of nine vectors between the ends of a path. */
  private trail(key: string, space: string, vector: (share: number) => Float32Array): Promise<[number, number][]> {
    return remembered(this.trails, key, async () => {
      const shares = Array.from({ length: TRAIL_STEPS + 1 }, (_, i) => i / TRAIL_STEPS);
      const reports = await Promise.all(
        shares.map((share) => this.api.resolve(space, { base64: pack(vector(share)) })),
      );
      return reports.flatMap((report) => (report.at ? [report.at] : []));
    });
  }
}

/** Return what a promise gave before; a failure is tried again. */
function remembered<T>(known: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const there = known.get(key);
  if (there) return there;
  const made = make();
  known.set(key, made);
  made.catch(() => known.delete(key));
  if (known.size > 500) known.delete(known.keys().next().value!);
  return made;
}

function basis(report: PointReport): Omit<Resolved, "kind" | "title"> {
  const { space, entity, at, support, base64 } = report;
  return { space, entity, at, support, base64, facts: null, nearest: [], accuracy: null, next: [], atItems: null, trail: [] };
}

/** Return a title as it stands within a sentence. */
function inner(point: Resolved): string {
  return point.kind === "place" ? point.title.replace(/^A /, "a ") : point.title;
}

/** Let a trail begin and end exactly at two places. */
function ends(
  trail: [number, number][],
  first: [number, number] | null,
  last: [number, number] | null,
): [number, number][] {
  if (!first || !last || trail.length < 2) return trail;
  return [first, ...trail.slice(1, -1), last];
}
